package e2e

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/atoll-social/atoll/test/network"
)

// TestStoryInARealBrowser lives in Atoll as two members do, one on each PDS: a
// community is founded, followed a little or a lot, written to with a picture,
// answered, voted on, edited, deleted, blocked and paged through.
func TestStoryInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	c := inst.chromium()
	members := []network.Account{inst.network.NewAccount(t, 0), inst.network.NewAccount(t, 1)}
	windows := []*window{c.window(), c.window()}
	for i, w := range windows {
		w.signIn(members[i], "/")
		w.want("Where to begin", "All communities")
	}
	place := windows[0].founds()
	titles, pages := make([]string, len(windows)), make([]string, len(windows))
	for i, w := range windows {
		w.subscribes(place)
		titles[i], pages[i] = w.postsWithPicture(place, members[i])
	}
	var comment string
	for i, w := range windows {
		other := 1 - i
		w.open(pages[other])
		w.want(titles[other])
		w.votes()
		comment = w.converses(pages[other])
		w.blocks(members[other], titles[other])
	}
	windows[0].pagesOn(inst, members[0], place)
	windows[0].open("/")
	windows[0].want(titles[1], "Your communities")
	review := windows[0].reviews(windows[1], place)
	r := &reader{axe: axeSource(t), seen: map[string]bool{}}
	r.open(windows[0], "founder", review)
	r.open(windows[0], "founder", place)
	r.open(windows[1], "member", pages[0])
	r.open(windows[1], "member", comment)
}

// founds creates a community and returns its page.
func (w *window) founds() (page string) {
	w.t.Helper()
	w.open("/communities")
	w.press("Create a community")
	w.awaitPath("/communities/new")
	w.fill("name", network.Name("cove"))
	w.fill("display_name", "The Cove")
	w.fill("description", "A **sheltered** place, for what the sea brings.")
	eval[struct{}](w, `document.querySelector("input[name=follow]").checked = false`) // both subscribe later, by the button
	w.press("Create")
	w.await("the page of the community", `/^\/c\/cove/.test(location.pathname)`)
	w.want("The Cove", "A sheltered place", "Everybody may post here.", "Edit the community")
	return eval[string](w, `location.pathname`)
}

// marked leaves something on the page that loading it anew would take away, and
// returns how to see whether it is still there.
func (w *window) marked() (still string) {
	w.t.Helper()
	eval[struct{}](w, `window.still = true`)
	return `window.still === true`
}

// subscribes follows the community and moves the slider, which says what it does
// at once.
func (w *window) subscribes(place string) {
	w.t.Helper()
	w.open(place)
	w.press("Subscribe")
	w.await("the slider", `document.querySelector("input[type=range]")`)
	still := w.marked()
	eval[struct{}](w, `document.querySelector("details.level").open = true`)
	eval[struct{}](w, `(e => { e.value = 5; e.dispatchEvent(new Event("input", {bubbles: true})); })(document.querySelector("input[type=range]"))`)
	w.await("the words for it", still+` && document.querySelector("[data-words]").innerText.includes("even what was voted down")`)
	w.press("Save")
	w.await("the level that was chosen", `!window.still && document.querySelector("input[type=range]")?.value === "5"`)
}

// postsWithPicture writes a post with a preview and a picture, and waits until
// the community has admitted it.
func (w *window) postsWithPicture(place string, member network.Account) (title, page string) {
	w.t.Helper()
	file := filepath.Join(w.t.TempDir(), "jetty.png")
	if err := os.WriteFile(file, seaPicture(w.t), 0o600); err != nil {
		w.t.Fatal(err)
	}
	title = "from the jetty " + network.Name("x")
	w.open(place)
	still := w.marked()
	eval[struct{}](w, `document.querySelector("details.compose").open = true`)
	w.fill("title", title)
	w.fill("content", "The water was **warm**.")
	w.await("the preview, while typing", still+` && document.querySelector("[data-look] strong")?.innerText === "warm"`)
	w.fill("alt", "A jetty at dusk")
	w.do("choose a picture", chromedp.SetUploadFiles(chromedp.CSS(`input[name=pictures]`), []string{file}))
	w.press("Post")
	if text := w.awaitPost(); !strings.Contains(text, title) || !strings.Contains(text, "@"+member.Handle) {
		w.t.Errorf("the browser is led to %q, want the post %q", text, title)
	}
	w.await("the picture", `(i => i && i.complete && i.naturalWidth > 0 && i.alt === "A jetty at dusk")(document.querySelector(".pictures img"))`)
	page = eval[string](w, `location.pathname`)
	eventually(w.t, "the community to admit the post", func() bool {
		w.open(place)
		return w.shows(title)
	})
	return title, page
}

