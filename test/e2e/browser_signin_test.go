package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	cdp "github.com/chromedp/cdproto/network"

	"github.com/atoll-social/atoll/test/network"
)

// TestMemberInARealBrowser walks the whole path in chromium, with production
// headers, an account of each PDS on one device: sign in through the PDSes' own
// pages, post, add an account, switch, a form left open in another tab, sign out,
// and a cookie that was copied before (S13, S22, S23, S25).
func TestMemberInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	first, second := inst.network.NewAccount(t, 0), inst.network.NewAccount(t, 1)
	w := inst.chromium().window()
	w.open("/")
	w.want("Still water for communities", "Sign in")
	if n := len(w.cookies()); n != 0 {
		t.Errorf("a visitor has %d cookies, want none", n)
	}

	w.signIn(first, "/discover")
	w.want("@" + first.Handle)
	checkDeviceCookie(t, w.cookies())
	title := writeInBrowser(w, commons, first)

	w.signIn(second, "/account")
	w.want("@"+second.Handle, second.DID, inst.network.PDS[1].URL, "@"+first.Handle, "this device")
	w.press("Switch to @" + first.Handle)
	w.await("the first account in use", `document.querySelector(".me").innerText.includes("`+first.Handle+`")`)
	w.want(first.DID, inst.network.PDS[0].URL)

	thief := inst.browser()
	for _, c := range w.cookies() {
		thief.cookies[c.Name] = &http.Cookie{Name: c.Name, Value: c.Value}
	}
	postFromAStaleTab(w, thief, commons, first, second)
	w.open("/discover?sort=new")
	w.want(title)

	w.open("/account")
	w.press("Sign out here")
	w.awaitPath("/")
	w.want("@" + second.Handle) // the other account is still there
	if a := thief.get("/account"); a.status != http.StatusSeeOther || !strings.HasPrefix(a.location(), "/sign-in") {
		t.Errorf("a cookie copied before signing out: %d to %q, want the sign-in page", a.status, a.location())
	}
	w.open("/account")
	w.press("Sign out everywhere")
	w.await("the home page of a stranger", button("Look around first"))
	if n := len(w.cookies()); n != 0 {
		t.Errorf("%d cookies after everybody has signed out, want none", n)
	}
}

// checkDeviceCookie: one cookie, as S22 wants it.
func checkDeviceCookie(t *testing.T, cookies []*cdp.Cookie) {
	t.Helper()
	if len(cookies) != 1 {
		t.Fatalf("after signing in the browser keeps %d cookies, want one", len(cookies))
	}
	c := cookies[0]
	if c.Name != "__Host-atoll" || !c.HTTPOnly || !c.Secure || c.SameSite != cdp.CookieSameSiteLax || c.Path != "/" || c.Session {
		t.Errorf("device cookie %s: HttpOnly %v, Secure %v, SameSite %s, Path %s, of the session %v", c.Name, c.HTTPOnly, c.Secure, c.SameSite, c.Path, c.Session)
	}
}

// writeInBrowser posts by the form on Discover and returns the title.
func writeInBrowser(w *window, commons, member network.Account) (title string) {
	w.t.Helper()
	title = "lanterns on the jetty " + network.Name("x")
	w.open("/discover")
	fillPost(w, commons, title)
	w.press("Post")
	if got := w.awaitPost(); !strings.Contains(got, title) || !strings.Contains(got, "@"+member.Handle) {
		w.t.Errorf("the browser is led to %q, want the post %q by %s", got, title, member.Handle)
	}
	return title
}

// awaitPost waits until the window is at the page of a post, and returns what
// stands there.
func (w *window) awaitPost() (text string) {
	w.t.Helper()
	w.await("the page of the post", `/^\/p\/[^/]+\/[^/]+$/.test(location.pathname) && document.querySelector("article.whole")`)
	return eval[string](w, `document.querySelector("article.whole").innerText`)
}

func fillPost(w *window, commons network.Account, title string) {
	w.t.Helper()
	eval[struct{}](w, `document.querySelector("details.compose").open = true`)
	w.fill("community", commons.Handle)
	w.fill("title", title)
	w.fill("content", "They burned all night, and the moths had a meeting about it.")
}

// postFromAStaleTab sends a form that was opened as first after the device has
// switched to second elsewhere: nothing is done until the member says who.
func postFromAStaleTab(w *window, elsewhere *browser, commons, first, second network.Account) {
	w.t.Helper()
	title := "from a stale tab " + network.Name("x")
	w.open("/discover")
	fillPost(w, commons, title)
	form := formOf(w.t, elsewhere.get("/account"), "/account/switch", url.Values{"account": {second.DID}})
	if a := elsewhere.post("/account/switch", form); a.status != http.StatusSeeOther {
		w.t.Fatalf("switch in another tab: %d\n%s", a.status, a.body)
	}
	w.press("Post")
	w.await("the question who is meant", button("Post as @"+first.Handle))
	w.want("Nothing has been done yet", "Post as @"+second.Handle)
	w.press("Post as @" + first.Handle)
	if got := w.awaitPost(); !strings.Contains(got, title) || !strings.Contains(got, "@"+first.Handle) {
		w.t.Errorf("posted %q, want %q by %s", got, title, first.Handle)
	}
}

// TestDecliningInARealBrowser: back where the member was, with a neutral
// message, as nobody, on either PDS (S18).
func TestDecliningInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	c := inst.chromium()
	for pds := range inst.network.PDS {
		w := c.window()
		w.beginSignIn(inst.network.NewAccount(t, pds), "/discover")
		w.press("Deny access")
		w.awaitPath("/discover")
		w.want("You did not sign in, and nothing has changed", "Discover")
		if n := len(w.cookies()); n != 0 {
			t.Errorf("%d cookies after declining, want none", n)
		}
	}
}

// TestSignInMistakesInARealBrowser: the form comes back with what was typed,
// the message beside the field and the cursor in it.
func TestSignInMistakesInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	w := inst.chromium().window()
	for typed, message := range map[string]string{
		"nobody":                          "A handle has a dot in it",
		"nobody.pds1.atoll-tests.net":     "nobody.pds1.atoll-tests.net",
		"alice.local":                     ".local",
		"someone@example.com":             "e-mail",
		"https://nowhere.atoll-tests.net": "nowhere.atoll-tests.net",
	} {
		w.open("/sign-in")
		w.fill("handle", typed)
		w.press("Continue")
		w.awaitPath("/oauth/login")
		w.want(message)
		if got := eval[string](w, `document.querySelector("[name=handle]").value`); got != typed {
			t.Errorf("after %q the field holds %q", typed, got)
		}
		beside := eval[bool](w, `Boolean(document.querySelector("#handle-wrong"))`)
		if focused := eval[bool](w, `document.activeElement.name === "handle"`); beside && !focused {
			t.Errorf("after %q the field that is wrong has no focus", typed)
		}
	}
}
