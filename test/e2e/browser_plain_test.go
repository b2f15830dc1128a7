package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/size"
)

// TestStoryWithoutScripts walks the whole story in a browser that runs no
// script on any page of Atoll, with a real mouse: what the script does is done
// by forms and links, too.
func TestStoryWithoutScripts(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	c := inst.chromium()
	for pds := range size.Size(1, len(inst.network.PDS)) {
		member, other := inst.network.NewAccount(t, pds), inst.network.NewAccount(t, 1-pds)
		commons := secluded(t, inst.network)
		place := "/c/" + commons.Handle
		title := "what the tide left " + network.Name("x")
		admit(t, inst.network, commons, writeDirectly(t, inst.network, other, commons, title))
		eventually(t, "a post of somebody else", func() bool { return strings.Contains(inst.browser().get(place+"?sort=new").body, title) })

		w := c.window()
		w.signInPlainly(member)
		w.founds()
		w.subscribesPlainly(place)
		w.postsPlainly(place, member)
		w.open(place + "?sort=new")
		w.votesPlainly(title)
		w.hit(button(title))
		w.await("the post", `document.querySelector("article.whole")`)
		w.conversesPlainly(eval[string](w, `location.pathname`))
		w.blocksPlainly(other, place, title)
		w.pagesOnPlainly(inst, other, commons)
		w.open("/account")
		w.hit(button("Sign out here"))
		w.await("the home page of a stranger", button("Look around first"))
	}
}

// scripts switches the scripts of the pages that are opened from now on.
func (w *window) scripts(on bool) {
	w.t.Helper()
	if _, err := chromedp.Call(w.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}); err != nil {
		w.t.Fatalf("switch scripts: %v", err)
	}
}

// hit clicks with the mouse on what expression finds, where a person would see
// it.
func (w *window) hit(expression string) {
	w.t.Helper()
	w.await("something to click", expression)
	at := eval[[]float64](w, `(e => {
		e.scrollIntoView({block: "center", behavior: "instant"});
		const r = e.getClientRects()[0], x = r.left + r.width / 2, y = r.top + r.height / 2, there = document.elementFromPoint(x, y);
		return e.contains(there) ? [x, y] : [];
	})(`+expression+`)`)
	if len(at) != 2 {
		w.t.Fatalf("%s cannot be clicked: something lies above it\n%s", expression, w.describe())
	}
	w.do("click", chromedp.MouseClickXY(at[0], at[1]))
}

// anew does something that loads a page, and waits until another page shows
// what is asked for.
func (w *window) anew(what, condition string, do func()) {
	w.t.Helper()
	still := w.marked()
	do()
	w.await(what, `!(`+still+`) && `+condition)
}

// signInPlainly begins and ends without scripts. In between are the pages of
// the PDS, which do not work without.
func (w *window) signInPlainly(account network.Account) {
	w.t.Helper()
	w.scripts(false)
	w.open("/sign-in")
	w.fill("handle", account.Handle)
	w.scripts(true) // of the page that comes
	w.hit(button("Continue"))
	w.typePassword(account)
	w.press("Authorize")
	w.await("being back", fmt.Sprintf(`location.origin === %q`, w.inst.origin()))
	w.scripts(false)
	w.open("/")
	w.want("@"+account.Handle, "Where to begin")
}

func (w *window) subscribesPlainly(place string) {
	w.t.Helper()
	w.open(place)
	w.anew("the slider", `document.querySelector("input[type=range]")`, func() { w.hit(button("Subscribe")) })
	w.hit(`document.querySelector("details.level > summary")`)
	w.hit(`[...document.querySelectorAll("summary")].find(e => e.innerText === "What the five levels do")`)
	w.await("what each level does", `document.querySelector(".levels").innerText.includes("even what was voted down")`)
	eval[struct{}](w, `document.querySelector("input[type=range]").focus()`)
	w.do("move the slider", chromedp.KeyEvent(kb.ArrowRight+kb.ArrowRight))
	w.anew("the level that was chosen", `document.querySelector("input[type=range]")?.value === "5"`, func() { w.hit(button("Save")) })
	w.want("Subscribed: even what was voted down")
	w.open("/")
	w.want("Your communities")
}

// postsPlainly looks at a preview first, which is a page of its own, and has to
// choose the picture after that.
func (w *window) postsPlainly(place string, member network.Account) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "jetty.png")
	if err := os.WriteFile(file, seaPicture(w.t), 0o600); err != nil {
		w.t.Fatal(err)
	}
	title := "without a script " + network.Name("x")
	w.open(place)
	w.hit(`document.querySelector("details.compose > summary")`)
	w.fill("title", title)
	w.fill("content", "The water was **warm**.")
	w.fill("alt", "A jetty at dusk")
	w.do("choose a picture", chromedp.SetUploadFiles(chromedp.CSS(`input[name=pictures]`), []string{file}))
	w.anew("the preview", `document.querySelector("[data-look] strong")?.innerText === "warm"`, func() { w.hit(button("Preview")) })
	w.want("Choose this again")
	w.do("choose the picture again", chromedp.SetUploadFiles(chromedp.CSS(`input[name=pictures]`), []string{file}))
	w.hit(button("Post"))
	if text := w.awaitPost(); !strings.Contains(text, title) || !strings.Contains(text, "@"+member.Handle) {
		w.t.Errorf("the browser is led to %q, want the post %q", text, title)
	}
	w.await("the picture", `(i => i && i.complete && i.naturalWidth > 0 && i.alt === "A jetty at dusk")(document.querySelector(".pictures img"))`)
	page := eval[string](w, `location.pathname`)
	w.anew("the form for changing it", `document.querySelector("textarea[name=content]")`, func() { w.hit(button("Edit")) })
	w.fill("title", title+", changed")
	w.anew("the changed post", `document.querySelector("article.whole")`, func() { w.hit(button("Save")) })
	w.want(title+", changed", "edited")
	w.anew("the question", `document.querySelector("h1").innerText === "Delete this post?"`, func() { w.hit(button("Delete")) })
	w.anew("the member's page", `document.querySelector(".community-head")`, func() { w.hit(button("Delete it")) })
	if w.shows(title) {
		w.t.Errorf("a deleted post is on its author's page\n%s", w.describe())
	}
	w.open(page)
	w.want("Status 404")
}

