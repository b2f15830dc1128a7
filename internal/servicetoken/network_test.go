package servicetoken_test

import (
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/servicetoken"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// The official servers sign tokens that are taken, once, and for one method.
func TestOfficialTokens(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	guard, err := egress.New(egress.Config{Route: n.Route, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	directory, err := identity.New(identity.Config{HTTP: guard.Client(egress.Limits{Timeout: 10 * time.Second, MaxBytes: 1 << 20}), PLCURL: n.PLC, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	v, err := servicetoken.New(servicetoken.Config{DB: storetest.New(t, store.SQLite), Directory: directory,
		Audience: "did:web:app.atoll-tests.net", Service: identity.InstanceServiceID, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	const method = syntax.NSID("social.coves.community.post.create")
	for i := range n.PDS {
		session, err := n.SignInWithPassword(t.Context(), n.NewAccount(t, i))
		if err != nil {
			t.Fatal(err)
		}
		token := func(aud, lxm string) string {
			t.Helper()
			var out struct{ Token string }
			if err := session.Query(t.Context(), "com.atproto.server.getServiceAuth", url.Values{"aud": {aud}, "lxm": {lxm}}, &out); err != nil {
				t.Fatal(err)
			}
			if !servicetoken.Looks(out.Token) {
				t.Errorf("not known for a service token: %q", out.Token)
			}
			return out.Token
		}
		good := token("did:web:app.atoll-tests.net", method.String())
		who, err := v.Verify(t.Context(), good, method, true, func() error { return nil })
		if err != nil || who.DID.String() != session.Account.DID {
			t.Errorf("PDS %d: %+v, %v; want %s", i, who, err, session.Account.DID)
		}
		for name, bad := range map[string]string{"again": good, "for another": token("did:web:other.atoll-tests.net", method.String()),
			"for another method": token("did:web:app.atoll-tests.net", "social.coves.feed.getTimeline")} {
			if who, err := v.Verify(t.Context(), bad, method, true, func() error { return nil }); err == nil {
				t.Errorf("PDS %d, %s: accepted as %s", i, name, who.DID)
			}
		}
	}
}
