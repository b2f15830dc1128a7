package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// TestMorePermissions: a member who has given less than a post takes is asked
// for it when they write one. Declining leaves everything as it was; agreeing
// leads back, with one session that may do both, and the one before revoked at
// the official PDS (S36).
func TestMorePermissions(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, signInScope: "atproto"})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 1)
	b := inst.browser()
	b.signIn(member)
	form := formOf(t, b.get("/posts/new"), "/posts", nil)
	form.Set("community", commons.Handle)
	form.Set("title", "one more permission")
	form.Set("content", "For a post.")
	ask := func() url.Values {
		t.Helper()
		a := b.post("/posts", form)
		if a.status != http.StatusForbidden || !strings.Contains(a.body, "For a post.") {
			t.Fatalf("a post without the permission: %d\n%s", a.status, a.body)
		}
		return formOf(t, a, "/oauth/upgrade", nil)
	}
	first := inst.liveSession(member)

	declined, err := inst.network.Decline(t.Context(), b.upgrade(ask()), member)
	if err != nil {
		t.Fatal(err)
	}
	a := b.get(declined)
	if a.status != http.StatusSeeOther || !strings.Contains(b.get(a.location()).body, "still signed in") {
		t.Errorf("after declining: %d to %s", a.status, a.location())
	}
	if now := inst.liveSession(member); now != first {
		t.Errorf("after declining the session is %s, want %s", now, first)
	}
	if status, did, _ := b.me(); status != http.StatusOK || did != member.DID {
		t.Errorf("after declining: /api/me %d %s", status, did)
	}

	agreed, err := inst.network.SignIn(t.Context(), b.upgrade(ask()), member)
	if err != nil {
		t.Fatal(err)
	}
	if a := b.get(agreed); a.status != http.StatusSeeOther || a.location() != "/discover" {
		t.Fatalf("coming back: %d to %s, want the page that it began on\n%s", a.status, a.location(), a.body)
	}
	if a := b.post("/posts", form); a.status != http.StatusSeeOther {
		t.Fatalf("the post with the permission: %d\n%s", a.status, a.body)
	}
	if now := inst.liveSession(member); now == first {
		t.Error("the session is the one before")
	}
	// The row goes when the server has been told.
	eventually(t, "the revocation of the session before", func() bool {
		return inst.number(`SELECT count(*) FROM oauth_session WHERE id = $1`, first) == 0
	})
	if n := inst.number(`SELECT count(*) FROM audit WHERE session_id = $1 AND detail = 'upgraded'`, first); n != 1 {
		t.Errorf("%d audit rows for the end of the session before, want one", n)
	}
}

// TestMorePermissionsForEveryForm: whichever form lacks a permission comes back
// with what was typed, and is good once the member has agreed (S36).
func TestMorePermissionsForEveryForm(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, signInScope: "atproto"})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 0)
	page := pageOf(writeDirectly(t, inst.network, member, commons, "before I asked"))
	b := inst.browser()
	b.signIn(member)
	eventually(t, "the post", func() bool { return b.get(page).status == http.StatusOK })
	for _, f := range []struct{ on, action, field string }{
		{page, "/comments", "content"}, {page + "/edit", page + "/edit", "content"}, {"/account/profile", "/account/profile", "bio"},
	} {
		form := formOf(t, b.get(f.on), f.action, nil)
		form.Set(f.field, "Typed with care.")
		a := b.post(f.action, form)
		if a.status != http.StatusForbidden || !strings.Contains(a.body, "send the form again") {
			t.Fatalf("%s without the permission: %d\n%s", f.action, a.status, a.body)
		}
		waiting := formOf(t, a, f.action, nil)
		if got := waiting.Get(f.field); strings.TrimSpace(got) != "Typed with care." {
			t.Errorf("%s comes back with %q", f.action, got)
		}
		agreed, err := inst.network.SignIn(t.Context(), b.upgrade(formOf(t, a, "/oauth/upgrade", nil)), member)
		if err != nil {
			t.Fatal(err)
		}
		b.get(agreed)
		if a := b.post(f.action, waiting); a.status != http.StatusSeeOther {
			t.Errorf("%s with the permission: %d\n%s", f.action, a.status, a.body)
		}
	}
}

// upgrade sends the form that asks for more and returns the PDS's page.
func (b *browser) upgrade(form url.Values) string {
	b.t.Helper()
	a := b.post("/oauth/upgrade", form)
	if a.status != http.StatusSeeOther {
		b.t.Fatalf("asking for more: %d\n%s", a.status, a.body)
	}
	if err := b.inst.learnSecrets(); err != nil {
		b.t.Fatal(err)
	}
	return a.location()
}

// number is the first column of a query's only row.
func (i *instance) number(query string, args ...any) (n int) {
	i.t.Helper()
	db := i.database()
	defer db.Close()
	if err := db.Read().QueryRowContext(i.t.Context(), query, args...).Scan(&n); err != nil {
		i.t.Fatal(err)
	}
	return n
}

// liveSession is the id of an account's only live session.
func (i *instance) liveSession(a network.Account) (id string) {
	i.t.Helper()
	db := i.database()
	defer db.Close()
	if err := db.Read().QueryRowContext(i.t.Context(),
		`SELECT min(id) FROM oauth_session WHERE state = 'live' AND did = $1 HAVING count(*) = 1`, a.DID).Scan(&id); err != nil {
		i.t.Fatalf("the one live session of %s: %v", a.Handle, err)
	}
	return id
}

// TestMorePermissionsInARealBrowser: the form leads on to the member's server past
// the content policy, and back.
func TestMorePermissionsInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, signInScope: "atproto"})
	commons, member := community(t, inst.network), inst.network.NewAccount(t, 0)
	w := inst.chromium().window()
	w.signIn(member, "/discover")
	title := "more in a browser " + network.Name("x")
	fillPost(w, commons, title)
	w.press("Post")
	w.await("the question", button("Give this permission in a new tab"))
	w.want("Write posts in your repository", "Then come back here and send the form again.")
	(&reader{axe: axeSource(t), seen: map[string]bool{}}).judge(w, "a permission that is missing")
	// In this tab, because a window of the test has one.
	eval[struct{}](w, `(f => { f.removeAttribute("target"); f.removeAttribute("rel"); })(document.querySelector("form[action='/oauth/upgrade']"))`)
	w.press("Give this permission in a new tab")
	w.typePassword(member)
	w.press("Authorize")
	w.awaitPath("/discover")
	fillPost(w, commons, title)
	w.press("Post")
	if got := w.awaitPost(); !strings.Contains(got, title) {
		t.Errorf("the browser is led to %q, want the post", got)
	}
}
