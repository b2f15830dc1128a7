package telemetry_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/atoll-social/atoll/internal/telemetry"
)

// jwt has the shape of an access token.
const jwt = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkaWQ6cGxjOmFiYyJ9.c2lnbmF0dXJlLXNpZ25hdHVyZQ"

func TestRedactTakesSecrets(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, text, want string }{
		{"jwt", "got " + jwt + " back", "got [redacted] back"},
		{"cut jwt", "got " + jwt[:20], "got [redacted]"},
		{"jwt in a path", "https://pds.example/x/" + jwt + "/y", "https://pds.example/x/[redacted]/y"},
		{"jwt inside a word", "x" + jwt, "x[redacted]"},
		{"dpop", "header DPoP abc123.def refused", "header DPoP [redacted] refused"},
		{"bearer in lower case", "bearer ABCDEF", "bearer [redacted]"},
		{"basic", "Basic dXNlcjpwYXNz", "Basic [redacted]"},
		{"authorization header", "Authorization: Custom 1234\r\nAccept: */*", "Authorization: [redacted]\r\nAccept: */*"},
		{"header dump", "map[Authorization:[DPoP xyz1] Dpop:[proof1]]", "map[Authorization:[redacted]"},
		{"cookie header", "Cookie: a=b; c=d\nHost: x", "Cookie: [redacted]\nHost: x"},
		{"set-cookie", "Set-Cookie: __Host-atoll=abc; Path=/", "Set-Cookie: [redacted]"},
		{"cookie by prefix", "sent __Host-atoll=abc; then", "sent __Host-atoll=[redacted]; then"},
		{"development cookie", "sent atoll-8080=abcdef", "sent atoll-8080=[redacted]"},
		{"e-mail", "mail to alice@example.com failed", "mail to [e-mail] failed"},
		{"e-mail in a query", "/x?to=alice%40example.com&y", "/x?to=[e-mail]&y"},
		{"e-mail of another script", "von jürgen@bücher.example", "von [e-mail]"},
		{"quoted e-mail", `"a b"@example.com`, "[e-mail]"},
		{"database address", "postgres://atoll:hunter2@db:5432/x", "postgres://[redacted]@db:5432/x"},
		{"callback", "GET /oauth/callback?code=abc&state=def&iss=x", "GET /oauth/callback?code=[redacted]&state=[redacted]&iss=x"},
		{"form", "grant_type=x&refresh_token=abc&client_id=y", "grant_type=x&refresh_token=[redacted]&client_id=y"},
		{"json", `{"access_token":"abc","token_type":"DPoP"}`, `{"access_token":"[redacted]","token_type":"DPoP"}`},
		{"json with a quote inside", `{"password":"a\"b"}`, `{"password":"[redacted]"}`},
		{"json in json", `"{\"refresh_token\": \"abc\"}"`, `"{\"refresh_token\": \"[redacted]\"}"`},
		{"list in json", `{"tokens":["abc","def"],"x":1}`, `{"tokens":["[redacted]],"x":1}`},
		{"struct dump", "{Password:hunter Name:x}", "{Password:[redacted] Name:x}"},
		{"assignment", "client_secret = hunter", "client_secret = [redacted]"},
		{"official refresh token", "ref-0123456789abcdef0123", "[redacted]"},
		{"app password", "used abcd-efgh-2345-wxyz here", "used [redacted] here"},
		{"nostr key", "nsec1qqqsyqcyq5rqwzqfpg", "[redacted]"},
		{"pem", "-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY-----\nx", "[redacted]\nx"},
		{"master key line", "qPHVFVX0jBLCvVZ8mVNNBoqzGsVWqyVpRqkRgRlIh0E=", "[redacted]"},
		{"key of 32 bytes", "qPHVFVX0jBLCvVZ8mVNNBoqzGsVWqyVpRqkRgRlIh0E", "[redacted]"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := telemetry.Redact(test.text)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Redact(%q) (-want +got):\n%s", test.text, diff)
			}
			if again := telemetry.Redact(got); again != got {
				t.Errorf("Redact(Redact(x)) = %q, want %q", again, got)
			}
		})
	}
}

func TestRedactLeavesWhatOperatorsNeed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"",
		"did:plc:z72i7hdynmk6r22z27h6tvur",
		"did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme",
		"@alice.pds1.test",
		"at://did:plc:z72i7hdynmk6r22z27h6tvur/social.coves.community.postv2/3lbkj2x7qzs2e",
		"bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm",
		"com.atproto.sync.subscribeRepos",
		"https://pds1.test/oauth/token",
		"wss://pds1.test/xrpc/com.atproto.sync.subscribeRepos?cursor=17",
		"refresh token: connection refused",
		"read device cookie: named cookie not present",
		"authorization: server answered with html",
		"DPoP proof missing",
		"bearer token expired",
		"dial tcp 10.0.0.1:443: connect: connection refused",
		"/src/golang.org/x/net@v0.61.0/http2/server.go:12",
		"unknown kind of record social.coves.community.postv2",
	} {
		if got := telemetry.Redact(text); got != text {
			t.Errorf("Redact(%q) = %q, want it unchanged", text, got)
		}
	}
}

func TestRedactCutsLongText(t *testing.T) {
	t.Parallel()
	got := telemetry.Redact(strings.Repeat("ä", 1<<20))
	if len(got) > 17<<10 || !strings.HasSuffix(got, "…") {
		t.Errorf("Redact(2 MiB) has %d bytes, want about 16 KiB ending in an ellipsis", len(got))
	}
}

// Whatever stands around a token, it does not come through.
func TestRedactTakesTokensInAnySurroundings(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		secret := rapid.StringMatching(`[A-Za-z0-9_-]{40}`).Draw(t, "secret")
		form := rapid.SampledFrom([]string{
			"eyJhbGciOi%s", "DPoP X%s", "Bearer X%s", `"refresh_token":"%s"`, "password=%s", "__Host-atoll=%s",
			"Cookie: a=%s", "?code=%s", "https://user:%s@host/", "tok-aaaaaaaaaaaa%s", "Authorization: %s",
		}).Draw(t, "form")
		before := rapid.StringMatching(`([ -~\n]{0,20}[ \n({\[,])?`).Draw(t, "before")
		after := rapid.StringMatching(`([ \n)}\]][ -~\n]{0,20})?`).Draw(t, "after")
		secret = strings.NewReplacer("-", "Q", "_", "7").Replace(secret)
		text := before + strings.Replace(form, "%s", secret, 1) + after
		if got := telemetry.Redact(text); strings.Contains(got, secret) {
			t.Fatalf("Redact(%q) = %q, which has the secret", text, got)
		}
	})
}

func FuzzRedact(f *testing.F) {
	f.Add("prefix ", " suffix")
	f.Add(`{"access_token":"`, `"}`)
	f.Add("Cookie: x=", ";")
	f.Add("a@", ".b")
	f.Fuzz(func(t *testing.T, before, after string) {
		if len(before) > 1<<12 || len(after) > 1<<12 {
			return
		}
		got := telemetry.Redact(before + jwt + after)
		if strings.Contains(got, "c2lnbmF0dXJl") || strings.Contains(got, "eyJzdWIi") {
			t.Errorf("Redact(%q) = %q, which has a part of the token", before+jwt+after, got)
		}
	})
}
