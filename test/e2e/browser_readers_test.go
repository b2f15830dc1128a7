package e2e

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEveryPageForEveryReader looks at every page that a stranger, a newcomer
// and a member can come to, those of mistakes and troubles among them, at two
// widths and in two themes, and has axe-core judge it.
func TestEveryPageForEveryReader(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	h := inst.furnish()
	r := &reader{axe: axeSource(t), seen: map[string]bool{}}
	c := inst.chromium()
	member, stranger, newcomer := c.window(), c.window(), c.window()
	member.adopt(h.browser)
	newcomer.adopt(h.newcomer)

	for _, path := range h.pagesOfMembers() {
		r.open(member, "member", path)
	}
	for _, path := range []string{"/", "/discover", h.place, h.thread, h.warned, "/u/" + h.author.Handle, "/communities", "/sign-in", "/posts/new", "/communities/new", "/account"} {
		r.open(stranger, "stranger", path)
	}
	for _, path := range []string{"/", "/u/" + h.author.Handle + "x", "/account/blocks"} {
		r.open(newcomer, "newcomer", path)
	}
	r.mistakes(member, h)
	r.mistakenSignIns(stranger)
	r.troubles(member, h)
}

// reader looks at pages.
type reader struct {
	axe  string
	seen map[string]bool // what has been judged already
}

// open goes to a page and judges it.
func (r *reader) open(w *window, who, path string) {
	w.t.Helper()
	w.open(path)
	r.judge(w, who+" at "+path)
}

// judge looks at the page that the window is on, as people with a phone and with
// a large screen, by day and by night, and with axe-core.
func (r *reader) judge(w *window, what string) {
	w.t.Helper()
	if r.seen[what] {
		w.t.Errorf("%s: judged twice", what)
	}
	r.seen[what] = true
	if got := eval[string](w, framed); got != "" {
		w.t.Errorf("%s: %s", what, got)
	}
	for _, width := range []int64{360, 1280} {
		for _, theme := range []string{"light", "dark"} {
			w.size(width, 800)
			w.theme(theme)
			w.picture(fmt.Sprintf("%03d-%s-%d-%s", len(r.seen), fileName(what), width, theme))
			look(w, fmt.Sprintf("%s, %d wide, %s", what, width, theme))
			if (width == 360) == (theme == "light") {
				w.unhindered(r.axe, fmt.Sprintf("%s, %d wide, %s", what, width, theme))
			}
		}
	}
}

// framed says what every page has to have and this one lacks: a language, a
// title of its own, one heading of the first order, exact times, and names of
// pictures.
const framed = `(() => {
	if (document.documentElement.lang !== "en") return "it has no language";
	if (!/Atoll$/.test(document.title)) return "its title is " + document.title;
	if (document.querySelectorAll("h1").length !== 1) return "it has " + document.querySelectorAll("h1").length + " headings of the first order";
	for (const e of document.querySelectorAll("time")) if (!e.dateTime || !e.title) return "a time without the exact one: " + e.innerText;
	for (const e of document.querySelectorAll("img")) if (!e.hasAttribute("alt")) return "a picture without a text: " + e.src;
	return "";
})()`

func fileName(what string) string {
	what = strings.Map(func(c rune) rune {
		if strings.ContainsRune("/?:=& ", c) {
			return '_'
		}
		return c
	}, what)
	return what[:min(len(what), 60)]
}

// unhindered has axe-core judge the page.
func (w *window) unhindered(axe, what string) {
	w.t.Helper()
	if !eval[bool](w, `typeof window.axe === "object"`) {
		eval[struct{}](w, axe+`; undefined`)
	}
	eval[struct{}](w, `window.found = undefined; axe.run(document).then(r => {
		window.found = r.passes.length === 0 ? "nothing to look at" : r.violations.map(v => v.id + ": " + v.help + "\n" + v.nodes.slice(0, 5).map(n => "  " + n.html).join("\n")).join("\n");
	}); undefined`)
	w.await("axe-core", `typeof window.found === "string"`)
	if found := eval[string](w, `window.found`); found != "" {
		w.t.Errorf("%s: axe-core finds\n%s", what, found)
	}
}

