package identity_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
)

func TestParseInputForgives(t *testing.T) {
	t.Parallel()
	const (
		handle = "alice.example.com"
		plc    = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"
		server = "https://pds.example.com"
	)
	tests := []struct{ in, want string }{
		{"alice.example.com", handle},
		{"@alice.example.com", handle},
		{"Alice.EXAMPLE.com", handle},
		{"  alice.example.com \t\r\n", handle},
		{"\u00a0alice.example.com\u3000", handle},
		{"alice.example.com.", handle},
		{"alice.example.com/", handle},
		{"alice.example.com./", handle},
		{"at://alice.example.com", handle},
		{"AT://alice.example.com/", handle},
		{"\u202aalice.example.com\u202c", handle},
		{"\u2066@alice.example.com\u2069", handle},
		{"alice\u200b.example\u00ad.com\ufeff", handle},
		{"@\u200ealice.example.com\ufe0f", handle},
		{"\u200f alice.example.com", handle},
		{"xn--ls8h.example.com", "xn--ls8h.example.com"},
		{"pds.example.com", "pds.example.com"},
		{plc, plc},
		{"at://" + plc, plc},
		{"@" + plc, plc},
		{strings.ToUpper(plc), plc},
		{"did:web:Alice.Example.com", "did:web:alice.example.com"},
		{"did:web:localhost%3a2583", "did:web:localhost%3A2583"},
		{server, server},
		{"HTTPS://PDS.example.com/", server},
		{"https://pds.example.com:443", server},
		{"https://pds.example.com.", server},
		{" https://pds.example.com:8443/ ", "https://pds.example.com:8443"},
		{"http://localhost:2583", "http://localhost:2583"},
		{"http://127.0.0.1:2583/", "http://127.0.0.1:2583"},
		{"http://[::1]:2583", "http://[::1]:2583"},
	}
	for _, tt := range tests {
		got, err := identity.ParseInput(tt.in)
		if err != nil || got.String() != tt.want {
			t.Errorf("ParseInput(%q) = %q, %v; want %q", tt.in, got, err, tt.want)
			continue
		}
		if (got.Server != "") != strings.HasPrefix(tt.want, "http") || (got.Account != "") == (got.Server != "") {
			t.Errorf("ParseInput(%q) = %+v: wrong field", tt.in, got)
		}
	}
}

func TestParseInputRefuses(t *testing.T) {
	t.Parallel()
	const (
		empty      = "Enter your handle"
		unreadable = "not readable text"
		control    = "control characters"
		long       = "too long"
		alone      = "Enter the handle alone"
		email      = "e-mail address"
		dot        = "has a dot in it"
		letters    = "xn-- form"
		handle     = "not a handle"
		did        = "not a DID"
		server     = "not the address of a server"
		scheme     = "kind of address"
	)
	tests := []struct{ in, says string }{
		{"", empty}, {"   ", empty}, {"@", empty}, {"at://", empty}, {"\u200b", empty}, {"/", empty}, {".", empty},
		{"alice\xff.example.com", unreadable},
		{"alice\x00.example.com", control}, {"\x00alice.example.com", control}, {"alice.example.com\x7f", control},
		{"alice\n.example.com", control}, {"alice.\u0085example.com", control},
		{strings.Repeat("a", 2049), long}, {strings.Repeat("\u200b", 700), long},
		{"alice", dot}, {"@alice", dot}, {"localhost", dot},
		{"alice@example.com", email},
		{"alice.example.com/profile", alone}, {"pds.example.com:8443", alone}, {"127.0.0.1:2583", alone}, {"https:", alone}, {"https://", alone},
		{"at://alice.example.com/app.bsky.feed.post/3k", alone},
		{"bücher.example.com", letters}, {"аlice.example.com", letters}, {"alice。example。com", letters},
		{"alice..example.com", handle}, {"-alice.example.com", handle}, {"alice .example.com", handle}, {"127.0.0.1", handle},
		{strings.Repeat("a", 64) + ".example.com", handle}, {"alice.example.com..", handle},
		{"did:", did}, {"did:plc:", did}, {"did:plc:short", did}, {"did:key:z6Mk", did}, {"did:web:alice", did},
		{"did:web:example.com:alice", did}, {"did:web:example.com%3A8443", did}, {"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/x", did},
		{"http://pds.example.com", server}, {"https://pds.example.com/xrpc", server}, {"https://user:pw@pds.example.com", server},
		{"https://pds.example.com?x=1", server}, {"https://pds.example.com#x", server}, {"https://10.0.0.1", server},
		{"https://pds", server}, {"https://pds.example.com:99999", server}, {"https://%zz", server}, {"https://pds example.com", server},
		{"https://bsky.app/profile/alice.example.com", server}, {"http://localhost.example.com", server},
		{"ftp://pds.example.com", scheme}, {"javascript://alert", scheme},
	}
	for _, tt := range tests {
		got, err := identity.ParseInput(tt.in)
		var input *identity.InputError
		if !errors.As(err, &input) || !strings.Contains(input.Sentence, tt.says) {
			t.Errorf("ParseInput(%.60q) = %+v, %v; want an error with %q", tt.in, got, err, tt.says)
			continue
		}
		if f := identity.Fault(err); f.Kind != fault.Invalid || f.Public != input.Sentence {
			t.Errorf("Fault(%.60q) = %v %q", tt.in, f.Kind, f.Public)
		}
	}
}

func FuzzParseInput(f *testing.F) {
	for _, seed := range []string{
		"alice.example.com", "@Alice.example.com/", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:localhost%3a80",
		"https://pds.example.com:443/", "http://[::1]:2583", "\u202aalice\u200b.example.com.", "a\xff", "did:web:a.b:c", "HTTP://LOCALHOST",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := identity.ParseInput(s)
		if err != nil {
			var input *identity.InputError
			if !errors.As(err, &input) || input.Sentence == "" || !utf8.ValidString(input.Sentence) {
				t.Fatalf("ParseInput(%q) = %#v, want an *InputError with a sentence", s, err)
			}
			return
		}
		if again, err := identity.ParseInput(got.String()); err != nil || again != got {
			t.Fatalf("ParseInput(%q) = %q, which parses as %q, %v", s, got, again, err)
		}
		if got.Server != "" {
			if origin, err := identity.Origin(got.Server, true); err != nil || origin != got.Server || got.Account != "" {
				t.Fatalf("ParseInput(%q) = %+v: %q, %v", s, got, origin, err)
			}
			return
		}
		if id, err := syntax.ParseAtIdentifier(got.Account.String()); err != nil || id.Normalize() != got.Account {
			t.Fatalf("ParseInput(%q) = %+v: %v", s, got, err)
		}
	})
}
