package post

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/markup"
)

// facetPrefix begins the types of features.
const facetPrefix = "social.coves.richtext.facet#"

// span is what one facet marks.
type span struct {
	start, end int
	// target is a link or a mention, block a paragraph of some kind.
	target, block bool
}

// checkFacets refuses ranges that are not of the text or cut a character, links
// that lead out of the web, and facets that contradict each other: a stretch of
// text leads to one place, and paragraphs lie within one another or apart. The
// rest is the lexicon's business.
func checkFacets(raw json.RawMessage, text string) error {
	if isAbsent(raw) {
		return nil
	}
	var facets []struct {
		Index *struct {
			Start *int `json:"byteStart"`
			End   *int `json:"byteEnd"`
		} `json:"index"`
		Features []feature `json:"features"`
	}
	if err := json.Unmarshal(raw, &facets); err != nil {
		return invalid(err, "The facets cannot be understood.")
	}
	spans := make([]span, 0, len(facets))
	for _, f := range facets {
		if f.Index == nil || f.Index.Start == nil || f.Index.End == nil {
			return invalid(nil, "A facet has no range.")
		}
		s := span{start: *f.Index.Start, end: *f.Index.End}
		if s.start < 0 || s.end <= s.start || s.end > len(text) || !Boundary(text, s.start) || !Boundary(text, s.end) {
			return invalid(nil, fmt.Sprintf("The facet from byte %d to %d does not fit the text.", s.start, s.end))
		}
		for _, feat := range f.Features {
			if err := s.add(feat); err != nil {
				return err
			}
		}
		spans = append(spans, s)
	}
	return checkOverlap(spans)
}

// feature is one way in which a stretch of text is special.
type feature struct {
	Type string `json:"$type"`
	URI  string `json:"uri"`
	DID  string `json:"did"`
}

// add notes what a feature makes of a stretch of text.
func (s *span) add(f feature) error {
	switch strings.TrimPrefix(f.Type, facetPrefix) {
	case "link":
		if _, ok := markup.WebAddress(f.URI); !ok {
			return invalid(nil, "A link must be an address that begins with https:// or http://.")
		}
	case "mention":
		if _, err := syntax.ParseDID(f.DID); err != nil {
			return invalid(err, "A mention must name an account by its DID.")
		}
	case "blockquote", "heading", "codeBlock":
		s.block = true
		return nil
	default:
		return nil
	}
	if s.target {
		return twoTargets(*s)
	}
	s.target = true
	return nil
}

func twoTargets(s span) error {
	return invalid(nil, fmt.Sprintf("The text from byte %d to %d leads to two places.", s.start, s.end))
}

func checkOverlap(spans []span) error {
	slices.SortStableFunc(spans, func(p, q span) int {
		return cmp.Or(cmp.Compare(p.start, q.start), cmp.Compare(q.end, p.end))
	})
	var open []span // paragraphs that the next facet may lie in
	end := 0        // of the last link or mention
	for _, s := range spans {
		if s.target && s.start < end {
			return twoTargets(s)
		}
		if s.target {
			end = s.end
		}
		if !s.block {
			continue
		}
		for len(open) > 0 && open[len(open)-1].end <= s.start {
			open = open[:len(open)-1]
		}
		if len(open) > 0 && s.end > open[len(open)-1].end {
			return invalid(nil, fmt.Sprintf("The paragraph from byte %d to %d crosses another one.", s.start, s.end))
		}
		open = append(open, s)
	}
	return nil
}

// Boundary reports that a character begins, or the text ends, at byte i, which
// lies within the text: a facet may begin or end there.
func Boundary(text string, i int) bool { return i == len(text) || utf8.RuneStart(text[i]) }
