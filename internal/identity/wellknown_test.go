package identity_test

import (
	"errors"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
)

// A domain is proven by its own web server, asked every time; its name servers
// prove nothing here.
func TestWellKnownDID(t *testing.T) {
	t.Parallel()
	const did = syntax.DID("did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	w := newWorld(t)
	w.wellKnown("bot.atoll-tests.net", "atproto-did", 200, string(did)+"\n")
	w.wellKnown("page.atoll-tests.net", "atproto-did", 200, "<html>hello")
	w.wellKnown("empty.atoll-tests.net", "atproto-did", 200, "")
	w.wellKnown("down.atoll-tests.net", "atproto-did", 503, "")
	w.dnsDID("named.atoll-tests.net", string(did))
	d := w.directory(t)
	for domain, want := range map[syntax.Handle]error{"bot.atoll-tests.net": nil, "BOT.atoll-tests.net": nil, "page.atoll-tests.net": identity.ErrHandleNotFound,
		"empty.atoll-tests.net": identity.ErrHandleNotFound, "nowhere.atoll-tests.net": identity.ErrHandleNotFound,
		"named.atoll-tests.net": identity.ErrHandleNotFound, "down.atoll-tests.net": identity.ErrUnavailable, "bot.local": identity.ErrReservedTLD} {
		got, err := d.WellKnownDID(t.Context(), domain)
		if !errors.Is(err, want) || (err == nil) != (got == did) {
			t.Errorf("WellKnownDID(%s) = %s, %v; want %v", domain, got, err, want)
		}
	}
	if n := w.requests("https://bot.atoll-tests.net/.well-known/atproto-did"); n != 2 {
		t.Errorf("asked %d times, want every time", n)
	}
}
