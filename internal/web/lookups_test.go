package web

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/index"
)

// counting is a directory that counts how often it is asked.
type counting struct {
	directory
	asked *atomic.Int64
}

func (c counting) Lookup(ctx context.Context, id syntax.AtIdentifier) (*identity.Identity, error) {
	c.asked.Add(1)
	return c.directory.Lookup(ctx, id)
}

func newCountingSite(t *testing.T, change ...func(*Config)) (*site, *atomic.Int64) {
	t.Helper()
	asked := &atomic.Int64{}
	return newSite(t, append(change, func(c *Config) {
		c.Names = ok(community.NewResolver(community.ResolverConfig{Index: c.Index, Directory: counting{directory{}, asked}, HTTP: directory{}}))(t)
	})...), asked
}

// A preview asks no other server, whoever wants it and however often, and shows
// nothing to strangers. What it cannot tell it says.
func TestPreviewsAskNobody(t *testing.T) {
	t.Parallel()
	s, asked := newCountingSite(t)
	s.apply(t, alice, index.PersonCollection, "self", map[string]any{"displayName": "Alice", "createdAt": "2026-01-02T03:04:05Z"})
	b := s.member(t, alice)
	var crowd strings.Builder
	for n := range 30 {
		fmt.Fprintf(&crowd, "@nobody%d.example.com ", n)
	}
	form := with(b.get("/posts/new").fields("/posts"), "community", commons.DID, "content", "Hello @"+alice.Handle+" and @"+bob.Handle+", **also** "+crowd.String())
	a := b.post("/posts/preview", form...).
		is(200, "This is how it will look", "<strong>also</strong>", `href="/u/`+alice.DID+`"`, "@"+bob.Handle, "will be looked up when you post", "<bdi>@"+bob.Handle+"</bdi>").
		lacks(`href="/u/` + bob.DID + `"`)
	if n := strings.Count(a.body, "<bdi>@"); n != maxMentions-1 {
		t.Errorf("%d handles are said to be looked up, want %d", n, maxMentions-1)
	}
	b.post("/posts/preview", with(form, "content", "Hello @"+alice.Handle)...).is(200, `href="/u/`+alice.DID+`"`).lacks("will be looked up")
	stranger := s.browser(t)
	for range 20 {
		stranger.post("/posts/preview", form...).is(401, "Hello @"+alice.Handle).lacks("This is how it will look")
		stranger.post("/posts/preview", "content", crowd.String()).is(401, "Sign in")
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("previews asked others %d times", n)
	}
	b.post("/posts", with(form, "title", "T")...).is(303)
	if n := asked.Load(); n < maxMentions-2 || n > maxMentions+2 {
		t.Errorf("posting asked others %d times, want about %d", n, maxMentions)
	}
}

// Strangers who ask for ever other pages of people and communities have us ask
// others so often and no more; what is here is shown all the same, and members
// are not kept out by strangers.
func TestStrangersCauseFewLookUps(t *testing.T) {
	t.Parallel()
	lookUps := ok(httpserver.NewLookUps(httpserver.LimiterConfig{Every: time.Hour, Burst: 12}, httpserver.LimiterConfig{Every: time.Hour, Burst: 20}))(t)
	s, asked := newCountingSite(t, func(c *Config) { c.LookUps = lookUps })
	s.found(t)
	s.apply(t, alice, index.PersonCollection, "self", map[string]any{"displayName": "Alice", "createdAt": "2026-01-02T03:04:05Z"})
	b := s.browser(t)
	statuses := map[int]int{}
	for n := range 50 {
		for _, path := range []string{"/u/x%d.example.com", "/c/x%d.example.com", "/c/!x@y%d.example.com", "/u/did:plc:x%d"} {
			r := b.asking(fmt.Sprintf(path, n))
			r.RemoteAddr = fmt.Sprintf("198.51.%d.7:1000", n%4)
			statuses[b.send(r).status]++
		}
	}
	if n := asked.Load(); n > 20 || n == 0 || statuses[429] == 0 || statuses[503] == 0 {
		t.Errorf("strangers had others asked %d times, want at most 20; statuses %v", n, statuses)
	}
	b.get("/c/"+commons.Handle).is(200, "The Commons")
	b.get("/u/"+alice.Handle).is(200, "Alice")
	before := asked.Load()
	s.member(t, alice).get("/u/" + bob.Handle).is(200)
	if asked.Load() == before {
		t.Error("a member's look-up was not done")
	}
}
