package web

import (
	"encoding/json"
	"strings"

	"github.com/atoll-social/atoll/internal/markup"
	"github.com/atoll-social/atoll/internal/post"
)

// maxFacets is the lexicon's limit; further facets of a record are ignored.
const maxFacets = 200

// facetPrefix is the lexicon that names the features (records.md, facets).
const facetPrefix = "social.coves.richtext.facet#"

// facet marks bytes [Start, End) of a text with features.
type facet struct {
	Start, End int
	Features   []feature
}

// feature is one way in which a stretch of text is special. Only the fields
// that belong to Kind are set.
type feature struct {
	Kind  string // the name behind '#', such as "link"
	URI   string
	DID   string
	Hides *spoiler
}

// slot groups features of which one stretch of text can have one.
type slot int

const (
	slotBold slot = iota
	slotItalic
	slotStrike
	slotCode
	slotTarget
	slotSpoiler
	slotBlock
	slots
)

// slotOf lists the features that are shown. The lexicon's union is open: what
// is not listed is plain text.
var slotOf = map[string]slot{
	"bold": slotBold, "italic": slotItalic, "strikethrough": slotStrike, "code": slotCode,
	"link": slotTarget, "mention": slotTarget, "spoiler": slotSpoiler,
	"blockquote": slotBlock, "heading": slotBlock, "codeBlock": slotBlock,
}

func (f feature) slot() slot { return slotOf[f.Kind] }

// wireFacet is a facet as records carry it.
type wireFacet struct {
	Index struct {
		ByteStart *int `json:"byteStart"`
		ByteEnd   *int `json:"byteEnd"`
	} `json:"index"`
	Features []json.RawMessage `json:"features"`
}

// parseFacets reads the facets of a record against its text. What is
// malformed, outside the text or inside a character is left out: the text
// itself is always shown.
func parseFacets(raw []byte, text string) []facet {
	var items []json.RawMessage
	if json.Unmarshal(raw, &items) != nil {
		return nil
	}
	if len(items) > maxFacets {
		items = items[:maxFacets]
	}
	var out []facet
	for _, item := range items {
		if f, ok := parseFacet(item, text); ok {
			out = append(out, f)
		}
	}
	return out
}

func parseFacet(raw json.RawMessage, text string) (facet, bool) {
	var wire wireFacet
	if json.Unmarshal(raw, &wire) != nil || wire.Index.ByteStart == nil || wire.Index.ByteEnd == nil {
		return facet{}, false
	}
	f := facet{Start: *wire.Index.ByteStart, End: *wire.Index.ByteEnd}
	if f.Start < 0 || f.End <= f.Start || f.End > len(text) || !post.Boundary(text, f.Start) || !post.Boundary(text, f.End) {
		return facet{}, false
	}
	var taken [slots]bool // of each slot the first counts
	for _, item := range wire.Features {
		if feat, ok := parseFeature(item); ok && !taken[feat.slot()] {
			taken[feat.slot()] = true
			f.Features = append(f.Features, feat)
		}
	}
	return f, len(f.Features) > 0
}

func parseFeature(raw json.RawMessage) (feature, bool) {
	var wire struct {
		Type   string `json:"$type"`
		URI    string `json:"uri"`
		DID    string `json:"did"`
		Reason string `json:"reason"`
	}
	if json.Unmarshal(raw, &wire) != nil {
		return feature{}, false
	}
	kind, ok := strings.CutPrefix(wire.Type, facetPrefix)
	if !ok {
		return feature{}, false
	}
	if _, known := slotOf[kind]; !known {
		return feature{}, false
	}
	f := feature{Kind: kind}
	switch kind {
	case "link":
		f.URI, ok = markup.WebAddress(wire.URI)
	case "mention":
		f.DID, ok = wire.DID, strings.HasPrefix(wire.DID, "did:")
	case "spoiler":
		f.Hides = &spoiler{Reason: wire.Reason}
	}
	return f, ok
}
