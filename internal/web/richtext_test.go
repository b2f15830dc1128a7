package web

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// wire writes one facet as records carry it; features are the ends of their
// types and what follows, in JSON.
func wire(from, to int, features ...string) string {
	for i, f := range features {
		features[i] = `{"$type":"social.coves.richtext.facet#` + f + `}`
	}
	return fmt.Sprintf(`{"index":{"byteStart":%d,"byteEnd":%d},"features":[%s]}`, from, to, strings.Join(features, ","))
}

func wires(facets ...string) []byte { return []byte("[" + strings.Join(facets, ",") + "]") }

func TestFacetsThatDoNotFitAreLeftOut(t *testing.T) {
	t.Parallel()
	const text = "añb 🚣 end" // ñ is bytes 1 and 2, the boat 5 to 8
	tests := []struct {
		name string
		raw  string
		want int
	}{
		{"good", wire(0, 1, `bold"`), 1},
		{"whole", wire(0, len(text), `bold"`), 1},
		{"inside a character", wire(0, 2, `bold"`), 0},
		{"begins inside a character", wire(6, 9, `bold"`), 0},
		{"beyond the end", wire(0, len(text)+1, `bold"`), 0},
		{"negative", wire(-1, 1, `bold"`), 0},
		{"empty", wire(3, 3, `bold"`), 0},
		{"backwards", wire(3, 1, `bold"`), 0},
		{"no end", `{"index":{"byteStart":0},"features":[{"$type":"social.coves.richtext.facet#bold"}]}`, 0},
		{"numbers as text", `{"index":{"byteStart":"0","byteEnd":"1"},"features":[]}`, 0},
		{"fraction", `{"index":{"byteStart":0.5,"byteEnd":1},"features":[]}`, 0},
		{"huge", `{"index":{"byteStart":0,"byteEnd":1e400},"features":[]}`, 0},
		{"unknown feature", wire(0, 1, `sparkle"`), 0},
		{"unknown beside known", wire(0, 1, `sparkle"`, `bold"`), 1},
		{"another lexicon", `{"index":{"byteStart":0,"byteEnd":1},"features":[{"$type":"app.example.facet#bold"}]}`, 0},
		{"not an object", `7`, 0},
		{"null", `null`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := parseFacets(wires(tt.raw), text); len(got) != tt.want {
				t.Errorf("parseFacets(%s) = %+v, want %d facets", tt.raw, got, tt.want)
			}
		})
	}
	if got := parseFacets([]byte(`{"not":"a list"}`), text); got != nil {
		t.Errorf("parseFacets(object) = %v, want none", got)
	}
	if got := parseFacets(wires(strings.Split(strings.Repeat(wire(0, 1, `bold"`)+"\x00", maxFacets+9), "\x00")[:maxFacets+9]...), text); len(got) != maxFacets {
		t.Errorf("parseFacets(too many) = %d facets, want %d", len(got), maxFacets)
	}
}

func TestALinkThatLeadsElsewhereSaysSo(t *testing.T) {
	t.Parallel()
	tests := []struct{ text, link, want string }{
		{"bank.example", "https://evil.example/login", "evil.example"},
		{"https://bank.example/", "https://evil.example/", "evil.example"},
		{"https://bank.example/", "https://www.bank.example/in", ""},
		{"WWW.Bank.example", "https://bank.example/", ""},
		{"read this", "https://evil.example/", ""},
		{"here", "https://evil.example/", ""},
	}
	for _, tt := range tests {
		if got := elsewhere(tt.text, tt.link); got != tt.want {
			t.Errorf("elsewhere(%q, %q) = %q, want %q", tt.text, tt.link, got, tt.want)
		}
	}
}

