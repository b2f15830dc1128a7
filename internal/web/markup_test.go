package web

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"
)

// hostile are texts that would run, escape or break a page that trusts them.
var hostile = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `' onmouseover='alert(1)`, `</textarea><script>alert(1)</script>`,
	`</title><script>x</script>`, `javascript:alert(1)`, `{{.}}`, "\u202egnp.exe", `&lt;b&gt;&#x3c;i&#x3e;`, `<!--`, `]]><svg onload=x>`, `#" onfocus="x`,
}

// TestTextIsNeverMarkup puts hostile text into every text of every page.
func TestTextIsNeverMarkup(t *testing.T) {
	t.Parallel()
	pages := testRenderer(t)
	for _, s := range samplePages() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := skeleton(render(t, pages, s.template, s.page))
			for _, text := range hostile {
				p := poisoned(s.page, text)
				got := render(t, pages, s.template, p)
				for _, wrong := range audit(got) {
					t.Errorf("%q on page %s: %s", text, s.name, wrong)
				}
				if diff := cmp.Diff(want, skeleton(got)); diff != "" {
					t.Errorf("%q on page %s changed its elements (-want +got):\n%s", text, s.name, diff)
				}
			}
		})
	}
}

// trusted are fields that the program alone decides: addresses that it made
// or checked, and words that choose a form.
var trusted = []string{
	"page.Path", "page.Back", "block.Kind", "postState.Class", "postItem.Anchor", "piece.Link", "link.URL", "field.Name", "field.Autocomplete",
	"choicePage.Action", "choicePage.Back", "setback.SignIn", "delegationPage.SignIn",
	"party.URL", "party.Avatar", "party.DID", "postItem.URL", "votesItem.Mine", "votesItem.Acting", "imageItem.Preview", "imageItem.Full", "linkItem.URL", "linkItem.Picture", "quoteItem.URL",
	"listItem.More", "listItem.Begin", "tab.URL", "communityItem.Banner", "communitiesPage.More", "blocksPage.More", "commentItem.Anchor", "commentItem.URL",
	"threadPage.More", "editPage.Action", "editPage.Back", "deletePage.Action", "deletePage.Back", "replyPage.Back", "replyForm.ID", "followItem.DID", "followItem.Acting",
	"fileField.Name", "option.Value", "communityForm.Action", "communityForm.Back", "reviewPage.Action", "reviewPage.PolicyAction", "reviewPage.Back", "memberPage.More", "commentLine.URL", "commentLine.PostURL",
}

// poisoned returns a copy of p in which every other text that is not empty is
// text.
func poisoned(p page, text string) page {
	return poison(reflect.ValueOf(p), text).Interface().(page)
}

// poison returns a deep copy of v.
func poison(v reflect.Value, text string) reflect.Value {
	out := reflect.New(v.Type()).Elem()
	out.Set(v)
	switch v.Kind() {
	case reflect.String:
		if v.Len() > 0 {
			out.SetString(text)
		}
	case reflect.Interface, reflect.Pointer:
		if v.IsNil() {
			break
		}
		inner := poison(v.Elem(), text)
		if v.Kind() == reflect.Pointer {
			out.Set(reflect.New(inner.Type()))
			out.Elem().Set(inner)
			break
		}
		out.Set(inner)
	case reflect.Slice:
		out.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			out.Index(i).Set(poison(v.Index(i), text))
		}
	case reflect.Struct:
		poisonFields(out, text)
	}
	return out
}

func poisonFields(v reflect.Value, text string) {
	for i := range v.NumField() {
		name := v.Type().Name() + "." + v.Type().Field(i).Name
		switch f := v.Field(i); {
		case slices.Contains(trusted, name):
		case v.Type().Field(i).Anonymous:
			poisonFields(f, text)
		case f.CanSet():
			f.Set(poison(f, text))
		}
	}
}

// skeleton is a page's elements with the names of their attributes.
func skeleton(page string) []string {
	var out []string
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			return out
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			line := token.Data
			for _, attr := range token.Attr {
				line += " " + attr.Key
			}
			out = append(out, line)
		case html.CommentToken:
			out = append(out, "comment")
		}
	}
}
