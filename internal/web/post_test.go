package web

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

func TestAPostIsOnThePageAtOnceAndOnce(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	form := []string{"acting", alice.DID, "key", "form-1", "community", "@commons.one.test", "title", "Low water", "content", "At six.\r\nBring boots."}
	first := b.post("/posts", form...).is(http.StatusSeeOther)
	again := b.post("/posts", form...).is(http.StatusSeeOther)
	to := first.header.Get("Location")
	if to != again.header.Get("Location") {
		t.Errorf("the form sent twice leads to %q, then %q; want the same post", to, again.header.Get("Location"))
	}
	b.get(to).is(200, "Low water", "At six.\nBring boots.", "@alice.one.test", "commons.one.test", "Nobody has answered yet")
	if n := strings.Count(b.get("/discover").body, `dir="auto"><a href="`+to+`">Low water`); n != 1 {
		t.Errorf("the post is on Discover %d times, want once", n)
	}
	record := s.pds.written[0].Record
	want := map[string]any{"$type": "social.coves.community.postv2", "community": commons.DID, "title": "Low water",
		"content": "At six.\nBring boots.", "createdAt": record["createdAt"]}
	if diff := cmp.Diff(want, record); diff != "" {
		t.Errorf("record differs (-want +got):\n%s", diff)
	}
	if s.pds.actors[0].DID.String() != alice.DID || s.pds.actors[0].SessionID == "" {
		t.Errorf("written as %+v, want alice with her session", s.pds.actors[0])
	}
	b.post("/posts", append(form, "key", "form-2")...).is(http.StatusSeeOther)
	if n := strings.Count(b.get("/discover").body, ">Low water</a>"); n != 2 {
		t.Errorf("two forms made %d posts, want 2", n)
	}
}

func TestPostMistakesComeBackBesideTheirField(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, community, title, content string
		status                          int
		beside, text                    string
	}{
		{"unknown community", "nobody.one.test", "T", "x", 404, "community", "There is no community"},
		{"no community", "", "T", "x", 400, "community", "Name the community"},
		{"malformed community", "not a handle", "T", "x", 400, "community", "handle"},
		{"a server", "https://pds.example.com", "T", "x", 400, "community", "handle or DID"},
		{"nothing said", "commons.one.test", " ", "\n", 400, "content", "needs a title"},
		{"title too long", "commons.one.test", strings.Repeat("é", 301), "x", 400, "title", "There are 301 now."},
		{"text too long", "commons.one.test", "T", strings.Repeat("x", 10001), 400, "content", "There are 10001 now."},
		{"too many bytes", "commons.one.test", "T", strings.Repeat("👩‍👩‍👧‍👦", 5000), 400, "content", "There are 5000 now."},
		{"title of two lines", "commons.one.test", "a\nb", "x", 400, "", "single line"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			a := s.member(t, alice).post("/posts", "acting", alice.DID, "key", "form-1",
				"community", tt.community, "title", tt.title, "content", tt.content).
				is(tt.status, "Not posted yet", tt.text, `name="key" value="form-1"`)
			if got := strings.Contains(a.body, `id="`+tt.beside+`-wrong"`); got != (tt.beside != "") {
				t.Errorf("no message beside the field %q:\n%s", tt.beside, a.body)
			}
			for _, typed := range []string{tt.community, tt.title, tt.content} {
				if !strings.Contains(a.body, strings.TrimSpace(typed)) {
					t.Errorf("what was typed is gone: %.40q", typed)
				}
			}
			if len(s.pds.written) != 0 {
				t.Errorf("%d records were written", len(s.pds.written))
			}
		})
	}
}

