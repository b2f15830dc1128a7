package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	cdp "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/atoll-social/atoll/test/network"
)

// adopt makes the window the same browser as b.
func (w *window) adopt(b *browser) {
	w.t.Helper()
	for _, c := range b.cookies {
		_, err := chromedp.Call(w.ctx, cdp.SetCookie, cdp.SetCookieParams{
			Name: c.Name, Value: c.Value, URL: w.inst.origin() + "/", Path: "/", Secure: new(true), HTTPOnly: new(true), SameSite: cdp.CookieSameSiteLax,
		})
		if err != nil {
			w.t.Fatalf("set cookie: %v", err)
		}
	}
}

// theme is "light" or "dark".
func (w *window) theme(name string) {
	w.t.Helper()
	_, err := chromedp.Call(w.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		w.t.Fatalf("theme %s: %v", name, err)
	}
}

// wide lists what reaches beyond the right edge of the page, or has no room in it.
const wide = `(() => {
	const edge = document.documentElement.clientWidth, out = [];
	if (document.documentElement.scrollWidth > edge) out.push("the page: " + document.documentElement.scrollWidth + " of " + edge);
	for (const e of document.body.querySelectorAll("*")) {
		const r = e.getBoundingClientRect();
		if (r.right > edge + 1 && r.width > 0 && !e.closest(".unseen, .skip, pre")) out.push(e.tagName + "." + e.className + ": " + r.right);
		if (e.matches(".button") && r.height > 60 && r.height > r.width) out.push("a button of one letter a line: " + e.innerText);
	}
	return out.join("\n");
})()`

// pale lists texts whose contrast is below WCAG AA: 4.5, or 3 for large ones.
const pale = `(() => {
	const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return {rgb: m.slice(0, 3), a: m.length > 3 ? m[3] : 1}; };
	const light = rgb => { const [r, g, b] = rgb.map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
	const ground = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor); if (c.a === 1) return c.rgb; } return [255, 255, 255]; };
	const out = [], walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement, s = getComputedStyle(e);
		if (!walk.currentNode.data.trim() || e.closest(".unseen, .skip, datalist") || e.offsetParent === null || s.visibility === "hidden") continue;
		const a = light(parse(s.color).rgb), b = light(ground(e)), contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		const large = parseFloat(s.fontSize) >= 24 || parseFloat(s.fontSize) >= 18.66 && Number(s.fontWeight) >= 700;
		if (contrast < (large ? 3 : 4.5)) out.push(walk.currentNode.data.trim().slice(0, 40) + ": " + contrast.toFixed(2));
	}
	return out.join("\n");
})()`

// TestPagesFitEveryScreen looks at every page, as a stranger and as a member,
// at two widths, light and dark, with texts that are hard to lay out.
func TestPagesFitEveryScreen(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 0)
	writeDirectly(t, inst.network, member, commons, strings.Repeat("unbroken", 35))
	last := "سؤال عن القارب and then some"
	writeDirectly(t, inst.network, member, commons, last)
	b := inst.browser()
	eventually(t, "the posts", func() bool { return strings.Contains(b.get("/discover?sort=new").body, last) })
	b.signIn(member)
	c := inst.chromium()
	stranger, signedIn := c.window(), c.window()
	signedIn.adopt(b)
	for name, w := range map[string]*window{"stranger": stranger, "member": signedIn} {
		for _, path := range []string{"/", "/discover", "/posts/new", "/sign-in", "/account", "/nowhere", "/discover?cursor=x", "/discover?notice=declined"} {
			for _, width := range []int64{360, 1400} {
				for _, theme := range []string{"light", "dark"} {
					w.size(width, 800)
					w.theme(theme)
					w.open(path)
					look(w, fmt.Sprintf("%s of a %s, %d wide, %s", path, name, width, theme))
					w.picture(strings.NewReplacer("/", "_", "?", "_", "=", "_").Replace(name + path + fmt.Sprintf("-%d-%s", width, theme)))
				}
			}
		}
	}
}

