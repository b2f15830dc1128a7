package client

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenges(t *testing.T) {
	t.Parallel()
	type params = map[string]string
	for _, c := range []struct {
		name  string
		lines []string
		want  []challenge
	}{
		{"none", nil, nil},
		{"empty", []string{""}, nil},
		{"scheme only", []string{"DPoP"}, []challenge{{"DPoP", params{}}}},
		{"quoted and not", []string{`DPoP algs="ES256 RS256", error=invalid_token`}, []challenge{{"DPoP", params{"algs": "ES256 RS256", "error": "invalid_token"}}}},
		{"escapes", []string{`Bearer realm="a \"b\", c\\"`}, []challenge{{"Bearer", params{"realm": `a "b", c\`}}}},
		{"two in a line", []string{`Basic realm="x", DPoP error="e"`}, []challenge{{"Basic", params{"realm": "x"}}, {"DPoP", params{"error": "e"}}}},
		{"two lines", []string{`Basic`, `DPoP error="e"`}, []challenge{{"Basic", params{}}, {"DPoP", params{"error": "e"}}}},
		{"name in capitals", []string{`DPoP Error="e"`}, []challenge{{"DPoP", params{"error": "e"}}}},
		{"repeated parameter", []string{`DPoP error="e", error="f"`}, []challenge{{"DPoP", params{"error": "e"}}}},
		{"spaces around =", []string{`DPoP error = "e"`}, []challenge{{"DPoP", params{"error": "e"}}}},
		{"open quote", []string{`DPoP error="e, x="y`}, []challenge{{"DPoP", params{"error": "e, x="}}, {"y", params{}}}},
		{"rubbish", []string{`"=,;`}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := challenges(http.Header{"Www-Authenticate": c.lines})
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(challenge{})); diff != "" {
				t.Errorf("challenges(%q) (-want +got):\n%s", c.lines, diff)
			}
		})
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`DPoP algs="ES256", error="use_dpop_nonce", Bearer realm="a\"b"`)
	f.Add(`a=b,,= "`)
	f.Fuzz(func(t *testing.T, line string) {
		got := challenges(http.Header{"Www-Authenticate": {line, strings.Repeat("x ,", 100)}})
		if len(got) > maxChallenges {
			t.Fatalf("%d challenges, want %d at most", len(got), maxChallenges)
		}
	})
}
