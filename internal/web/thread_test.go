package web

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// answers sends the form below a post, or below a comment, and returns where it
// leads.
func (b *browser) answers(page, parent, text string) (at string) {
	b.t.Helper()
	fields := b.get(page).is(200).fields("/comments")
	if parent != "" {
		fields = with(fields, "parent", parent, "parent_cid", b.site.pds.cidOf(b.t, parent))
	}
	to := b.post("/comments", with(fields, "content", text, "key", "key of "+text)...).is(303).header.Get("Location")
	at, _, _ = strings.Cut(to, "#")
	return at
}

// A conversation: answers, an answer to an answer, an edit, and a deletion that
// keeps the place.
func TestAThreadFromAnswerToDeletion(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b, other := s.member(t, alice), s.member(t, bob)
	page := b.writes(alice, "Low water")
	first := other.answers(page, "", "Come at **six**.")
	uri := "at://" + bob.DID + "/social.coves.community.comment/" + first[strings.LastIndexByte(first, '/')+1:]
	second := b.answers(page, uri, "Too early.")

	seen := b.get(page).is(200, "<strong>six</strong>", "Too early.", "2 comments", "@bob.two.test", "wrote the post")
	if strings.Index(seen.body, "six") > strings.Index(seen.body, "Too early") {
		t.Error("the answer stands above what it answers")
	}
	s.browser(t).get(page).is(200, "Sign in to answer", "Too early.").lacks(`action="/comments"`, `action="/votes"`)
	b.get(second).is(200, "You are looking at one comment", "Too early.", "See the whole thread", "comment here")

	edit := other.get(first+"/edit").is(200, "Come at **six**.")
	other.post(first+"/edit", with(edit.fields(first+"/edit"), "content", "Come at *seven*.")...).leads(first)
	b.get(page).is(200, "<em>seven</em>", "<span>edited</span>").lacks("six")
	b.get(first+"/edit").is(403, "Only whoever wrote this")
	b.get(first + "/delete").is(403)

	ask := other.get(first+"/delete").is(200, "Delete this comment?", "Its place stays")
	other.post(first+"/delete", ask.fields(first+"/delete")...).leads(page + "#comments")
	b.get(page).is(200, "A comment that was deleted.", "Too early.").lacks("seven")
	other.post(first+"/delete", ask.fields(first+"/delete")...).leads(page + "#comments") // a second press does no harm
	b.get(page+"/c/"+bob.DID+"/3lzzzzzzzzzzz").is(404, "not in the thread")
}

// What a form says is shown once however often it is sent, and is not lost when
// it cannot be written.
func TestAnAnswerIsOnceAndNeverLost(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	page := b.writes(alice, "Low water")
	fields := with(b.get(page).fields("/comments"), "content", "Only once, please.")
	first := b.post("/comments", fields...).is(303).header.Get("Location")
	b.post("/comments", fields...).leads(first)
	if n := strings.Count(b.get(page).body, `<p dir="auto">Only once, please.`); n != 1 {
		t.Errorf("the answer stands there %d times, want once", n)
	}
	b.post("/comments", with(fields, "content", "Something else.")...).is(409, "Something else.", "Not said yet")
	b.post("/comments", with(fields, "key", "k2", "content", "  ")...).is(400, "Not said yet")
	b.post("/comments", with(fields, "key", "k3", "content", strings.Repeat("x", 10_001))...).is(400, "Not said yet")
	b.post("/comments", with(fields, "root", "https://one.test")...).is(400, "which post it answers")
	s.pds.refuse = fault.New(fault.Unavailable, "Your server does not answer.")
	b.post("/comments", with(fields, "key", "k4", "content", "Kept text")...).is(503, "does not answer", "Kept text", `value="k4"`)
	s.browser(t).post("/comments", with(fields, "content", "Kept text")...).is(401, "Kept text", "Sign in again in a new tab")
}

