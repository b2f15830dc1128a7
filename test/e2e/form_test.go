package e2e

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// formOf reads the form with this action out of a page, with the values that
// it came with: what a browser would send if nothing were typed. When several
// have the action, the one whose fields include match is taken.
func formOf(t *testing.T, a answer, action string, match url.Values) url.Values {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(a.body))
	if err != nil {
		t.Fatalf("%s: %v", a.url, err)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode || n.Data != "form" || attribute(n, "action") != action {
			continue
		}
		if fields := fieldsOf(n); contains(fields, match) {
			return fields
		}
	}
	t.Fatalf("%s has no form with action %q and %v:\n%s", a.url, action, match, a.body)
	return nil
}

func contains(fields, match url.Values) bool {
	for name := range match {
		if fields.Get(name) != match.Get(name) {
			return false
		}
	}
	return true
}

func fieldsOf(form *html.Node) url.Values {
	fields := url.Values{}
	for n := range form.Descendants() {
		if n.Type != html.ElementNode || attribute(n, "name") == "" {
			continue
		}
		switch n.Data {
		case "input":
			fields.Set(attribute(n, "name"), attribute(n, "value"))
		case "button":
			if attribute(n, "value") != "" {
				fields.Set(attribute(n, "name"), attribute(n, "value"))
			}
		case "textarea":
			text := ""
			if n.FirstChild != nil {
				text = n.FirstChild.Data
			}
			fields.Set(attribute(n, "name"), text)
		}
	}
	return fields
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}
