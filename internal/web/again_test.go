package web

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/oauth/client"
)

// typing gives try each form into which people type, typed into by alice. It has
// to send the form for a community in the end, which the last form changes.
func typing(b *browser, try func(f formOfAll)) {
	b.t.Helper()
	for _, f := range everyForm(b) {
		if slices.Contains(f.fields, "Typed text") {
			try(f)
		}
	}
	const edit = "/c/reef.one.test/edit"
	try(formOfAll{edit, with(b.get(edit).fields(edit), "description", "Typed text, longer")})
}

// TestFormsKeepWhatWasTyped: whatever comes in between, the form is there again
// with the text, says what has not happened, offers the way on beside it, and
// does what it was meant to once the obstacle is gone.
func TestFormsKeepWhatWasTyped(t *testing.T) {
	t.Parallel()
	ended := fault.New(fault.Unauthenticated, "Your server has ended this session. Sign in again to go on.").WithCode("SignInAgain")
	setbacks := []struct {
		name   string
		refuse func(t *testing.T, s *site) error
		status int
		offers []string
	}{
		{"a missing permission", lacking, 403, []string{permissionMissing, `action="/oauth/upgrade" target="_blank"`, "send the form again"}},
		{"a session that has ended", func(*testing.T, *site) error { return ended }, 401, []string{"/sign-in?handle=did%3Aplc", `target="_blank"`}},
		{"a server that is down", func(*testing.T, *site) error { return fault.New(fault.Unavailable, "Your server does not answer.") }, 503, []string{"Your server does not answer."}},
		{"a server that wants less", func(*testing.T, *site) error { return fault.New(fault.Limited, "Too much.").After(90e9) }, 429, []string{"Too much. Try again in 90 seconds."}},
		{"something that changed", func(*testing.T, *site) error {
			return fault.New(fault.Conflict, "It has changed.").WithCode("InvalidSwap")
		}, 409, []string{"It has changed."}},
		{"a refusal", func(*testing.T, *site) error { return fault.New(fault.Invalid, "The server wants it otherwise.") }, 400, []string{"The server wants it otherwise."}},
	}
	for _, setback := range setbacks {
		t.Run(setback.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.found(t)
			b := s.member(t, alice)
			typing(b, func(f formOfAll) {
				before := len(s.pds.written)
				s.pds.refuse = setback.refuse(t, s)
				a := b.post(f.path, f.fields...).is(setback.status, append(setback.offers, "Typed text", `<form`, `<strong>`)...)
				s.pds.refuse = nil
				if len(s.pds.written) != before {
					t.Fatalf("%s: something was written", f.path)
				}
				b.post(f.path, a.fields(f.path)...).is(303)
				if len(s.pds.written) == before {
					t.Errorf("%s: the form that came back writes nothing", f.path)
				}
			})
		})
	}
}

// Somebody whose session is gone signs in beside the form; the form that
// waited is then good.
func TestFormsWaitForASignIn(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b := s.member(t, alice)
	typing(b, func(f formOfAll) {
		device, _, err := s.sessions.Device(t.Context(), b.token())
		if err != nil {
			t.Fatal(err)
		}
		account, _ := device.Current()
		if err := s.sessions.Delete(t.Context(), account.SessionID, client.ReasonRevoked); err != nil {
			t.Fatal(err)
		}
		waiting := b.post(f.path, f.fields...).is(401, "Typed text", "Sign in again in a new tab")
		b.signIn(alice) // in another tab
		b.post(f.path, waiting.fields(f.path)...).is(303)
	})
}