func TestVotesAsAFormAndByTheScript(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, bob)
	page := s.member(t, alice).writes(alice, "Low water")
	vote := b.get(page).is(200, `aria-pressed="false"`).lacks(`aria-pressed="true"`).fields("/votes")
	script := func(direction string) map[string]any {
		t.Helper()
		r := b.form("/votes", with(vote, "direction", direction)...)
		r.Header.Set("Accept", "application/json")
		var out map[string]any
		if err := json.Unmarshal([]byte(b.send(r).is(200).body), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	b.post("/votes", with(vote, "direction", "up")...).leads(page)
	b.get(page).is(200, `value="up" aria-pressed="true"`, `<span data-score>1</span>`)
	list := b.get("/discover").is(200, `value="up" aria-pressed="true"`).fields("/votes")
	anchor := "/discover#" + strings.TrimPrefix(page, "/p/")
	b.post("/votes", with(list, "direction", "up")...).leads(anchor) // takes it back
	b.post("/votes", with(list, "direction", "up")...).leads(anchor)
	for back, leads := range map[string]string{"/discover#<b>": "/discover", "//x#y": "/", "/discover?a=b#a#b": "/discover?a=b", "/u/x#": "/u/x#"} {
		b.post("/votes", with(list, "direction", "up", "return_to", back)...).leads(leads)
	}
	for _, step := range []struct {
		direction string
		want      map[string]any
	}{
		{"down", map[string]any{"score": -1.0, "vote": "down"}},
		{"down", map[string]any{"score": 0.0, "vote": ""}}, // the same again takes it back
		{"up", map[string]any{"score": 1.0, "vote": "up"}},
	} {
		if diff := cmp.Diff(step.want, script(step.direction)); diff != "" {
			t.Errorf("voting %s (-want +got):\n%s", step.direction, diff)
		}
	}
	if n := len(s.pds.in(bob, index.VoteCollection)); n != 1 {
		t.Errorf("%d votes are in the repository, want 1", n)
	}
	b.post("/votes", with(vote, "direction", "sideways")...).is(400, "up or down")
	b.post("/votes", with(vote, "direction", "up", "uri", "at://nobody/x")...).is(400)
	b.post("/votes", with(vote, "direction", "up", "uri", "at://"+alice.DID+"/"+index.PostCollection.String()+"/3lzzzzzzzzzzz")...).is(404)
	if a := b.post("/votes", with(vote, "direction", "up", "return_to", "https://evil.example/")...); a.header.Get("Location") != "/" {
		t.Errorf("a vote leads to %q", a.header.Get("Location"))
	}
	s.browser(t).post("/votes", with(vote, "direction", "up")...).is(401)
}

// Whom somebody blocks they do not see: on lists, in threads, at the address
// itself; and sees again after unblocking.
func TestBlocksHideEverywhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b, other := s.member(t, alice), s.member(t, bob)
	theirs, mine := other.writes(bob, "Bob's news"), b.writes(alice, "Mine")
	other.answers(mine, "", "Bob was here.")
	form := b.get("/u/bob.two.test").is(200, "news", "Block</button>").fields("/blocks")
	b.post("/blocks", with(form, "block", "yes")...).leads("/u/bob.two.test")

	b.get("/u/bob.two.test").is(200, "You block this member", "Unblock").lacks("news")
	b.get("/discover").is(200, "Mine").lacks("news")
	b.get(theirs).is(404)
	b.get(mine).is(200, "somebody whom you block").lacks("Bob was here.")
	list := b.get("/account/blocks").is(200, "@bob.two.test", "Unblock")
	s.browser(t).get("/discover").is(200, "news") // others still see it
	b.post("/blocks", with(list.fields("/blocks"), "block", "no")...).leads("/account/blocks")
	b.get(mine).is(200, "Bob was here.")
	b.get("/account/blocks").is(200, "Nobody and nothing")

	place := b.get("/c/commons.one.test").is(200, "The Commons", "No posts yet").fields("/blocks")
	b.post("/blocks", with(place, "block", "yes")...).leads("/c/commons.one.test")
	b.get("/c/commons.one.test").is(200, "You block this community").lacks("No posts yet")
	b.get("/discover").is(200).lacks("Mine")
	b.get("/account/blocks?of=communities").is(200, "commons.one.test")
	b.post("/blocks", with(place, "block", "yes", "kind", "weather")...).is(400)
	b.post("/blocks", with(form, "block", "yes", "subject", alice.DID)...).is(400) // oneself
	s.browser(t).get("/account/blocks").is(401)
}

