package config

import (
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Delegation says how members are acted for.
type Delegation struct {
	Writes        string // the way that is tried first: oauth, app-password or relay
	RelayDID      string // of the account that speaks where members cannot; empty: there is none
	RelayPassword keyring.Secret
}

func delegationSettings() []setting {
	return []setting{
		textSetting("delegation.writes", "how members are written for first: oauth, app-password or relay", func(c *Config) *string { return &c.Delegation.Writes }),
		textSetting("delegation.relay_did", "DID of the account that speaks where members cannot", func(c *Config) *string { return &c.Delegation.RelayDID }),
		secretSetting("delegation.relay_password", "app password of that account", func(c *Config) *keyring.Secret { return &c.Delegation.RelayPassword }),
	}
}

func checkDelegation(c *Config, say sayFunc) {
	d := c.Delegation
	if !slices.Contains([]string{"oauth", "app-password", "relay"}, d.Writes) {
		say("delegation.writes", "is %q; there are oauth, app-password and relay", d.Writes)
	}
	if _, err := syntax.ParseDID(d.RelayDID); d.RelayDID != "" && err != nil {
		say("delegation.relay_did", "%q is no DID such as did:plc:abcdefghijklmnopqrstuvwx", d.RelayDID)
	}
	switch password := d.RelayPassword; {
	case (d.RelayDID == "") != password.IsZero():
		say("delegation.relay_did", "and delegation.relay_password belong together; one of them is missing")
	case d.Writes == "relay" && d.RelayDID == "":
		say("delegation.writes", "is relay, which needs delegation.relay_did and delegation.relay_password")
	case placeholder(password.Reveal()):
		say("delegation.relay_password", "is a placeholder; make an app password at the relay account's server")
	}
}
