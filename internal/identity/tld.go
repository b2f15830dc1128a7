package identity

import (
	"errors"
	"strings"
)

// reservedTLDs are the endings that can never be part of a handle or of a
// did:web (AT Protocol handle specification), each with what it is for.
var reservedTLDs = map[string]string{
	"alt":       "is set aside for naming systems outside DNS",
	"arpa":      "belongs to the plumbing of the internet",
	"example":   "is set aside for documentation",
	"internal":  "only exists inside private networks",
	"invalid":   "is set aside for names that must never work",
	"local":     "only exists on one home or office network",
	"localhost": "always means the machine one sits at",
	"onion":     "only exists inside the Tor network",
	"test":      "is set aside for tests",
}

// CheckHost refuses a host name under a TLD that no account can have, with a
// *TLDError. allowTest lets .test pass, which is for development.
func CheckHost(host string, allowTest bool) error {
	tld := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if _, reserved := reservedTLDs[tld]; !reserved || tld == "test" && allowTest {
		return nil
	}
	return &TLDError{Host: strings.ToLower(host), TLD: tld}
}

// CheckSetting is CheckHost for a host that comes from the instance's own
// configuration; its error names the setting.
func CheckSetting(setting, host string, allowTest bool) error {
	err := CheckHost(host, allowTest)
	var tld *TLDError
	if errors.As(err, &tld) {
		tld.Setting = setting
	}
	return err
}