func seaPicture(t *testing.T) []byte {
	t.Helper()
	m := image.NewRGBA(image.Rect(0, 0, 640, 360))
	for y := range 360 {
		for x := range 640 {
			m.Set(x, y, color.RGBA{uint8(40 + y/4), uint8(90 + y/3), uint8(120 + (x+y)/10), 255})
		}
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// votes votes for the post that the window is at, takes it back and votes again,
// without loading the page.
func (w *window) votes() {
	w.t.Helper()
	still := w.marked()
	up := `document.querySelector(".post.whole .vote[value=up]")`
	for _, want := range []string{"1", "0", "1"} {
		eval[chromedp.Void](w, up+`.click()`)
		w.await("the score "+want, fmt.Sprintf(`%s && document.querySelector(".post.whole [data-score]").innerText === %q && (%s.ariaPressed === "true") === %t`, still, want, up, want == "1"))
	}
	eval[chromedp.Void](w, `location.reload()`)
	w.await("the vote after loading the page anew", `!window.still && `+up+`?.ariaPressed === "true"`)
}

// converses answers the post, changes the answer, answers again and takes the
// first back. It returns the page of the second.
func (w *window) converses(page string) (comment string) {
	w.t.Helper()
	first := w.answers(page, "Was it cold?")
	w.open(first + "/edit")
	w.fill("content", "Was it *really* cold?")
	w.press("Save")
	w.awaitPath(first)
	w.want("Was it really cold?", "edited")
	second := w.answers(page, "I mean the water.")
	w.open(page)
	w.want("Was it really cold?", "I mean the water.")
	eval[chromedp.Void](w, `document.querySelector(".comment summary").click()`)
	w.await("a folded comment", `!document.querySelector(".comment details").open`)
	w.open(first + "/delete")
	w.want("Was it really cold?")
	w.press("Delete it")
	w.awaitPath(page)
	if w.shows("really cold") {
		w.t.Errorf("the comment is still there\n%s", w.describe())
	}
	return second
}

func (w *window) answers(page, text string) (comment string) {
	w.t.Helper()
	w.open(page)
	w.fill("content", text)
	w.press("Say it")
	w.await("the answer in its place", `/\/c\/did:[^/]+\/[^/]+$/.test(location.pathname)`)
	w.want(text)
	return eval[string](w, `location.pathname`)
}

// blocks blocks somebody, looks whether they have gone, and unblocks.
func (w *window) blocks(whom network.Account, title string) {
	w.t.Helper()
	w.open("/u/" + whom.Handle)
	w.want(title)
	w.press("Block")
	w.await("the block", `document.body.innerText.includes("You block this member")`)
	w.open("/discover?sort=new")
	if w.shows(title) {
		w.t.Errorf("a post of somebody blocked is shown\n%s", w.describe())
	}
	w.open("/account/blocks")
	w.want("@" + whom.Handle)
	w.press("Unblock")
	w.await("the end of the block", `document.body.innerText.includes("Nobody and nothing")`)
	w.open("/discover?sort=new")
	w.want(title)
}

// reviews has posts wait for approval, lets other write two and approves one. It
// returns the page on which the second waits.
func (w *window) reviews(other *window, place string) (page string) {
	w.t.Helper()
	page = place + "/review"
	w.open(place)
	w.press("Look after it")
	w.awaitPath(page)
	w.want("Nothing waits.")
	eval[struct{}](w, `document.querySelector("#admission-approval").checked = true`)
	w.press("Save")
	w.await("the rule", `document.querySelector("#admission-approval")?.checked && !document.querySelector("#admission-open").checked`)
	titles := []string{"please look " + network.Name("x"), "and here " + network.Name("x")}
	for _, title := range titles {
		other.open(place)
		eval[struct{}](other, `document.querySelector("details.compose").open = true`)
		other.fill("title", title)
		other.press("Post")
		if text := other.awaitPost(); !strings.Contains(text, "Not admitted by the community yet") {
			w.t.Errorf("the post does not say that it waits:\n%s", text)
		}
	}
	eventually(w.t, "the posts on the page of those who wait", func() bool {
		w.open(page)
		return w.shows(titles[0]) && w.shows(titles[1])
	})
	w.press("Approve") // the one that has waited longest
	w.await("the other one alone", fmt.Sprintf(`!document.body.innerText.includes(%q)`, titles[0]))
	w.want(titles[1])
	eventually(w.t, "the approved post in the community", func() bool {
		w.open(place + "?sort=new")
		return w.shows(titles[0])
	})
	if w.shows(titles[1]) {
		w.t.Error("a post that waits is shown in the community")
	}
	return page
}

// pagesOn goes on to a second page of posts without loading the first anew.
func (w *window) pagesOn(inst *instance, author network.Account, place string) {
	w.t.Helper()
	titles, _ := writeMany(w.t, inst.network, author, secluded(w.t, inst.network), 30)
	w.open(awaitMany(w.t, inst, author, titles[29])) // on their own page nobody else's posts come in between
	shown := strings.Join(w.loadsAll(), "\n")
	for _, title := range titles {
		if n := strings.Count(shown, title); n != 1 {
			w.t.Errorf("the post %q is there %d times, want once", title, n)
		}
	}
	w.open(place)
}