func TestPostTroubleOfTheServerKeepsTheText(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		err    error
		status int
		text   string
	}{
		{"down", fault.New(fault.Unavailable, "Your server does not answer."), 503, "does not answer"},
		{"limited", fault.New(fault.Limited, "Your server takes no more.").After(time.Minute), 429, "takes no more"},
		{"session over", fault.New(fault.Unauthenticated, "Your server has ended this session.").WithCode("SignInAgain"), 401, "Sign in again in a new tab"},
		{"scope", fault.New(fault.Forbidden, "This takes a permission.").WithCode("MissingScope"), 403, "Sign in again in a new tab"},
		{"key used", fault.New(fault.Conflict, "-").WithCode("Conflict"), 409, "sent before with another text"},
		{"ours", http.ErrServerClosed, 500, "Something went wrong on our side"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.pds.refuse = tt.err
			a := s.member(t, alice).post("/posts", "acting", alice.DID, "key", "form-1", "community", commons.DID, "title", "T", "content", "Kept text").
				is(tt.status, tt.text, "Kept text", "Not posted yet").lacks("Server closed")
			if kept := strings.Contains(a.body, `name="key" value="form-1"`); kept == (tt.status == 409) {
				t.Errorf("status %d: the form's key was kept: %v", tt.status, kept)
			}
			if got := a.header.Get("Retry-After") != ""; got != (tt.status == 429) {
				t.Errorf("Retry-After: %v with status %d", got, tt.status)
			}
		})
	}
}

// A text that was changed after it may have been written is never lost, and
// never replaces anything unasked.
func TestChangedTextUnderAUsedKey(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	b.post("/posts", "acting", alice.DID, "key", "form-1", "community", commons.DID, "content", "first").is(303)
	b.post("/posts", "acting", alice.DID, "key", "form-1", "community", commons.DID, "content", "second").
		is(409, "look at Discover first", "second").lacks(`value="form-1"`)
	if len(s.pds.written) != 1 {
		t.Errorf("%d records were written, want 1", len(s.pds.written))
	}
}

func TestPostingWithoutASessionKeepsTheText(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	form := []string{"acting", alice.DID, "key", "form-1", "community", commons.DID, "title", "T", "content", "Kept text"}
	stranger := s.browser(t)
	stranger.get("/posts/new?community=commons.one.test").is(200, "Sign in to write").lacks("<form")
	stranger.post("/posts", form...).is(401, "Kept text", `name="acting" value="`+alice.DID+`"`, "Sign in again in a new tab")
	stranger.post("/posts", "content", "x").is(401, "Sign in first")
	if len(s.pds.written) != 0 {
		t.Errorf("%d records were written", len(s.pds.written))
	}
	s.member(t, alice).get("/posts/new?community=commons.one.test").is(200, `value="commons.one.test"`)
	s.member(t, alice).get("/posts/new?community=%00").is(200)
}

// S25, for posts: nothing is written by the wrong person, and nothing typed is lost.
func TestAPostForAnotherAccountAsksFirst(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice, bob) // bob is active
	form := []string{"acting", alice.DID, "key", "form-1", "community", commons.DID, "title", "A \"title\"", "content", "two\r\nlines"}
	b.post("/posts", form...).is(409, "Post as @alice.one.test", "Post as @bob.two.test", `name="title" value="A &#34;title&#34;"`, "value=\"two\nlines\"", `value="form-1"`)
	if len(s.pds.written) != 0 {
		t.Fatalf("%d records were written before the member chose", len(s.pds.written))
	}
	b.post("/posts", append(form, "switch", "yes")...).is(303)
	if got := s.pds.actors[0].DID.String(); got != alice.DID {
		t.Errorf("written by %s, want alice", got)
	}
	b.get("/").is(200, `Your account: </span>@alice`)
}

func TestWritesAreLimitedByAccount(t *testing.T) {
	t.Parallel()
	limiter := ok(httpserver.NewLimiter(httpserver.LimiterConfig{Every: time.Hour, Burst: 1}))(t)
	s := newSite(t, func(c *Config) { c.Writes = limiter })
	b := s.member(t, alice)
	b.post("/posts", "acting", alice.DID, "key", "1", "community", commons.DID, "content", "one").is(303)
	a := b.post("/posts", "acting", alice.DID, "key", "2", "community", commons.DID, "content", "two").is(429, "two")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.member(t, bob).post("/posts", "acting", bob.DID, "key", "3", "community", commons.DID, "content", "three").is(303)
}
