package web

import (
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/index"
)

// formOfAll is one form of each kind, filled in by alice, for S25.
type formOfAll struct {
	path   string
	fields []string
}

// everyForm fills in each form that writes for a member.
func everyForm(b *browser) []formOfAll {
	b.t.Helper()
	page := b.writes(alice, "Low water")
	comment := b.answers(page, "", "An answer.")
	post := b.get(page)
	list := b.get("/c/commons.one.test")
	return []formOfAll{
		{"/posts", with(b.get("/posts/new").fields("/posts"), "community", commons.DID, "title", "T", "content", "Typed text")},
		{"/comments", with(post.fields("/comments"), "content", "Typed text")},
		{"/votes", with(post.fields("/votes"), "direction", "up")},
		{"/subscriptions", with(list.fields("/subscriptions"), "level", "4")},
		{"/blocks", with(list.fields("/blocks"), "block", "yes")},
		{page + "/edit", with(b.get(page+"/edit").fields(page+"/edit"), "content", "Typed text")},
		{comment + "/edit", with(b.get(comment+"/edit").fields(comment+"/edit"), "content", "Typed text")},
		{comment + "/delete", b.get(comment + "/delete").fields(comment + "/delete")},
		{page + "/delete", b.get(page + "/delete").fields(page + "/delete")},
		{"/account/profile", with(b.get("/account/profile").fields("/account/profile"), "bio", "Typed text")},
		{"/communities", with(b.get("/communities/new").fields("/communities"), "name", "reef", "description", "Typed text")},
	}
}

// TestFormsOfAnotherAccount: after the device has switched to another account,
// no form that was opened before writes anything until the member says as whom;
// what was typed is carried along; chosen, it writes as the one who was meant.
func TestFormsOfAnotherAccount(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b := s.member(t, alice)
	for _, f := range everyForm(b) {
		b.signIn(bob) // a second account on this device, which is active now
		before := len(s.pds.written)
		asked := b.post(f.path, f.fields...).is(409, "Nothing has been done yet", " as @alice.one.test", " as @bob.two.test")
		asked.lacks("<button class=\"button\" type=\"submit\"> as")
		if strings.Contains(strings.Join(f.fields, "\n"), "Typed text") && !strings.Contains(asked.body, "Typed text") {
			t.Errorf("%s: what was typed is gone", f.path)
		}
		b.post(f.path, with(f.fields, "acting", "")...).is(409, "did not say for which account")
		if len(s.pds.written) != before {
			t.Fatalf("%s wrote as somebody", f.path)
		}
		b.post(f.path, with(f.fields, "switch", "yes")...).is(303)
		for _, actor := range s.pds.actors[before:] {
			if got := actor.DID.String(); got != alice.DID && got != reef.DID {
				t.Errorf("%s wrote as %s, want alice", f.path, got)
			}
		}
	}
	if n := len(s.pds.in(bob, index.VoteCollection)) + len(s.pds.in(bob, index.PostCollection)); n > 0 {
		t.Errorf("%d records in bob's repository", n)
	}
}

// TestFormsOfNobody: whoever is signed out writes nothing, and loses no text.
func TestFormsOfNobody(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	forms := everyForm(s.member(t, alice))
	before := len(s.pds.written)
	for _, f := range forms {
		a := s.browser(t).post(f.path, f.fields...).is(401)
		kept := strings.Contains(a.body, "Typed text")
		if typed := strings.Contains(strings.Join(f.fields, "\n"), "Typed text"); typed && !kept {
			t.Errorf("%s: what was typed is gone", f.path)
		}
		if !strings.Contains(a.body, "/sign-in") {
			t.Errorf("%s: no way to sign in", f.path)
		}
		r := s.member(t, alice).form(f.path, f.fields...)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.example")
		s.member(t, alice).send(r).is(403)
	}
	if len(s.pds.written) != before {
		t.Error("something was written")
	}
}
