package markup

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Source returns what would have to be typed to get this text with these
// facets, for a form in which it is edited. exact is false when the facets say
// more than marks can: then the source is the text alone, and whoever leaves it
// unchanged should keep the facets as they are.
func Source(plain string, facets json.RawMessage) (source string, exact bool) {
	want, ok := read(plain, facets)
	if !ok {
		return plain, false
	}
	source = write(want)
	if got := Parse(source); got.Plain != plain || !slices.EqualFunc(got.Facets, want.Facets, sameFacet) {
		return plain, false
	}
	return source, true
}

// sameFacet compares facets, mentions by their place: the handle in the text
// may belong to another DID by now.
func sameFacet(a, b Facet) bool {
	a.Feature.Handle, a.Feature.DID, b.Feature.Handle, b.Feature.DID = "", "", "", ""
	return a == b
}

// read takes facets that marks can express; ok is false when there are others.
func read(plain string, raw json.RawMessage) (t Text, ok bool) {
	t.Plain = plain
	if len(raw) == 0 {
		return t, true
	}
	var wire []struct {
		Index    wireIndex `json:"index"`
		Features []struct {
			Type     string     `json:"$type"`
			URI      string     `json:"uri"`
			DID      syntax.DID `json:"did"`
			Reason   string     `json:"reason"`
			Level    int        `json:"level"`
			Language string     `json:"language"`
		} `json:"features"`
	}
	if json.Unmarshal(raw, &wire) != nil {
		return t, false
	}
	for _, w := range wire {
		if w.Index.Start < 0 || w.Index.End <= w.Index.Start || w.Index.End > len(plain) {
			return t, false
		}
		for _, f := range w.Features {
			kind, known := strings.CutPrefix(f.Type, prefix)
			if !known {
				return t, false
			}
			t.Facets = append(t.Facets, Facet{w.Index.Start, w.Index.End, Feature{
				Kind: kind, URI: f.URI, DID: f.DID, Reason: f.Reason, Level: f.Level, Language: f.Language,
			}})
		}
	}
	slices.SortStableFunc(t.Facets, func(a, b Facet) int {
		if a.Start != b.Start {
			return a.Start - b.Start
		}
		return b.End - a.End
	})
	return t, true
}

// write puts the marks of t back. What cannot be expressed comes out wrong, and
// is found by reading it again.
func write(t Text) string {
	before, after := map[int]string{}, map[int]string{}
	quotes, verbatim := []Facet{}, make([]bool, len(t.Plain)+1)
	for _, f := range t.Facets {
		opening, closing := marks(t, f)
		before[f.Start] += opening
		after[f.End] = closing + after[f.End]
		switch f.Feature.Kind {
		case "blockquote":
			quotes = append(quotes, f)
		case "code", "codeBlock", "mention":
			cover(verbatim, f)
		case "link":
			if opening == "" {
				cover(verbatim, f)
			}
		}
	}
	var out strings.Builder
	for i := 0; i <= len(t.Plain); i++ {
		out.WriteString(after[i])
		if (i == 0 || t.Plain[i-1] == '\n') && slices.ContainsFunc(quotes, func(q Facet) bool { return q.Start <= i && i < q.End }) {
			out.WriteString("> ")
		}
		out.WriteString(before[i])
		if i == len(t.Plain) {
			break
		}
		if !verbatim[i] && escapes(t.Plain, i) {
			out.WriteByte('\\')
		}
		out.WriteByte(t.Plain[i])
	}
	return out.String()
}

func cover(bytes []bool, f Facet) {
	for i := f.Start; i < f.End; i++ {
		bytes[i] = true
	}
}

// escapes reports whether the character at i could be taken for a mark.
func escapes(s string, i int) bool {
	switch s[i] {
	case '\\', '*', '`', '[':
		return true
	case '~', '|':
		return i > 0 && s[i-1] == s[i] || i+1 < len(s) && s[i+1] == s[i]
	case '>', '#':
		return i == 0 || s[i-1] == '\n'
	case '@':
		return i+1 < len(s) && isWord(rune(s[i+1]))
	}
	return false
}

// marks returns what stands before and behind a facet.
func marks(t Text, f Facet) (opening, closing string) {
	for _, pair := range pairs {
		if pair.kind == f.Feature.Kind {
			return pair.mark, pair.mark
		}
	}
	switch f.Feature.Kind {
	case "heading":
		return strings.Repeat("#", min(max(f.Feature.Level, 1), 6)) + " ", ""
	case "codeBlock":
		return "```" + f.Feature.Language + "\n", "\n```"
	case "link":
		if t.Plain[f.Start:f.End] != f.Feature.URI {
			return "[", "](" + f.Feature.URI + ")"
		}
	}
	return "", ""
}
