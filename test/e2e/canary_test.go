package e2e

import (
	"encoding/base64"
	"net/url"
	"strings"
)

// scanForSecrets keeps S24: no token, DPoP key or assertion of the instance's
// own sessions stands in anything that left it. The secrets are read from the
// database with the instance's key, so that the scan knows them in the clear.
func (i *instance) scanForSecrets() {
	i.t.Helper()
	if err := i.learnSecrets(); err != nil {
		i.t.Errorf("read the secrets to look for: %v", err)
		return
	}
	i.seen.text("log", i.log.String())
	i.seen.mu.Lock()
	defer i.seen.mu.Unlock()
	for _, k := range i.seen.kept {
		for name, secret := range i.known {
			if form, found := occurs(k.text, secret); found {
				i.t.Errorf("%s contains %s (as %s)", k.what, name, form)
			}
		}
	}
}

// occurs looks for a secret as it is and in the forms that it might travel in.
func occurs(text, secret string) (form string, found bool) {
	forms := map[string]string{
		"itself":    secret,
		"URL query": url.QueryEscape(secret),
		"base64":    base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
	}
	for form, s := range forms {
		if len(s) >= 16 && strings.Contains(text, s) {
			return form, true
		}
	}
	return "", false
}

// learnSecrets remembers what is secret now; call it before something is
// signed out, after which the database has forgotten.
func (i *instance) learnSecrets() error {
	secrets, err := i.secrets()
	for name, secret := range secrets {
		i.known[name] = secret
	}
	return err
}