func TestRichTextForms(t *testing.T) {
	t.Parallel()
	plain := func(s string) run { return run{Pieces: []piece{{Text: s}}} }
	tests := []struct {
		name, text, facets string
		want               []block
	}{
		{"nothing", "", "", nil},
		{"paragraphs", "one\n\n\n\ntwo\nlines\r\n\r\nthree", "", []block{
			{Kind: "text", Runs: []run{plain("one")}}, {Kind: "text", Runs: []run{plain("two\nlines")}}, {Kind: "text", Runs: []run{plain("three")}}}},
		{"only breaks", "\n\n\n", "", nil},
		{"bold inside", "so bold it is", wire(3, 7, `bold"`), []block{{Kind: "text", Runs: []run{
			{Pieces: []piece{{Text: "so "}, {Text: "bold", Bold: true}, {Text: " it is"}}}}}}},
		{"crossing", "abcd", wire(0, 3, `bold"`) + "," + wire(1, 4, `italic"`), []block{{Kind: "text", Runs: []run{
			{Pieces: []piece{{Text: "a", Bold: true}, {Text: "bc", Bold: true, Italic: true}, {Text: "d", Italic: true}}}}}}},
		{"bold over paragraphs", "a\n\nb", wire(0, 4, `bold"`), []block{
			{Kind: "text", Runs: []run{{Pieces: []piece{{Text: "a", Bold: true}}}}}, {Kind: "text", Runs: []run{{Pieces: []piece{{Text: "b", Bold: true}}}}}}},
		{"quote between", "a\nq\n\nq2\nb", wire(2, 7, `blockquote","level":1`), []block{
			{Kind: "text", Runs: []run{plain("a")}}, {Kind: "quote", Runs: []run{plain("q\n\nq2")}}, {Kind: "text", Runs: []run{plain("b")}}}},
		{"two quotes in a row", "ab", wire(0, 1, `blockquote"`) + "," + wire(1, 2, `blockquote"`), []block{
			{Kind: "quote", Runs: []run{plain("a")}}, {Kind: "quote", Runs: []run{plain("b")}}}},
		{"first link counts", "ab", wire(0, 2, `link","uri":"https://one.example/"`, `link","uri":"https://two.example/"`), []block{
			{Kind: "text", Runs: []run{{Pieces: []piece{{Text: "ab", Link: "https://one.example/"}}}}}}},
		{"one spoiler over forms", "abc", wire(0, 3, `spoiler","reason":"end"`) + "," + wire(1, 2, `bold"`), []block{{Kind: "text", Runs: []run{
			{Spoiler: &spoiler{"end"}, Pieces: []piece{{Text: "a"}, {Text: "b", Bold: true}, {Text: "c"}}}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := richText(tt.text, parseFacets([]byte("["+tt.facets+"]"), tt.text))
			if diff := cmp.Diff(tt.want, got, cmpopts.IgnoreUnexported(block{})); diff != "" {
				t.Errorf("richText(%q) differs (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

// Whatever a record holds, all of its text is shown, in order, as text.
func FuzzRichText(f *testing.F) {
	f.Add("hello <b>", string(wires(wire(0, 5, `bold"`))))
	f.Add("añb\n\n🚣", string(wires(wire(0, 1, `link","uri":"javascript:x"`), wire(1, 9, `codeBlock"`))))
	f.Add("abc", string(wires(wire(0, 3, `spoiler","reason":"<i>"`), wire(1, 2, `heading","level":9`))))
	f.Fuzz(func(t *testing.T, text, facets string) {
		if !utf8.ValidString(text) {
			return // the index holds valid text only
		}
		var shown strings.Builder
		for _, b := range richText(text, parseFacets([]byte(facets), text)) {
			for _, r := range b.Runs {
				for _, p := range r.Pieces {
					shown.WriteString(p.Text)
					if p.Link != "" && !strings.HasPrefix(p.Link, "http://") && !strings.HasPrefix(p.Link, "https://") {
						t.Errorf("link %q goes elsewhere than to the web", p.Link)
					}
					if !utf8.ValidString(p.Text) {
						t.Errorf("piece %q was cut inside a character", p.Text)
					}
				}
			}
		}
		without := strings.NewReplacer("\n", "", "\r", "")
		if got, want := without.Replace(shown.String()), without.Replace(text); got != want {
			t.Errorf("text %q with facets %s shows as %q", text, facets, got)
		}
	})
}