// axeSource installs axe-core, which finds what gets in the way of people who
// cannot see, hear or use a mouse.
func axeSource(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("axe")); err != nil {
		t.Fatal(err)
	}
	install := exec.Command("npm", "ci")
	install.Dir = dir
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	source, err := os.ReadFile(filepath.Join(dir, "node_modules/axe-core/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(source)
}

// mistakes sends forms that come back with what is wrong.
func (r *reader) mistakes(w *window, h *house) {
	w.t.Helper()
	w.open("/posts/new?community=" + h.commons.Handle)
	w.fill("title", strings.Repeat("far too long ", 30))
	w.fill("content", "Kept text.")
	w.anew("the form again", `document.querySelector("#title-wrong")`, func() { w.press("Post") })
	r.judge(w, "a post with a mistake")
	w.fill("title", "A look before")
	w.anew("the preview", `document.querySelector("[data-look] .post-title")`, func() { w.press("Preview") })
	r.judge(w, "a preview")

	w.open(h.thread)
	w.fill("content", " ")
	w.anew("the form again", `document.body.innerText.includes("Not said yet.")`, func() { w.press("Say it") })
	r.judge(w, "an answer with a mistake")
	w.open("/account/profile")
	w.fill("bio", strings.Repeat("a whole life ", 30))
	w.anew("the form again", `document.querySelector("#bio-wrong")`, func() { w.press("Save") })
	r.judge(w, "a profile with a mistake")
	w.open("/communities/new")
	w.fill("name", "Not A Name")
	w.anew("the form again", `document.querySelector("#name-wrong")`, func() { w.press("Create") })
	r.judge(w, "a community with a mistake")
	w.open(h.mine + "/edit")
	w.fill("title", strings.Repeat("far too long ", 30))
	w.anew("the form again", `document.body.innerText.includes("Nothing has changed.")`, func() { w.press("Save") })
	r.judge(w, "a changed post with a mistake")
	w.open("/account/delegation")
	w.fill("password", "no such password")
	w.anew("the form again", `document.querySelector("#password-wrong, .trouble")`, func() { w.press("Give this password") })
	r.judge(w, "an app password with a mistake")
}

// mistakenSignIns are those that end where they began.
func (r *reader) mistakenSignIns(w *window) {
	w.t.Helper()
	for _, typed := range []string{"nobody", "nobody.pds1.atoll-tests.net", "https://nowhere.atoll-tests.net"} {
		w.open("/sign-in")
		w.fill("handle", typed)
		w.press("Continue")
		w.awaitPath("/oauth/login")
		r.judge(w, "signing in as "+typed)
	}
	w.open("/oauth/callback?state=made-up&code=x")
	r.judge(w, "a made-up way back")
}

// troubles are not the member's fault: another account is active, their server
// is down, something here is broken, too many requests come.
func (r *reader) troubles(w *window, h *house) {
	w.t.Helper()
	w.open("/posts/new?community=" + h.commons.Handle)
	w.fill("title", "Sent as somebody else")
	h.browser.signIn(h.other) // the device has switched
	w.adopt(h.browser)
	w.anew("the question who is meant", `document.body.innerText.includes("Who is doing this?")`, func() { w.press("Post") })
	r.judge(w, "the question which account is meant")
	w.anew("the post", `document.querySelector("article.whole")`, func() { w.press("Post as @" + h.member.Handle) })
	r.open(w, "somebody with two accounts", "/account")

	w.inst.exec(`ALTER TABLE actor_profile RENAME TO actor_profile_away`)
	w.open("/u/" + h.author.Handle)
	w.inst.exec(`ALTER TABLE actor_profile_away RENAME TO actor_profile`)
	w.want("Status 500")
	r.judge(w, "something broken here")

	away, err := url.Parse(w.inst.network.PDS[1].URL)
	if err != nil {
		w.t.Fatal(err)
	}
	w.inst.hosts[away.Host] = freeAddr(w.t)
	w.inst.shape.env = map[string]string{"ATOLL_LIMITS_REQUESTS_PER_MINUTE": "60"}
	w.inst.restart()
	w.open("/posts/new?community=" + h.commons.Handle)
	w.fill("title", "While my server is away")
	w.anew("the form again", `document.body.innerText.includes("Not posted yet.")`, func() { w.press("Post") })
	w.want("Your server does not answer")
	r.judge(w, "a server that is away")
	r.open(w, "somebody whose server is away", "/account/delegation")
	for !w.shows("Status 429") {
		w.open("/nowhere")
	}
	r.judge(w, "too many requests")
}
