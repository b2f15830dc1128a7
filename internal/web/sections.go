package web

import (
	"cmp"
	"math/bits"
	"slices"
)

// section is a stretch between two boundaries of facets.
type section struct {
	text  string
	end   int    // where it ends in the whole text
	form  string // kind of the block that it belongs to
	owner int    // number of the facet that makes the block; -1 for none
	hide  *spoiler
	piece piece
}

// edge is where a facet begins or ends.
type edge struct {
	at, facet int
	ends      bool
}

// sections cuts text at every boundary of facets, of which there are maxFacets
// at most. The result covers all of text. Whatever the facets are, a section
// costs the same: what holds in it follows from what held before.
func sections(text string, facets []facet) []section {
	edges := make([]edge, 0, 2*len(facets)+1)
	for i, f := range facets {
		edges = append(edges, edge{at: f.Start, facet: i}, edge{at: f.End, facet: i, ends: true})
	}
	slices.SortStableFunc(edges, func(a, b edge) int { return cmp.Compare(a.at, b.at) })
	var out []section
	here, from := sweep{facets: facets}, 0
	for _, e := range edges {
		if e.at > from {
			out = append(out, here.section(text, from, e.at))
			from = e.at
		}
		here.pass(e)
	}
	if from < len(text) {
		out = append(out, here.section(text, from, len(text)))
	}
	return out
}

// sweep knows for one place of a text which facets have which features there.
type sweep struct {
	facets []facet
	open   [slots]numbers
}

// pass goes over an edge.
func (w *sweep) pass(e edge) {
	for _, f := range w.facets[e.facet].Features {
		if e.ends {
			w.open[f.slot()].remove(e.facet)
		} else {
			w.open[f.slot()].add(e.facet)
		}
	}
}

// first returns the feature that counts of those that exclude each other.
func (w *sweep) first(s slot) (owner int, found feature, ok bool) {
	owner = w.open[s].first()
	if owner < 0 {
		return owner, feature{}, false
	}
	for _, f := range w.facets[owner].Features {
		if f.slot() == s {
			return owner, f, true
		}
	}
	return owner, feature{}, false
}

// section is the stretch from one edge to the next.
func (w *sweep) section(text string, from, to int) section {
	s := section{text: text[from:to], end: to, form: "text", owner: -1}
	s.piece.Bold = w.open[slotBold].first() >= 0
	s.piece.Italic = w.open[slotItalic].first() >= 0
	s.piece.Strike = w.open[slotStrike].first() >= 0
	s.piece.Code = w.open[slotCode].first() >= 0
	if _, f, ok := w.first(slotTarget); ok {
		s.piece.Link, s.piece.Mention = f.URI, f.DID
	}
	if _, f, ok := w.first(slotSpoiler); ok {
		s.hide = f.Hides
	}
	if owner, f, ok := w.first(slotBlock); ok {
		s.owner, s.form = owner, blockForms[f.Kind]
	}
	return s
}

// blockForms maps features to kinds of blocks.
var blockForms = map[string]string{"blockquote": "quote", "heading": "heading", "codeBlock": "code"}

// numbers is a set of numbers of facets.
type numbers [(maxFacets + 63) / 64]uint64

func (n *numbers) add(i int)    { n[i/64] |= 1 << (i % 64) }
func (n *numbers) remove(i int) { n[i/64] &^= 1 << (i % 64) }

// first returns the lowest number, -1 when there is none.
func (n *numbers) first() int {
	for i, word := range n {
		if word != 0 {
			return 64*i + bits.TrailingZeros64(word)
		}
	}
	return -1
}
