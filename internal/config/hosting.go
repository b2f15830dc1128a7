package config

import (
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
)

// checkHosting wants all that is needed to make accounts, or nothing.
func checkHosting(c *Config, say sayFunc) {
	h := &c.Hosting
	h.PDSURL = strings.TrimSuffix(h.PDSURL, "/")
	h.HandleDomain = strings.ToLower(strings.TrimPrefix(h.HandleDomain, "."))
	h.EmailDomain = strings.ToLower(strings.TrimPrefix(h.EmailDomain, "@"))
	if h.Invite != "mint" && h.Invite != "none" {
		say("hosting.invite", "is %q; there are mint and none", h.Invite)
	}
	if h.RecoveryKey != "" {
		if _, err := atcrypto.ParsePublicDIDKey(h.RecoveryKey); err != nil {
			say("hosting.recovery_key", "must be the did:key of a P-256 or K-256 key, the public half only, such as did:key:zDna… or did:key:zQ3s…")
		}
	}
	if !h.On() {
		checkUnhosted(h, say)
		return
	}
	if err := checkServerURL(h.PDSURL, c.Dev); err != nil {
		say("hosting.pds_url", "%v", err)
	}
	switch {
	case h.PDSAdminPassword.IsZero():
		say("hosting.pds_admin_password", "is needed with hosting.pds_url; give it by ATOLL_HOSTING_PDS_ADMIN_PASSWORD_FILE or in the environment")
	case placeholder(h.PDSAdminPassword.Reveal()):
		say("hosting.pds_admin_password", "is a placeholder; the real one is PDS_ADMIN_PASSWORD of the PDS")
	}
	checkHandleDomain(c, say)
}

// checkUnhosted wants no part of hosting without the PDS it would take place at.
func checkUnhosted(h *Hosting, say sayFunc) {
	for _, given := range []struct {
		key  string
		here bool
	}{
		{"hosting.pds_admin_password", !h.PDSAdminPassword.IsZero()}, {"hosting.handle_domain", h.HandleDomain != ""},
		{"hosting.email_domain", h.EmailDomain != ""}, {"hosting.recovery_key", h.RecoveryKey != ""},
	} {
		if given.here {
			say(given.key, "does nothing without hosting.pds_url, the PDS on which communities get their accounts")
		}
	}
}

// maxName is the length of the longest name that the official PDS gives out.
const maxName = 18

func checkHandleDomain(c *Config, say sayFunc) {
	h := &c.Hosting
	if h.HandleDomain == "" {
		say("hosting.handle_domain", "is needed with hosting.pds_url; handles of communities are NAME.handle_domain, and the PDS must give them out (PDS_SERVICE_HANDLE_DOMAINS)")
		return
	}
	if _, err := syntax.ParseHandle(strings.Repeat("x", maxName) + "." + h.HandleDomain); err != nil {
		say("hosting.handle_domain", "is %q, which cannot be the end of a handle", h.HandleDomain)
	} else if err := identity.CheckSetting("hosting.handle_domain", h.HandleDomain, c.Dev); err != nil {
		say("hosting.handle_domain", "cannot be used: %v", err)
	}
	if h.EmailDomain == "" {
		h.EmailDomain = h.HandleDomain
	} else if _, err := syntax.ParseHandle("x." + h.EmailDomain); err != nil {
		say("hosting.email_domain", "is %q, which is no domain", h.EmailDomain)
	}
}
