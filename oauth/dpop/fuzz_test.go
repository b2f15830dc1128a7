package dpop_test

import (
	"strings"
	"testing"

	"github.com/atoll-social/atoll/oauth/dpop"
)

// FuzzCheck looks for panics and for a proof that passes although a byte of it
// was changed.
func FuzzCheck(f *testing.F) {
	key := newKey(f)
	valid := sign(f, key, dpop.Proof{Method: "POST", URL: target, Time: start, AccessToken: token, Nonce: "n"})
	f.Add(valid)
	f.Add(strings.Replace(valid, ".", "", 1))
	f.Add(valid[:len(valid)-1])
	f.Add("..")
	f.Add("eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7fX0.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		checked, err := newChecker(t, nil).Check([]string{text}, dpop.Expect{Method: "POST", URL: target, AccessToken: token})
		if err == nil && text != valid && checked.Thumbprint == key.Thumbprint() {
			t.Fatalf("a changed proof passed: %q", text)
		}
	})
}

func FuzzNormalizeURL(f *testing.F) {
	for _, seed := range []string{target, "https://a/%7e/../b?c", "http://[::1]:80//", "https://a/%2e%2e/b", "https://a/.%2e"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		once, err := dpop.NormalizeURL(raw)
		if err != nil {
			return
		}
		if twice, err := dpop.NormalizeURL(once); err != nil || twice != once {
			t.Fatalf("NormalizeURL(%q) = %q, and of that %q (%v)", raw, once, twice, err)
		}
	})
}
