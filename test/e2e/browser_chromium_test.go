package e2e

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	cdp "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/atoll-social/atoll/test/network"
)

// chromium is a real browser that meets the network and the instance under
// their https names, and nothing else.
type chromium struct {
	t    *testing.T
	inst *instance
	ctx  context.Context
}

func (i *instance) chromium() *chromium {
	i.t.Helper()
	front := i.network.Front(i.t)
	return i.browse(
		chromedp.Flag("host-resolver-rules", front.ResolverRules()),
		chromedp.Flag("ignore-certificate-errors-spki-list", front.KeyHash()),
	)
}

// browse starts the browser with options for how it finds the instance.
func (i *instance) browse(options ...chromedp.ExecAllocatorOption) *chromium {
	i.t.Helper()
	options = append(append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.UserDataDir(i.t.TempDir()),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	), options...)
	allocator, stop := chromedp.NewExecAllocator(i.t.Context(), options...)
	i.t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	i.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		i.t.Fatalf("start chromium: %v", err)
	}
	return &chromium{t: i.t, inst: i, ctx: ctx}
}

// window is a browser of its own inside chromium: it shares no cookie with
// the others.
type window struct {
	t    *testing.T
	inst *instance
	ctx  context.Context

	mu         sync.Mutex
	complaints []string // what the browser reported about our pages
}

func (c *chromium) window() *window {
	c.t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithNewBrowserContext())
	c.t.Cleanup(cancel)
	w := &window{t: c.t, inst: c.inst, ctx: ctx}
	w.do("open a window")
	if err := chromedp.Listen(ctx, w.listen); err != nil {
		c.t.Fatal(err)
	}
	w.size(1400, 900)
	c.t.Cleanup(w.judgeComplaints)
	return w
}

// listen keeps what the browser reports about pages of the instance: scripts
// and styles that the content policy refused, files that are missing. A page
// that is meant to be an error is no news.
func (w *window) listen(event any) {
	e, ok := event.(*log.EventEntryAdded)
	if !ok || !strings.HasPrefix(e.Entry.URL, w.inst.origin()) {
		return
	}
	if strings.Contains(e.Entry.Text, "responded with a status of") && !strings.HasPrefix(e.Entry.URL, w.inst.origin()+"/static/") {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.complaints = append(w.complaints, fmt.Sprintf("%s: %s", e.Entry.URL, e.Entry.Text))
}

func (w *window) judgeComplaints() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range w.complaints {
		w.t.Errorf("chromium reports about a page: %s", text)
	}
}

// patience bounds one step, and the wait for what takes a moment on a quiet
// machine. How long it does take is for bench to measure.
const patience = 2 * time.Minute

// do runs steps, within the patience for one.
func (w *window) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	if len(steps) == 0 {
		ctx = w.ctx // the first use: what ends it would close the window
	}
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		w.t.Fatalf("%s: %v\n%s", what, err, w.describe())
	}
}

// describe is where the window is, for messages.
func (w *window) describe() string {
	ctx, cancel := context.WithTimeout(w.ctx, 5*time.Second)
	defer cancel()
	address, _ := chromedp.Run(ctx, chromedp.Location())
	text, _ := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body.innerText.slice(0, 2000)`))
	return "at " + address + "\n" + text
}

// eval asks the page.
func eval[T any](w *window, expression string) T {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		w.t.Fatalf("evaluate %s: %v\n%s", expression, err, w.describe())
	}
	return v
}

// open goes to a page of the instance.
func (w *window) open(path string) {
	w.t.Helper()
	w.do("open "+path, chromedp.Navigate(w.inst.origin()+path))
}

// size sets the width and height of the page.
func (w *window) size(width, height int64) {
	w.t.Helper()
	w.do("resize", chromedp.EmulateViewport(width, height))
}

// await waits until the page that the window is on by then shows what is
// asked for. It also passes over pages that are still on their way.
func (w *window) await(what, condition string) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`document.readyState === "complete" && Boolean(`+condition+`)`))
		cancel()
		if err == nil && ok {
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("waiting for %s: not within %s (%v)\n%s", what, patience, err, w.describe())
		}
		w.do("wait", chromedp.Sleep(50*time.Millisecond))
	}
}

// awaitPath waits until the window is at a page of the instance.
func (w *window) awaitPath(path string) {
	w.t.Helper()
	w.await("the page "+path, fmt.Sprintf(`location.origin === %q && location.pathname === %q`, w.inst.origin(), path))
}

// button is the visible button or link with this text, as an expression.
func button(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("button, a")].find(b => b.innerText.trim().replace(/\s+/g, " ") === %q && b.offsetParent !== null && !b.disabled)`, text)
}

// press clicks it.
func (w *window) press(text string) {
	w.t.Helper()
	w.await("the button "+text, button(text))
	eval[chromedp.Void](w, button(text)+`.click()`)
}

// fill types into the field with this name, in place of what was there.
func (w *window) fill(name, text string) {
	w.t.Helper()
	field := fmt.Sprintf(`[name=%q]:not([type=hidden])`, name)
	w.do("find "+name, chromedp.WaitVisible(chromedp.CSS(field)))
	eval[struct{}](w, fmt.Sprintf(`(e => { e.focus(); e.select(); })(document.querySelector(%q))`, field))
	w.do("fill "+name, chromedp.KeyEvent(text))
}

// shows tells whether the page has this text, as a reader sees it.
func (w *window) shows(text string) bool {
	w.t.Helper()
	return strings.Contains(eval[string](w, `document.body.innerText`), text)
}

// want fails unless the page shows every text.
func (w *window) want(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if !w.shows(text) {
			w.t.Errorf("no %q on the page\n%s", text, w.describe())
		}
	}
}

// beginSignIn types who one is and goes on to the PDS's page.
func (w *window) beginSignIn(account network.Account, returnTo string) {
	w.t.Helper()
	w.open("/sign-in?" + url.Values{"return_to": {returnTo}}.Encode())
	w.fill("handle", account.Handle)
	w.press("Continue")
	w.typePassword(account)
}

// typePassword goes past the PDS's sign-in page.
func (w *window) typePassword(account network.Account) {
	w.t.Helper()
	w.await("the PDS's sign-in page", `document.querySelector("input[type=password]")`)
	password := chromedp.CSS(`input[type=password]`)
	w.do("type the password", chromedp.SendKeys(password, account.Password))
	w.await("a form that can be sent", `document.querySelector("button[type=submit]:not([disabled])")`)
	w.do("send the password", chromedp.Click(chromedp.CSS(`button[type=submit]`)))
}

// signIn brings an account through the PDS's own pages and back.
func (w *window) signIn(account network.Account, returnTo string) {
	w.t.Helper()
	w.beginSignIn(account, returnTo)
	w.press("Authorize")
	w.awaitPath(returnTo)
}

// cookies are those that the browser keeps for the instance.
func (w *window) cookies() []*cdp.Cookie {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	out, err := chromedp.Call(ctx, cdp.GetCookies, cdp.GetCookiesParams{URLs: []string{w.inst.origin() + "/"}})
	if err != nil {
		w.t.Fatalf("read cookies: %v", err)
	}
	return out.Cookies
}

// envScreenshots names a folder for pictures of the pages; empty means none.
const envScreenshots = "TEST_SCREENSHOTS"

// picture keeps what the page looks like, where somebody wants to see it.
func (w *window) picture(name string) {
	w.t.Helper()
	dir := os.Getenv(envScreenshots)
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err != nil {
		w.t.Fatalf("picture %s: %v", name, err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		w.t.Fatal(err)
	}
}
