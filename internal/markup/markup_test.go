package markup

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	bold := func(from, to int) Facet { return Facet{from, to, Feature{Kind: "bold"}} }
	for _, c := range []struct {
		name, source, plain string
		facets              []Facet
	}{
		{"plain", "just words", "just words", nil},
		{"bold", "a **b** c", "a b c", []Facet{bold(2, 3)}},
		{"italic", "*tide*", "tide", []Facet{{0, 4, Feature{Kind: "italic"}}}},
		{"bytes are counted", "é **ü** 🐦", "é ü 🐦", []Facet{bold(3, 5)}},
		{"within one another", "**a *b* c**", "a b c", []Facet{bold(0, 5), {2, 3, Feature{Kind: "italic"}}}},
		{"not closed", "2 ** 3 and **more", "2 ** 3 and **more", nil},
		{"sums are not italic", "2*3*4", "2*3*4", nil},
		{"escaped", `\*not\* \@heron.example`, "*not* @heron.example", nil},
		{"struck, hidden, code", "~~a~~ ||b|| `*c*`", "a b *c*", []Facet{
			{0, 1, Feature{Kind: "strikethrough"}}, {2, 3, Feature{Kind: "spoiler"}}, {4, 7, Feature{Kind: "code"}},
		}},
		{"link", "see [the map](https://maps.example/a?b=c).", "see the map.", []Facet{
			{4, 11, Feature{Kind: "link", URI: "https://maps.example/a?b=c"}},
		}},
		{"bare address", "see https://maps.example/x.", "see https://maps.example/x.", []Facet{
			{4, 26, Feature{Kind: "link", URI: "https://maps.example/x"}},
		}},
		{"no scripts", "[x](javascript:alert)", "[x](javascript:alert)", nil},
		{"no user names", "[x](https://bank.example@evil.example)", "[x](https://bank.example@evil.example)", nil},
		{"mention", "hello @Heron.example.", "hello @Heron.example.", []Facet{
			{6, 20, Feature{Kind: "mention", Handle: "heron.example"}},
		}},
		{"mail is no mention", "a@heron.example", "a@heron.example", nil},
		{"quote", "> one\n> **two**\nthree", "one\ntwo\nthree", []Facet{{0, 7, Feature{Kind: "blockquote"}}, bold(4, 7)}},
		{"heading", "## Tides\ntext", "Tides\ntext", []Facet{{0, 5, Feature{Kind: "heading", Level: 2}}}},
		{"no heading", "#tide", "#tide", nil},
		{"block of code", "a\n```go\nx := **y**\n```\nb", "a\nx := **y**\nb", []Facet{{2, 12, Feature{Kind: "codeBlock", Language: "go"}}}},
		{"block without end", "```\nx", "```\nx", nil},
		{"line ends", "a\r\n> b", "a\nb", []Facet{{2, 3, Feature{Kind: "blockquote"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(Text{c.plain, c.facets}, Parse(c.source)); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", c.source, diff)
			}
		})
	}
}

func TestMentionsOfNobodyAreText(t *testing.T) {
	t.Parallel()
	text := Parse("@heron.example and @nobody.example and @heron.example")
	if diff := cmp.Diff([]syntax.Handle{"heron.example", "nobody.example"}, text.Mentions()); diff != "" {
		t.Errorf("Mentions (-want +got):\n%s", diff)
	}
	text.Resolve(map[syntax.Handle]syntax.DID{"heron.example": "did:plc:heron"})
	raw, err := text.JSON()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(string(raw), "did:plc:heron"); got != 2 || len(text.Facets) != 2 {
		t.Errorf("facets after Resolve: %s, want two mentions of the heron", raw)
	}
}

func TestSourceIsTypedAgain(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		"just words", "a **b *c* d** e", "# Tides\n\n> one\n> two\n\n~~a~~ ||b|| `c`", "```go\nx\n```", `\*stars\* \> and \\`,
		"[the map](https://maps.example/) and https://maps.example/x", "> **quote** of a [link](https://a.example)",
	} {
		text := Parse(source)
		raw, err := text.JSON()
		if err != nil {
			t.Fatal(err)
		}
		back, exact := Source(text.Plain, raw)
		if again := Parse(back); !exact || !cmp.Equal(text, again) {
			t.Errorf("Source of %q: %q, exact %t; it reads as %+v, want %+v", source, back, exact, again, text)
		}
	}
}

func TestFacetsThatMarksCannotExpressAreKept(t *testing.T) {
	t.Parallel()
	for _, facets := range []string{
		`[{"index":{"byteStart":0,"byteEnd":3},"features":[{"$type":"app.example.facet#glow"}]}]`,
		`[{"index":{"byteStart":0,"byteEnd":3},"features":[{"$type":"social.coves.richtext.facet#bold"}]},
		  {"index":{"byteStart":1,"byteEnd":5},"features":[{"$type":"social.coves.richtext.facet#italic"}]}]`,
		`[{"index":{"byteStart":0,"byteEnd":99},"features":[]}]`,
		`"no list"`,
	} {
		if source, exact := Source("*some* words", json.RawMessage(facets)); exact || source != "*some* words" {
			t.Errorf("Source with %s: %q, exact %t; want the text alone", facets, source, exact)
		}
	}
}

// Nobody makes the server work for long by marks that lead nowhere.
func TestHostileMarksAreReadOnce(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{"*", "**a ", "[", "[a](", "`a", "||", "*a**b~~c||", "> ", "\\", "```\n", "```a\n", "@a", "https://", "[a](https://a.example) "} {
		source := strings.Repeat(unit, 512<<10/len(unit))
		begin := time.Now()
		text := Parse(source)
		if took := time.Since(begin); took > 5*time.Second || len(text.Facets) > MaxFacets {
			t.Errorf("512 KiB of %q: %s, %d facets", unit, took, len(text.Facets))
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"**a**", "> q\n# h", "```x\ny\n```", "[a](https://b.example)", "@a.example \\*", "*é*"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, source string) {
		if !utf8.ValidString(source) {
			return
		}
		text := Parse(source)
		if !utf8.ValidString(text.Plain) {
			t.Errorf("%q becomes bad UTF-8: %q", source, text.Plain)
		}
		for _, facet := range text.Facets {
			if facet.Start >= facet.End || facet.End > len(text.Plain) || !utf8.ValidString(text.Plain[facet.Start:facet.End]) {
				t.Errorf("%q: facet %+v cuts %q", source, facet, text.Plain)
			}
		}
		text.Resolve(nil)
		raw, err := text.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if back, exact := Source(text.Plain, raw); !exact && back != text.Plain {
			t.Errorf("source of %q is neither exact nor the text: %q", source, back)
		}
	})
}
