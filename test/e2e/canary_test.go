package e2e

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// scanForSecrets keeps S24: no token, key, verifier or assertion of the
// instance's own sessions stands in anything that left it. The secrets are read
// from the database with the instance's key, so that the scan knows them in the
// clear.
func (i *instance) scanForSecrets() {
	i.t.Helper()
	if err := i.learnSecrets(); err != nil {
		i.t.Errorf("read the secrets to look for: %v", err)
		return
	}
	i.seen.text("log", i.log.String())
	i.seen.mu.Lock()
	defer i.seen.mu.Unlock()
	for _, finding := range findSecrets(i.seen.kept, i.known, i.origin()+"/oauth-client-metadata.json") {
		i.t.Error(finding)
	}
}

// learnSecrets remembers what is secret now; call it before something is
// signed out or used up, after which the database has forgotten.
func (i *instance) learnSecrets() error {
	secrets, err := i.secrets()
	for name, secret := range secrets {
		i.known[name] = secret
	}
	return err
}

// findSecrets names every place where something secret shows.
func findSecrets(outputs []kept, secrets map[string]string, clientID string) (findings []string) {
	for _, k := range outputs {
		for name, secret := range secrets {
			if form, found := occurs(k.text, secret); found {
				findings = append(findings, k.what+" contains "+name+" (as "+form+")")
			}
		}
		for _, token := range anyJWT.FindAllString(k.text, -1) {
			if kind := ownJWT(token, clientID); kind != "" {
				findings = append(findings, k.what+" contains "+kind)
			}
		}
	}
	return findings
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

var anyJWT = regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`)

// ownJWT recognises what the instance signs for members' servers only: proofs,
// and assertions in its own name.
func ownJWT(token, clientID string) string {
	parts := strings.Split(token, ".")
	var header struct {
		Type string `json:"typ"`
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	decode(parts[0], &header)
	decode(parts[1], &claims)
	switch {
	case header.Type == "dpop+jwt":
		return "a DPoP proof"
	case claims.Issuer == clientID:
		return "a client assertion"
	}
	return ""
}

// decode reads a part of a JWT; what is not readable is none of ours.
func decode(part string, into any) {
	if raw, err := base64.RawURLEncoding.DecodeString(part); err == nil {
		_ = json.Unmarshal(raw, into)
	}
}

// TestTheScanFindsWhatIsPlanted proves that the search at the end of every test
// would see a leak.
func TestTheScanFindsWhatIsPlanted(t *testing.T) {
	t.Parallel()
	const clientID = "https://app.atoll-tests.net/oauth-client-metadata.json"
	jwt := func(header, claims string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2lnbmF0dXJl"
	}
	secrets := map[string]string{}
	learn(secrets, "dpop_key", `{"kty":"EC","crv":"P-256","d":"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"}`)
	learn(secrets, "access_token", "an-access-token+of/a=session")
	for name, leak := range map[string]string{
		"token itself":     "… an-access-token+of/a=session …",
		"token in a query": "?t=an-access-token%2Bof%2Fa%3Dsession",
		"token in base64":  base64.StdEncoding.EncodeToString([]byte("an-access-token+of/a=session")),
		"key's private d":  `{"d":"qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"}`,
		"proof":            "DPoP: " + jwt(`{"typ":"dpop+jwt"}`, `{"htm":"POST"}`),
		"assertion":        "client_assertion=" + jwt(`{"alg":"ES256"}`, `{"iss":"`+clientID+`"}`),
	} {
		if got := findSecrets([]kept{{"answer", leak}}, secrets, clientID); len(got) != 1 {
			t.Errorf("%s planted: findings %q, want one", name, got)
		}
	}
	harmless := "nothing here but " + jwt(`{"alg":"ES256"}`, `{"iss":"https://elsewhere.example"}`)
	if got := findSecrets([]kept{{"answer", harmless}}, secrets, clientID); len(got) != 0 {
		t.Errorf("nothing planted: findings %q", got)
	}
}
