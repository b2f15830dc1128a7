package xrpc

import (
	"context"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
)

// fixedStanding is how everybody stands.
type fixedStanding struct{}

func (fixedStanding) Standing(_ context.Context, did syntax.DID) (agent.Standing, error) {
	return agent.Standing{DID: did, Handle: "alice.example.com", PDS: "https://pds.example.com", State: agent.WantsScope, Mend: agent.MendByUpgrade,
		Way: agent.ByOAuth, SessionID: "secret-id", Scopes: []string{"atproto"}, Missing: []string{"repo:social.coves.feed.vote"},
		ExpiresAt: time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC), Ways: []agent.WayStanding{{Way: agent.ByOAuth, Open: true, Why: "You are signed in."}}}, nil
}

// TestMeStanding holds A10: a member's own client learns how they stand.
func TestMeStanding(t *testing.T) {
	t.Parallel()
	a := newAPI(t, func(c *Config) { c.Standings = fixedStanding{} })
	cookie := a.signIn("", alice)
	got := a.do(call{verb: "GET", path: "/api/me/standing", cookie: cookie})
	want := `{"did":"` + string(alice) + `","handle":"alice.example.com","pds":"https://pds.example.com","state":"needs_scope","mend":"upgrade","way":"oauth",` +
		`"scopes":["atproto"],"missing":["repo:social.coves.feed.vote"],"expiresAt":"2026-11-02T09:00:00.000Z",` +
		`"ways":[{"way":"oauth","open":true,"why":"You are signed in."}]}` + "\n"
	if got.status != 200 || got.body != want {
		t.Errorf("standing: %d %s, want %s", got.status, got.body, want)
	}
	if got := a.do(call{verb: "GET", path: "/api/me/standing"}); got.status != 401 {
		t.Errorf("nobody: %d %s", got.status, got.body)
	}
	if got := a.do(call{verb: "GET", path: "/api/me/standing", headers: []string{"Authorization", "Bearer " + serviceToken()}}); got.status != 401 {
		t.Errorf("a token of a service: %d %s", got.status, got.body)
	}
}
