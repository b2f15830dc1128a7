// Package markup turns what people type into forms, plain text with a few
// marks, into the text and facets of records (social.coves.richtext.facet), and
// back for editing.
package markup

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// prefix begins the names of features; see the lexicon.
const prefix = "social.coves.richtext.facet#"

// MaxFacets is how many facets a text gets; marks beyond stay as they were
// typed. It is the lexicon's limit.
const MaxFacets = 200

// Text is a text without marks, and what they meant.
type Text struct {
	Plain  string
	Facets []Facet // by Start, longer ones first
}

// Facet gives the bytes [Start, End) of a text a form or a meaning.
type Facet struct {
	Start, End int
	Feature    Feature
}

// Feature is one form or meaning. Only what belongs to Kind is set.
type Feature struct {
	// Kind is mention, link, bold, italic, strikethrough, spoiler, blockquote,
	// heading, code or codeBlock.
	Kind     string
	URI      string        // of a link: http or https
	Handle   syntax.Handle // of a mention as typed, until Resolve finds its DID
	DID      syntax.DID    // of a mention
	Reason   string        // of a spoiler
	Level    int           // of a heading, 1 to 6
	Language string        // of a codeBlock
}

// Mentions returns the handles that are mentioned, each once.
func (t Text) Mentions() []syntax.Handle {
	var out []syntax.Handle
	for _, f := range t.Facets {
		if f.Feature.Kind == "mention" && f.Feature.DID == "" && !slices.Contains(out, f.Feature.Handle) {
			out = append(out, f.Feature.Handle)
		}
	}
	return out
}

// Resolve gives mentions their DIDs. A mention of nobody known is plain text.
func (t *Text) Resolve(dids map[syntax.Handle]syntax.DID) {
	t.Facets = slices.DeleteFunc(t.Facets, func(f Facet) bool {
		return f.Feature.Kind == "mention" && f.Feature.DID == "" && dids[f.Feature.Handle] == ""
	})
	for i := range t.Facets {
		if f := &t.Facets[i].Feature; f.Kind == "mention" && f.DID == "" {
			f.DID = dids[f.Handle]
		}
	}
}

type wireFacet struct {
	Index    wireIndex        `json:"index"`
	Features []map[string]any `json:"features"`
}

type wireIndex struct {
	Start int `json:"byteStart"`
	End   int `json:"byteEnd"`
}

// JSON returns the facets as records carry them; nil when there are none.
// Mentions must be resolved.
func (t Text) JSON() (json.RawMessage, error) {
	var out []wireFacet
	for _, f := range t.Facets {
		feature := map[string]any{"$type": prefix + f.Feature.Kind}
		for name, value := range map[string]string{
			"uri": f.Feature.URI, "did": f.Feature.DID.String(), "reason": f.Feature.Reason, "language": f.Feature.Language,
		} {
			if value != "" {
				feature[name] = value
			}
		}
		if f.Feature.Level > 0 {
			feature["level"] = f.Feature.Level
		}
		out = append(out, wireFacet{wireIndex{f.Start, f.End}, []map[string]any{feature}})
	}
	if out == nil {
		return nil, nil
	}
	return json.Marshal(out)
}

// Parse reads what somebody typed:
//
//	**bold**  *italic*  ~~struck~~  `code`  ||hidden||  [text](https://…)
//	https://…  @handle.example
//	> a quote   # a heading   ``` around lines of code
//
// A backslash takes the meaning of the mark behind it. Whatever is no complete
// mark is text. Line ends become \n.
func Parse(source string) Text {
	p := parser{}
	p.lines(strings.ReplaceAll(source, "\r\n", "\n"))
	slices.SortStableFunc(p.facets, func(a, b Facet) int {
		if a.Start != b.Start {
			return a.Start - b.Start
		}
		return b.End - a.End
	})
	return Text{p.plain.String(), p.facets}
}

type parser struct {
	plain    strings.Builder
	facets   []Facet
	unfenced bool // no line closes a block of code from here on
}

// mark adds a facet from start to here. Nothing is marked beyond the limit.
func (p *parser) mark(start int, f Feature) {
	if end := p.plain.Len(); end > start && len(p.facets) < MaxFacets {
		p.facets = append(p.facets, Facet{start, end, f})
	}
}

// full reports that no more marks count, so that they stay as typed.
func (p *parser) full() bool { return len(p.facets) >= MaxFacets }

// lines takes the forms that belong to whole lines.
func (p *parser) lines(source string) {
	lines := strings.Split(source, "\n")
	for i := 0; i < len(lines); {
		if i > 0 {
			p.plain.WriteByte('\n')
		}
		start := p.plain.Len()
		if end := p.fenced(lines, i); end > i && !p.full() {
			p.plain.WriteString(strings.Join(lines[i+1:end], "\n"))
			p.mark(start, Feature{Kind: "codeBlock", Language: fenceLanguage(lines[i])})
			i = end + 1
			continue
		}
		if n := quoted(lines[i:]); n > 0 && !p.full() {
			for j, line := range lines[i : i+n] {
				if j > 0 {
					p.plain.WriteByte('\n')
				}
				p.inline(strings.TrimPrefix(line[1:], " "), 0)
			}
			p.mark(start, Feature{Kind: "blockquote"})
			i += n
			continue
		}
		if level, text := heading(lines[i]); level > 0 && !p.full() {
			p.inline(text, 0)
			p.mark(start, Feature{Kind: "heading", Level: level})
		} else {
			p.inline(lines[i], 0)
		}
		i++
	}
}

// fenced returns the line that closes the block of code which line i opens, 0
// when there is none.
func (p *parser) fenced(lines []string, i int) int {
	if p.unfenced || !strings.HasPrefix(lines[i], "```") || strings.Contains(lines[i][3:], "`") || len(fenceLanguage(lines[i])) > 40 {
		return 0
	}
	for j := i + 1; j < len(lines); j++ {
		if strings.TrimRight(lines[j], " ") == "```" {
			return j
		}
	}
	p.unfenced = true
	return 0
}

func fenceLanguage(line string) string { return strings.TrimSpace(strings.TrimPrefix(line, "```")) }

// quoted counts the lines of the quote that begins here.
func quoted(lines []string) int {
	n := 0
	for n < len(lines) && strings.HasPrefix(lines[n], ">") {
		n++
	}
	return n
}

func heading(line string) (level int, text string) {
	rest := strings.TrimLeft(line, "#")
	level = len(line) - len(rest)
	if level < 1 || level > 6 || !strings.HasPrefix(rest, " ") || strings.TrimSpace(rest) == "" {
		return 0, ""
	}
	return level, rest[1:]
}