// look judges the page that the window is on.
func look(w *window, what string) {
	w.t.Helper()
	eval[struct{}](w, `document.querySelectorAll("details").forEach(d => d.open = true)`)
	if got := eval[string](w, wide); got != "" {
		w.t.Errorf("%s: too wide\n%s", what, got)
	}
	if got := eval[string](w, pale); got != "" {
		w.t.Errorf("%s: too little contrast\n%s", what, got)
	}
}

// TestPagesByKeyboard: the order is that of the page, the focus shows, the skip
// link skips, and signing in and posting take no mouse.
func TestPagesByKeyboard(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	member := inst.network.NewAccount(t, 0)
	w := inst.chromium().window()
	w.theme("light") // and nothing glides
	w.open("/")
	var order []string
	for range 5 {
		w.key(kb.Tab)
		order = append(order, w.focused())
	}
	if got, want := strings.Join(order, " | "), "Skip to content | Atoll | Discover | Communities | Sign in"; got != want {
		t.Errorf("tab order %q, want %q", got, want)
	}
	w.open("/discover")
	w.key(kb.Tab)
	w.key(kb.Enter)
	w.key(kb.Tab)
	if got := w.focused(); got != "Sign in to write" {
		t.Errorf("after the skip link comes %q, want the content", got)
	}
	w.open("/sign-in")
	w.tabTo("handle")
	w.key(member.Handle)
	w.key(kb.Enter)
	w.await("the PDS's page", `document.querySelector("input[type=password]")`)

	b := inst.browser()
	b.signIn(member)
	w.adopt(b)
	w.open("/discover")
	w.tabTo("Write a post")
	w.key(kb.Enter)
	title := "by keyboard " + network.Name("x")
	for _, field := range [][2]string{{"community", commons.Handle}, {"title", title}, {"content", "No mouse was there."}} {
		w.tabTo(field[0])
		w.key(field[1])
	}
	w.tabTo("Post")
	w.key(kb.Enter)
	if got := w.awaitPost(); !strings.Contains(got, title) {
		t.Errorf("the browser is led to %q, want the post %q", got, title)
	}
}

// key types keys wherever the focus is.
func (w *window) key(keys string) {
	w.t.Helper()
	w.do("press a key", chromedp.KeyEvent(keys))
}

// hidesFocus says why nobody sees which element has the focus; empty: they do.
const hidesFocus = `(e => {
	if (e === document.body) return "";
	const s = getComputedStyle(e), r = e.getBoundingClientRect();
	if (s.outlineStyle === "none" || parseFloat(s.outlineWidth) < 2) return "it has no outline";
	if (r.width < 2 || r.height < 2) return "it has no size";
	if (r.bottom <= 0 || r.top >= innerHeight || r.right <= 0 || r.left >= innerWidth) return "it is out of sight";
	return "";
})(document.activeElement)`

// focused names the element that has the focus, which must show.
func (w *window) focused() string {
	w.t.Helper()
	name := eval[string](w, `(e => e.name || e.innerText.trim())(document.activeElement)`)
	if why := eval[string](w, hidesFocus); why != "" {
		w.t.Errorf("the focus on %q does not show: %s", name, why)
	}
	return name
}

// tabTo presses Tab until the element of this name has the focus.
func (w *window) tabTo(name string) {
	w.t.Helper()
	w.tabUntil(fmt.Sprintf("%q", name), fmt.Sprintf(`(e => (e.name || e.innerText.trim()) === %q)(document.activeElement)`, name))
}

// tabUntil presses Tab until the focus is where condition wants it.
func (w *window) tabUntil(what, condition string) {
	w.t.Helper()
	for range 300 {
		w.key(kb.Tab)
		w.focused()
		if eval[bool](w, condition) {
			return
		}
	}
	w.t.Fatalf("Tab does not reach %s\n%s", what, w.describe())
}
