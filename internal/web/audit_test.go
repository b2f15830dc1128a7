package web

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// audit reads a page as a browser does and returns what is wrong with it: for
// people who use a keyboard or a screen reader, and for the content policy.
func audit(page string) []string {
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		return []string{err.Error()}
	}
	a := &auditor{ids: map[string]int{}, count: map[string]int{}, navs: map[string]int{}, labels: map[string]bool{}}
	a.walk(doc)
	a.finish()
	return a.wrong
}

type auditor struct {
	wrong    []string
	ids      map[string]int
	refs     []string // ids that other elements name
	labels   map[string]bool
	inputs   []*html.Node
	count    map[string]int // elements by name
	navs     map[string]int // by their names
	lastHead int
}

func (a *auditor) say(format string, args ...any) {
	a.wrong = append(a.wrong, fmt.Sprintf(format, args...))
}

func (a *auditor) walk(n *html.Node) {
	if n.Type == html.ElementNode {
		a.count[n.Data]++
		a.attributes(n)
		a.element(n)
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		a.walk(c)
	}
}

func (a *auditor) attributes(n *html.Node) {
	for _, attr := range n.Attr {
		switch {
		case attr.Key == "id":
			a.ids[attr.Val]++
		case attr.Key == "style" || strings.HasPrefix(attr.Key, "on"):
			a.say("<%s> has the inline attribute %s", n.Data, attr.Key)
		case attr.Key == "aria-describedby", attr.Key == "aria-labelledby":
			a.refs = append(a.refs, strings.Fields(attr.Val)...)
		case attr.Key == "href", attr.Key == "src", attr.Key == "action":
			a.address(n, attr.Val)
		}
	}
}

// address allows pages of our own, places on them, and the web.
func (a *auditor) address(n *html.Node, value string) {
	u, err := url.Parse(value)
	if err != nil {
		a.say("<%s> leads to %q, which is no address", n.Data, value)
		return
	}
	own := u.Scheme == "" && u.Host == "" && (strings.HasPrefix(value, "/") || strings.HasPrefix(value, "#"))
	web := n.Data == "a" && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
	if !own && !web {
		a.say("<%s> leads to %q", n.Data, value)
	}
	if web && !strings.Contains(attrOf(n, "rel"), "noopener") {
		a.say("link to %q lacks rel=noopener", value)
	}
}

func (a *auditor) element(n *html.Node) {
	switch n.Data {
	case "script":
		// Only the file of our own, which the content policy allows by its origin.
		if !strings.HasPrefix(attrOf(n, "src"), "/static/atoll.js") || n.FirstChild != nil {
			a.say("there is a <script> of %q", attrOf(n, "src"))
		}
	case "style", "iframe", "object", "embed", "base", "b", "u", "marquee", "font":
		a.say("there is a <%s>", n.Data)
	case "html":
		if attrOf(n, "lang") == "" {
			a.say("the page has no language")
		}
	case "title":
		if strings.TrimSpace(textOf(n)) == "" {
			a.say("the title is empty")
		}
	case "h1", "h2", "h3", "h4":
		a.heading(n)
	case "img":
		if !hasAttr(n, "alt") {
			a.say("<img> has no alt text")
		}
	case "label":
		a.labels[attrOf(n, "for")] = true
	case "input", "textarea", "select":
		if attrOf(n, "type") != "hidden" {
			a.inputs = append(a.inputs, n)
		}
	case "a", "button":
		if strings.TrimSpace(textOf(n)) == "" {
			a.say("<%s> has no words", n.Data)
		}
	case "form":
		a.form(n)
	case "nav":
		if a.navs[attrOf(n, "aria-label")]++; attrOf(n, "aria-label") == "" || a.navs[attrOf(n, "aria-label")] > 1 {
			a.say("<nav> %q is not told from the others", attrOf(n, "aria-label"))
		}
	}
}

func (a *auditor) heading(n *html.Node) {
	level := int(n.Data[1] - '0')
	if level > a.lastHead+1 {
		a.say("<%s> %q follows a heading of level %d", n.Data, textOf(n), a.lastHead)
	}
	if strings.TrimSpace(textOf(n)) == "" {
		a.say("<%s> is empty", n.Data)
	}
	a.lastHead = level
}

// form checks that every form that changes something says for whom (S25). The
// sign-in form is the one that has nobody to act for.
func (a *auditor) form(n *html.Node) {
	if attrOf(n, "role") == "search" {
		return // it changes nothing
	}
	if attrOf(n, "method") != "post" {
		a.say("form to %s has method %q", attrOf(n, "action"), attrOf(n, "method"))
	}
	if attrOf(n, "action") != "/oauth/login" && !slices.Contains(namesIn(n), fieldActing) {
		a.say("form to %s does not say for whom it acts", attrOf(n, "action"))
	}
}

func (a *auditor) finish() {
	for _, n := range a.inputs {
		if !a.labels[attrOf(n, "id")] && attrOf(n, "aria-label") == "" {
			a.say("<%s name=%q> has no label", n.Data, attrOf(n, "name"))
		}
	}
	for id, n := range a.ids {
		if n > 1 {
			a.say("id %q is there %d times", id, n)
		}
	}
	for _, id := range a.refs {
		if a.ids[id] == 0 {
			a.say("id %q is named, but not there", id)
		}
	}
	for _, name := range []string{"title", "h1", "main", "header", "footer"} {
		if a.count[name] != 1 {
			a.say("there are %d <%s>, want 1", a.count[name], name)
		}
	}
}

func attrOf(n *html.Node, key string) string {
	for _, attr := range n.Attr {
		if attr.Key == key {
			return attr.Val
		}
	}
	return ""
}

func hasAttr(n *html.Node, key string) bool {
	return slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == key })
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var out strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		out.WriteString(textOf(c))
	}
	return out.String()
}

// namesIn lists the names of the inputs in a form.
func namesIn(n *html.Node) []string {
	var out []string
	if n.Type == html.ElementNode && n.Data == "input" {
		out = append(out, attrOf(n, "name"))
	}
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		out = append(out, namesIn(c)...)
	}
	return out
}

func TestTheAuditFindsMistakes(t *testing.T) {
	t.Parallel()
	const good = `<html lang="en"><head><title>x</title></head><body><header><nav aria-label="Main"></nav></header><main><h1>x</h1>%s</main><footer></footer></body></html>`
	if got := audit(fmt.Sprintf(good, "<p>fine")); got != nil {
		t.Errorf("audit of a good page = %q, want nothing", got)
	}
	for _, bad := range []string{
		`<script>1</script>`, `<p style="color:red">`, `<p onclick="x()">`, `<img src="/a">`, `<img alt="" src="https://x.example/">`,
		`<a href="javascript:x">y</a>`, `<a href="//evil.example">y</a>`, `<a href="https://evil.example">y</a>`, `<a href="/"></a>`,
		`<h3>skips</h3>`, `<h1>second</h1>`, `<input name="a">`, `<p id="a"><p id="a">`, `<p aria-describedby="gone">`,
		`<form method="post" action="/x"></form>`, `<form action="/x"><input type="hidden" name="acting"></form>`,
	} {
		if got := audit(fmt.Sprintf(good, bad)); len(got) == 0 {
			t.Errorf("audit found nothing wrong with %s", bad)
		}
	}
}
