package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/atoll-social/atoll/test/network"
)

// TestStoryByKeyboard lives in Atoll with Tab, Enter, Space, arrows and Escape
// alone. The focus always shows, goes down the page, and stays where somebody
// would look for it after a vote, a fold, a deletion and another page of posts.
func TestStoryByKeyboard(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	member, other := inst.network.NewAccount(t, 1), inst.network.NewAccount(t, 0)
	b := inst.browser()
	b.signIn(member)
	w := inst.chromium().window()
	w.adopt(b)
	w.theme("light") // and nothing glides: where the focus is now is where it stays
	place := w.foundsByKeys()
	w.slidesByKeys()
	post := w.postsByKeys(member)
	w.votesByKeys()
	w.conversesByKeys(post)

	commons := secluded(t, inst.network)
	titles, _ := writeMany(t, inst.network, other, commons, 30)
	list := awaitMany(t, inst, other, titles[29])
	w.pagesOnByKeys(list, titles)
	w.blocksByKeys(other)
	for _, path := range []string{"/", place, post, "/communities", "/account"} {
		w.size(360, 800) // one column: the order on the screen is that of the page
		w.open(path)
		w.downThePage(path)
	}
}

// pressOn brings the focus to the element of this name and presses a key there.
func (w *window) pressOn(name, key string) {
	w.t.Helper()
	w.tabTo(name)
	w.key(key)
}

func (w *window) foundsByKeys() (place string) {
	w.t.Helper()
	w.open("/")
	w.key(kb.Tab)
	if got := w.focused(); got != "Skip to content" {
		w.t.Errorf("the first thing to reach is %q", got)
	}
	w.pressOn("Communities", kb.Enter)
	w.awaitPath("/communities")
	w.pressOn("Create a community", kb.Enter)
	w.awaitPath("/communities/new")
	w.tabTo("name")
	w.key(network.Name("keys"))
	w.tabTo("description")
	w.key("No mouse comes here.")
	w.tabTo("visibility")
	w.key(kb.ArrowDown)
	if got := eval[string](w, `document.querySelector("[name=visibility]:checked").value`); got != "unlisted" {
		w.t.Errorf("the arrow chooses %q, want unlisted", got)
	}
	w.key(kb.ArrowUp)
	w.pressOn("Create", kb.Enter)
	w.await("the page of the community", `/^\/c\/keys/.test(location.pathname)`)
	return eval[string](w, `location.pathname`)
}

func (w *window) slidesByKeys() {
	w.t.Helper()
	w.pressOn("Subscribed: everything", kb.Enter)
	w.tabTo("level")
	w.key(kb.ArrowLeft)
	w.key(kb.ArrowLeft)
	w.await("the words for it", `document.querySelector("[data-words]").innerText.startsWith("Only the best")`)
	w.anew("the level that was chosen", `document.querySelector("input[type=range]")?.value === "1"`, func() { w.pressOn("Save", kb.Enter) })
}

func (w *window) postsByKeys(member network.Account) (path string) {
	w.t.Helper()
	title := "without a mouse " + network.Name("x")
	w.pressOn("Write a post here", kb.Enter)
	w.tabTo("title")
	w.key(title)
	w.tabTo("content")
	w.key("Only **keys**.")
	w.await("the preview", `document.querySelector("[data-look] strong")?.innerText === "keys"`)
	w.tabTo("pictures")
	w.choosesFile(kb.Enter)
	w.tabTo("alt")
	w.key("The sea")
	w.pressOn("Post", kb.Enter)
	if text := w.awaitPost(); !strings.Contains(text, title) || !strings.Contains(text, "@"+member.Handle) {
		w.t.Errorf("the browser is led to %q, want the post %q", text, title)
	}
	w.await("the picture", `document.querySelector(".pictures img")?.alt === "The sea"`)
	return eval[string](w, `location.pathname`)
}

// choosesFile presses a key on a field for files and answers the dialog that the
// system would show.
func (w *window) choosesFile(key string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "sea.png")
	if err := os.WriteFile(file, seaPicture(w.t), 0o600); err != nil {
		w.t.Fatal(err)
	}
	opened := make(chan *page.EventFileChooserOpened, 1)
	err := chromedp.Listen(w.ctx, func(event any) {
		if e, ok := event.(*page.EventFileChooserOpened); ok {
			opened <- e
		}
	})
	if err == nil {
		_, err = chromedp.Call(w.ctx, page.SetInterceptFileChooserDialog, page.SetInterceptFileChooserDialogParams{Enabled: true})
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.key(key)
	select {
	case e := <-opened:
		if _, err := chromedp.Call(w.ctx, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: []string{file}, BackendNodeID: e.BackendNodeID}); err != nil {
			w.t.Fatal(err)
		}
	case <-time.After(patience):
		w.t.Fatal("the key opens no dialog for files")
	}
}

func (w *window) votesByKeys() {
	w.t.Helper()
	still := w.marked()
	const up = `document.querySelector(".post.whole .vote[value=up]")`
	for _, want := range []string{"1", "0"} {
		if !eval[bool](w, `document.activeElement === `+up) {
			w.tabUntil("the vote", `document.activeElement === `+up)
		}
		w.key(" ")
		w.await("the score "+want, fmt.Sprintf(`%s && document.querySelector(".post.whole [data-score]").innerText === %q`, still, want))
		if !eval[bool](w, `document.activeElement === `+up) {
			w.t.Errorf("after the vote the focus is on %q", w.focused())
		}
	}
}

