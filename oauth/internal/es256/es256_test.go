package es256_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/atoll-social/atoll/oauth/internal/es256"
)

// The key of RFC 7515, appendix A.3.
const rfcKey = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
	`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`

func TestPrivateKeysSurviveBeingWritten(t *testing.T) {
	t.Parallel()
	made, err := es256.Generate()
	if err != nil {
		t.Fatal(err)
	}
	text, err := made.PrivateJWK("one")
	if err != nil {
		t.Fatal(err)
	}
	read, kid, err := es256.Parse(text)
	if err != nil || kid != "one" || read.Thumbprint() != made.Thumbprint() {
		t.Fatalf("Parse(PrivateJWK) = %v, kid %q, thumbprint %q; want the same key %q", err, kid, read.Thumbprint(), made.Thumbprint())
	}
	public, err := json.Marshal(made.Public())
	if err != nil || strings.Contains(string(public), `"d"`) {
		t.Errorf("public half = %s (%v), want no private member", public, err)
	}
}

func TestSignaturesVerifyWithAnotherLibrary(t *testing.T) {
	t.Parallel()
	key, _, err := es256.Parse([]byte(rfcKey))
	if err != nil {
		t.Fatal(err)
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON([]byte(rfcKey)); err != nil {
		t.Fatal(err)
	}
	public := jwk.Public()
	if want, err := es256.Thumbprint(&public); err != nil || key.Thumbprint() != want {
		t.Errorf("thumbprint = %q, want %q (%v)", key.Thumbprint(), want, err)
	}
	header, err := es256.Header(map[string]string{"alg": "ES256", "typ": "JWT"})
	if err != nil {
		t.Fatal(err)
	}
	for range 200 { // short halves of signatures need their leading zeros
		token, err := key.Sign(header, map[string]string{"url": "https://x.org/?a=1&b=<2>"})
		if err != nil {
			t.Fatal(err)
		}
		jws, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatalf("parse %q: %v", token, err)
		}
		payload, err := jws.Verify(public)
		if err != nil || string(payload) != `{"url":"https://x.org/?a=1&b=<2>"}` {
			t.Fatalf("verify %q = %s, %v", token, payload, err)
		}
	}
}

func TestParseRefusesOtherKeys(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"empty":           "",
		"not JSON":        "secret",
		"public only":     `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`,
		"symmetric":       `{"kty":"oct","k":"c2VjcmV0"}`,
		"other curve":     `{"kty":"EC","crv":"P-384","x":"f83O","y":"x_FE","d":"jpsQ"}`,
		"foreign halves":  strings.Replace(rfcKey, "jpsQ", "kpsQ", 1),
		"for encryption":  strings.Replace(rfcKey, "{", `{"use":"enc",`, 1),
		"other algorithm": strings.Replace(rfcKey, "{", `{"alg":"ES384",`, 1),
	} {
		if _, _, err := es256.Parse([]byte(text)); !errors.Is(err, es256.ErrKey) {
			t.Errorf("%s: Parse = %v, want ErrKey", name, err)
		} else if strings.Contains(err.Error(), "jpsQ") {
			t.Errorf("%s: the error quotes the key: %v", name, err)
		}
	}
}