// votesPlainly votes on a list: each vote loads it anew, at the same post.
func (w *window) votesPlainly(title string) {
	w.t.Helper()
	post := fmt.Sprintf(`[...document.querySelectorAll(".posts > li")].find(e => e.innerText.includes(%q))`, title)
	up := post + `?.querySelector(".vote[value=up]")`
	for _, want := range []string{"1", "0", "1"} {
		shows := fmt.Sprintf(`%s?.querySelector("[data-score]").innerText === %q && (%s.ariaPressed === "true") === %t`, post, want, up, want == "1")
		w.anew("the score "+want, shows, func() { w.hit(up) })
		if !eval[bool](w, `location.hash === "#" + `+post+`.id && (r => r.top < innerHeight && r.bottom > 0)(`+post+`.getBoundingClientRect())`) {
			w.t.Errorf("after the vote the post is out of sight\n%s", w.describe())
		}
		w.do("go on with the keyboard", chromedp.KeyEvent(kb.Tab))
		if !eval[bool](w, post+`.contains(document.activeElement)`) {
			w.t.Errorf("after the vote Tab goes to %q, not on in the post", w.focused())
		}
	}
}

// conversesPlainly answers, answers the answer, changes, folds and deletes.
func (w *window) conversesPlainly(page string) {
	w.t.Helper()
	w.fill("content", "Was it cold?")
	w.anew("the answer", `document.body.innerText.includes("Was it cold?")`, func() { w.hit(button("Say it")) })
	first := eval[string](w, `location.pathname`)
	w.hit(`[...document.querySelectorAll("details.reply > summary")].find(e => e.offsetParent)`)
	eval[struct{}](w, `document.querySelector("details.reply[open] textarea").focus()`)
	w.do("answer the answer", chromedp.KeyEvent("I mean the water."))
	w.anew("the answer to it", `document.body.innerText.includes("I mean the water.")`, func() {
		w.hit(`document.querySelector("details.reply[open] button[type=submit]")`)
	})
	w.open(page)
	if !eval[bool](w, `document.querySelector(".comment .comment").innerText.includes("I mean the water.")`) {
		w.t.Errorf("the answer is not below what it answers\n%s", w.describe())
	}
	comment := `document.querySelector(".comments.top > .comment > details.fold")`
	w.hit(comment + `.querySelector("summary")`)
	w.await("a folded comment", `!`+comment+`.open && !document.querySelector(".comment-body").checkVisibility()`)
	w.hit(comment + `.querySelector("summary")`)
	w.await("an unfolded comment", comment+`.open`)

	w.open(first)
	w.hit(`document.querySelector(".comment.here .vote[value=down]")`)
	w.await("the vote", `document.querySelector(".comment.here .vote[value=down]")?.ariaPressed === "true"`)
	w.anew("the form", `document.querySelector("textarea[name=content]")?.value === "Was it cold?"`, func() { w.hit(button("Edit")) })
	w.fill("content", "Was it *really* cold?")
	w.anew("the changed comment", `document.querySelector(".comment em")?.innerText === "really"`, func() { w.hit(button("Save")) })
	w.anew("the question", `document.querySelector("h1").innerText === "Delete this comment?"`, func() { w.hit(button("Delete")) })
	w.anew("the thread", `document.querySelector("article.whole")`, func() { w.hit(button("Delete it")) })
	w.want("A comment that was deleted.", "I mean the water.")
}

func (w *window) blocksPlainly(whom network.Account, place, title string) {
	w.t.Helper()
	w.open("/u/" + whom.Handle)
	w.want(title)
	w.anew("the block", `document.body.innerText.includes("You block this member")`, func() { w.hit(button("Block")) })
	w.open(place + "?sort=new")
	if w.shows(title) {
		w.t.Errorf("a post of somebody blocked is shown\n%s", w.describe())
	}
	w.open("/account/blocks")
	w.anew("the end of the block", `document.body.innerText.includes("Nobody and nothing")`, func() { w.hit(button("Unblock")) })
	w.open(place + "?sort=new")
	w.want(title)
}

// pagesOnPlainly follows the link to the next page: each post is on one of both.
func (w *window) pagesOnPlainly(inst *instance, author, commons network.Account) {
	w.t.Helper()
	want, _ := writeMany(w.t, inst.network, author, commons, 30)
	list := awaitMany(w.t, inst, author, want[len(want)-1])
	w.open(list)
	const titles = `[...document.querySelectorAll(".post-title")].map(e => e.innerText)`
	got := eval[[]string](w, titles)
	w.anew("the next page", `location.search.includes("cursor=")`, func() { w.hit(button("More posts")) })
	got = append(got, eval[[]string](w, titles)...)
	for _, title := range want {
		if n := len(got) - len(slices.DeleteFunc(slices.Clone(got), func(s string) bool { return s == title })); n != 1 {
			w.t.Errorf("the post %q is there %d times, want once", title, n)
		}
	}
}