func (w *window) conversesByKeys(post string) {
	w.t.Helper()
	w.tabTo("content")
	w.key("Is anybody there?")
	w.anew("the answer", `document.querySelector(".comment.here")`, func() { w.pressOn("Say it", kb.Enter) })
	w.key(kb.Tab)
	if !eval[bool](w, `Boolean(document.activeElement.closest(".comment.here"))`) {
		w.t.Errorf("after the answer the focus goes on at %q, not in the answer", w.focused())
	}
	w.do("back", chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	w.foldsByKeys()
	w.answersByKeys()

	w.anew("the form", `document.querySelector("textarea[name=content]")?.value === "Perhaps."`, func() { w.pressWithin(".comment.here", "Edit", kb.Enter) })
	w.tabTo("content")
	w.key(" Or not.")
	w.anew("the changed comment", `document.querySelector(".comment.here .text")?.innerText.includes("Or not.")`, func() { w.pressOn("Save", kb.Enter) })
	w.anew("the question", `document.querySelector("h1").innerText === "Delete this comment?"`, func() { w.pressWithin(".comment.here", "Delete", kb.Enter) })
	w.anew("the thread", fmt.Sprintf(`location.pathname === %q`, post), func() { w.pressOn("Delete it", kb.Enter) })
	w.key(kb.Tab)
	if !eval[bool](w, `Boolean(document.activeElement.closest("#comments"))`) {
		w.t.Errorf("after a deletion the focus goes on at %q, not in the thread", w.focused())
	}
}

func (w *window) foldsByKeys() {
	w.t.Helper()
	const fold = `document.querySelector(".comment.here > details.fold")`
	w.tabUntil("the comment", `document.activeElement === `+fold+`.querySelector("summary")`)
	w.key(kb.Enter)
	w.await("a folded comment", `!`+fold+`.open && document.activeElement.parentElement === `+fold)
	w.key(kb.Tab)
	if eval[bool](w, fold+`.contains(document.activeElement)`) {
		w.t.Errorf("Tab goes into a folded comment, to %q", w.focused())
	}
	w.do("back", chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(chromedp.ModifierShift)))
	w.key(" ")
	w.await("an unfolded comment", fold+`.open`)
}

// answersByKeys begins an answer, puts it aside and goes on with it.
func (w *window) answersByKeys() {
	w.t.Helper()
	w.pressOn("Reply", kb.Enter)
	w.tabTo("content")
	w.key("Perhaps.")
	w.key(kb.Escape)
	w.await("the answer put aside", `!document.querySelector("details.reply[open]") && document.activeElement.innerText === "Reply"`)
	w.key(kb.Enter)
	w.tabTo("content")
	if got := eval[string](w, `document.activeElement.value`); got != "Perhaps." {
		w.t.Errorf("the answer that was put aside is %q", got)
	}
	w.anew("the answer to it", `document.querySelector(".comment.here .text")?.innerText === "Perhaps."`, func() { w.pressOn("Say it", kb.Enter) })
}

// pressWithin is pressOn for the element of this name within another.
func (w *window) pressWithin(within, name, key string) {
	w.t.Helper()
	w.tabUntil(name+" in "+within, fmt.Sprintf(`document.activeElement.innerText === %q && Boolean(document.activeElement.closest(%q))`, name, within))
	w.key(key)
}

func (w *window) pagesOnByKeys(list string, titles []string) {
	w.t.Helper()
	w.open(list)
	still := w.marked()
	w.tabUntil("More posts", `document.activeElement.innerText === "More posts"`)
	w.key(kb.Enter)
	const all = `[...document.querySelectorAll("[data-list] > li")]`
	w.await("the next page", still+` && `+all+`.length === 30`)
	if got, want := w.focused(), titles[len(titles)-26]; got != want {
		w.t.Errorf("after the next page has come the focus is on %q, want its first post, %q", got, want)
	}
	if !eval[bool](w, `document.querySelector(".older").innerText === "That is everything."`) {
		w.t.Errorf("the end is not said\n%s", w.describe())
	}
}

func (w *window) blocksByKeys(whom network.Account) {
	w.t.Helper()
	w.open("/u/" + whom.Handle)
	w.anew("the block", `document.body.innerText.includes("You block this member")`, func() { w.pressOn("block", kb.Enter) })
	w.open("/account/blocks")
	w.anew("the end of the block", `document.body.innerText.includes("Nobody and nothing")`, func() { w.pressOn("block", kb.Enter) })
}

// downThePage goes through a page with Tab: every stop lies below the one before,
// or to the right of it, and shows.
func (w *window) downThePage(what string) {
	w.t.Helper()
	const at = `(e => { const r = e.getBoundingClientRect(); return [r.left + scrollX, r.top + scrollY, r.bottom + scrollY]; })(document.activeElement)`
	var before []float64
	last := ""
	for range 200 {
		w.key(kb.Tab)
		if eval[bool](w, `document.activeElement === document.body`) {
			return
		}
		name, is := w.focused(), eval[[]float64](w, at)
		if name == "Skip to content" {
			before = nil // it is above the page, and the way round again
			if last != "" {
				return
			}
			continue
		}
		if before != nil && is[2] <= before[1] && is[0] <= before[0] {
			w.t.Errorf("%s: from %q Tab goes up to %q", what, last, name)
		}
		before, last = is, name
	}
}