// Files cannot be carried along or shown again: the member is asked for them, and
// nothing is posted without.
func TestFilesAreAskedForAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.found(t)
	b := s.member(t, alice)
	file := map[string][][]byte{"pictures": {pngFile(t, 2, 2)}}
	form := with(b.get("/posts/new").fields("/posts"), "community", commons.DID, "title", "With a picture", "alt", "A heron")
	b.postFiles("/posts/preview", file, form...).is(200, "This is how it will look", chooseAgain, "A heron")
	b.postFiles("/posts", file, with(form, "title", strings.Repeat("x", 301))...).is(400, `id="pictures-wrong"`, chooseAgain)
	b.postFiles("/account/profile", map[string][][]byte{"avatar": {pngFile(t, 2, 2)}}, with(b.get("/account/profile").fields("/account/profile"), "bio", strings.Repeat("x", 300))...).
		is(400, `id="avatar-wrong"`, chooseAgain)

	b.signIn(bob) // this device has switched
	asked := b.postFiles("/posts", file, form...).is(409, "The form comes back once more", `name="files-left" value="yes"`)
	fields := asked.fields("/posts")
	before := len(s.pds.written)
	again := b.post("/posts", fields...).is(400, "could not be carried along", "With a picture", "A heron").lacks("files-left")
	if len(s.pds.written) != before {
		t.Fatal("a post was written without its picture")
	}
	to := b.postFiles("/posts", file, again.fields("/posts")...).is(303).header.Get("Location")
	b.get(to).is(200, `alt="A heron"`, "@alice.one.test")
}

// Two people at one text: the later one sees what the other made of it before
// replacing it; and what was deleted meanwhile takes no text with it.
func TestEditingWhatWasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	page := b.writes(alice, "Low water")
	late := with(b.get(page+"/edit").fields(page+"/edit"), "content", "Late text")
	b.post(page+"/edit", with(b.get(page+"/edit").fields(page+"/edit"), "content", "**Newer** text")...).leads(page)
	again := b.post(page+"/edit", late...).is(409, "What it says now", "<strong>Newer</strong> text", "Late text", "saving again replaces it")
	b.get(page).is(200, "<strong>Newer</strong> text")
	b.post(page+"/edit", again.fields(page+"/edit")...).leads(page)
	b.get(page).is(200, "Late text").lacks("Newer")

	late = with(b.get(page+"/edit").fields(page+"/edit"), "content", "Too late text")
	b.post(page+"/delete", "acting", alice.DID).is(303)
	b.post(page+"/edit", late...).is(404, "no longer there", "Too late text")
	if n := len(s.pds.in(alice, index.PostCollection)); n != 0 {
		t.Errorf("%d posts are there, want none", n)
	}
}

// The reason of a removal is there again beside the post that it is about.
func TestTheReasonOfARemovalIsKept(t *testing.T) {
	t.Parallel()
	waiting := &waitingRoom{}
	s := newSite(t, func(c *Config) { waiting.Communities, c.Communities = c.Communities, waiting })
	b, other := s.member(t, alice), s.member(t, bob)
	b.post("/communities", with(b.get("/communities/new").fields("/communities"), "name", "reef")...).is(303)
	s.identify(t, reef)
	other.post("/posts", "acting", bob.DID, "key", "k", "community", reef.DID, "title", "From outside", "content", "May I?").is(303)
	waiting.posts = []community.Waiting{{Post: syntax.ATURI(s.uriOf(bob)), Why: community.NeedsApproval}}
	const review = "/c/reef.one.test/review"
	reason := "Not here. " + strings.Repeat("x", 1001)
	fields := with(b.get(review).is(200, "From outside").fields(review), "do", "remove", "code", "spam", "reason", reason)
	b.post(review, fields...).is(400, "Nothing has changed.", "at most 1,000 characters", `value="spam" selected`, `value="`+reason+`"`, "<details open><summary>Remove it")
}

// waitingRoom is communities in which these posts wait; the job that finds them
// runs elsewhere.
type waitingRoom struct {
	Communities
	posts []community.Waiting
}

func (w *waitingRoom) WaitingPosts(context.Context, agent.Actor, string, int) ([]community.Waiting, error) {
	return w.posts, nil
}
