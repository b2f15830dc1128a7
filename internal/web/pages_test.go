package web

import (
	"net/http"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
)

func TestHomeForStrangersAndMembers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	stranger := s.browser(t)
	stranger.get("/").is(200, "Still water for communities", `href="/sign-in"`).lacks("Your account")
	// S22: nobody gets a cookie who has not signed in.
	for _, path := range []string{"/", "/discover", "/posts/new", "/account", "/nowhere", "/robots.txt"} {
		if a := stranger.get(path); len(a.cookies) > 0 {
			t.Errorf("GET %s sets the cookie %v for a stranger", path, a.cookies)
		}
	}
	s.member(t, alice).get("/").is(200, `Your account: </span>@alice`, "@alice.one.test", `<span class="letter" aria-hidden="true">A</span>`)
}

func TestAddressesThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.member(t, alice)
	b.get("/nowhere").is(404, "Nothing at this position", "@alice.one.test")
	b.get("/static/none.css").is(404, "There is no page at this address.")
	a := b.get("/account/switch").is(405, "Not this way")
	if got := a.header.Get("Allow"); got != "POST" {
		t.Errorf("GET of a form's address: Allow %q, want POST", got)
	}
	b.post("/discover").is(405)
	b.get("/account/").is(404)
}

// Browsers hold forms to this site, but for the pages from which a form leads
// elsewhere. Every other test that sees a page checks it, too.
func TestFormsLeadNowhereElse(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.servers.start = func(login.Start) (login.Started, error) {
		return login.Started{}, fault.New(fault.Invalid, "This is not a handle.")
	}
	s.servers.callback = func(login.Callback) (login.Outcome, error) {
		return login.Outcome{}, fault.New(fault.Forbidden, "This was not started here.")
	}
	b := s.member(t, alice)
	for path, leads := range map[string]bool{
		"/": false, "/discover": false, "/posts/new": false, "/account": false, "/nowhere": false,
		"/sign-in": true, "/oauth/login?handle=x": true, "/oauth/callback?state=x": true,
	} {
		policy := b.get(path).header.Get("Content-Security-Policy")
		if got := !strings.Contains(policy, "form-action 'self'"); got != leads || !strings.Contains(policy, "default-src 'none'") {
			t.Errorf("GET %s: policy %q; want forms to lead elsewhere: %t", path, policy, leads)
		}
	}
}

func TestStaticFilesAreKeptByBrowsers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	b := s.browser(t)
	address := ok(s.assets.url("style.css"))(t)
	a := b.get(address).is(200, ":root")
	if got := a.header.Get("Cache-Control"); got != "public, max-age=31536000, immutable" {
		t.Errorf("versioned file: Cache-Control %q", got)
	}
	if got := a.header.Get("Content-Type"); got != "text/css; charset=utf-8" {
		t.Errorf("style sheet: Content-Type %q", got)
	}
	again := b.form("/static/style.css")
	again.Method = http.MethodGet
	again.Header.Set("If-None-Match", a.header.Get("ETag"))
	if a := b.send(again).is(http.StatusNotModified); a.header.Get("Cache-Control") != "no-cache" {
		t.Errorf("file without version: Cache-Control %q, want no-cache", a.header.Get("Cache-Control"))
	}
	b.get("/favicon.ico").is(200)
	b.get("/robots.txt").is(200, "Disallow: /account")
}