// cidOf is the version of a record that is in its repository.
func (f *fakePDS) cidOf(t *testing.T, uri string) string {
	t.Helper()
	at := syntax.ATURI(uri)
	got, err := f.Read(t.Context(), syntax.DID(at.Authority().String()), at.Collection(), at.RecordKey())
	if err != nil {
		t.Fatal(err)
	}
	return got.CID.String()
}

func TestThreadsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	page := s.member(t, alice).writes(alice, "Low water")
	for path, status := range map[string]int{
		"/p/" + alice.DID + "/3lzzzzzzzzzzz": 404, "/p/not-a-did/x": 404, "/p/" + strings.ToUpper(alice.DID) + "/x": 404,
		page + "?sort=odd": 400, page + "?cursor=made-up": 400, page + "/c/x/y": 404, page + "?sort=top": 200, page + "?sort=new": 200,
		page + "/edit": 401, page + "/delete": 401,
	} {
		if a := b.get(path); a.status != status && (a.status != http.StatusBadRequest || status != 404) {
			t.Errorf("GET %s: %d, want %d", path, a.status, status)
		}
	}
}

// The address of a thread may name people by handle, in any case; it leads to the
// one address that the thread has.
func TestThreadsByHandle(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	page := s.member(t, alice).writes(alice, "Low water")
	_, rkey, _ := strings.Cut(strings.TrimPrefix(page, "/p/"), "/")
	for path, to := range map[string]string{
		"/p/" + alice.Handle + "/" + rkey:                                page,
		"/p/" + strings.ToUpper(alice.Handle) + "/" + rkey + "?sort=new": page + "?sort=new",
		page + "/c/" + alice.Handle + "/3lzzzzzzzzzzz":                   page + "/c/" + alice.DID + "/3lzzzzzzzzzzz",
		"/p/nobody.example.com/" + rkey:                                  "",
	} {
		a := b.get(path)
		if to == "" {
			a.is(http.StatusNotFound)
		} else if a.is(http.StatusFound); a.header.Get("Location") != to {
			t.Errorf("GET %s leads to %q, want %q", path, a.header.Get("Location"), to)
		}
	}
}

// Whoever wrote a post that its community removed reads so, and why; others find
// nothing there.
func TestTheAuthorOfARemovedPostReadsWhy(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b := s.member(t, alice)
	page := b.writes(alice, "Too loud")
	s.apply(t, commons, index.RemovalCollection, index.AdmissionKey(syntax.ATURI(s.uriOf(alice))), map[string]any{
		"subject": map[string]any{"uri": s.uriOf(alice), "cid": s.pds.cidOf(t, s.uriOf(alice))}, "code": "off-topic", "reason": "Somebody <b>sleeps</b> here.", "createdAt": "2026-01-02T03:04:05Z",
	})
	b.get(page).is(404, "Removed by the community", "The reason given is: Off topic. “Somebody &lt;b&gt;sleeps&lt;/b&gt; here.”", page+"/delete").lacks("Too loud")
	b.get(page+"/delete").is(200, "Delete this post?")
	s.member(t, bob).get(page).is(404, "Nothing at this position").lacks("sleeps")
	s.browser(t).get(page).is(404).lacks("sleeps")
}
