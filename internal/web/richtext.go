package web

import (
	"net/url"
	"sort"
	"strings"
)

// block is a paragraph of a text, or a stretch with a form of its own.
type block struct {
	Kind string // "text", "quote", "code" or "heading"
	Runs []run

	owner int // the facet that makes the block, -1 for plain text
}

// run is a stretch within a block; with a Spoiler it is shown on demand only.
type run struct {
	Spoiler *spoiler
	Pieces  []piece
}

// spoiler says why a stretch is hidden; Reason may be empty.
type spoiler struct{ Reason string }

// piece is the smallest stretch: one text, one form.
type piece struct {
	Text                       string
	Bold, Italic, Strike, Code bool
	Link, Mention              string
	Elsewhere                  string // the link's host, where the text names another one
}

// richText turns a text and its facets into blocks for the templates, which
// do the escaping. Overlapping facets are cut where they cross.
func richText(text string, facets []facet) []block {
	var all []block
	for _, s := range sections(text, facets) {
		all = appendSection(all, s)
	}
	var kept []block
	for _, b := range all {
		trimBreaks(&b)
		if b.Runs = foldRuns(b.Runs); len(b.Runs) > 0 {
			kept = append(kept, b)
		}
	}
	return kept
}

// section is a stretch between two boundaries of facets.
type section struct {
	text  string
	form  string // kind of the block that it belongs to
	owner int    // index of the facet that makes the block; -1 for none
	hide  *spoiler
	piece piece
}

// sections cuts text at every boundary. The result covers all of text.
func sections(text string, facets []facet) []section {
	cuts := []int{0, len(text)}
	for _, f := range facets {
		cuts = append(cuts, f.Start, f.End)
	}
	sort.Ints(cuts)
	hides := make(map[int]*spoiler)
	var out []section
	for i := 1; i < len(cuts); i++ {
		from, to := cuts[i-1], cuts[i]
		if from == to {
			continue
		}
		s := section{text: text[from:to], form: "text", owner: -1}
		for at, f := range facets {
			if f.Start <= from && to <= f.End {
				s.apply(at, f.Features, hides)
			}
		}
		out = append(out, s)
	}
	return out
}

// apply adds the features of facet number at. Of several links, mentions,
// spoilers and blocks the first counts.
func (s *section) apply(at int, features []feature, hides map[int]*spoiler) {
	for _, f := range features {
		switch f.Kind {
		case "bold":
			s.piece.Bold = true
		case "italic":
			s.piece.Italic = true
		case "strikethrough":
			s.piece.Strike = true
		case "code":
			s.piece.Code = true
		case "link":
			if s.piece.Link == "" && s.piece.Mention == "" {
				s.piece.Link, s.piece.Elsewhere = f.URI, elsewhere(s.text, f.URI)
			}
		case "mention":
			if s.piece.Link == "" && s.piece.Mention == "" {
				s.piece.Mention = f.DID
			}
		case "spoiler":
			if s.hide == nil {
				if hides[at] == nil {
					hides[at] = &spoiler{Reason: f.Reason}
				}
				s.hide = hides[at]
			}
		case "blockquote", "heading", "codeBlock":
			if s.owner < 0 {
				s.owner, s.form = at, blockForms[f.Kind]
			}
		}
	}
}

// blockForms maps features to kinds of blocks.
var blockForms = map[string]string{"blockquote": "quote", "heading": "heading", "codeBlock": "code"}

// elsewhere returns the host of link if text looks like an address of some
// other host, so that a reader sees where the link really goes.
func elsewhere(text, link string) string {
	shown := strings.TrimSpace(text)
	if !strings.Contains(shown, "://") {
		shown = "https://" + shown
	}
	claimed, err := url.Parse(shown)
	target, err2 := url.Parse(link)
	if err != nil || err2 != nil || !strings.Contains(claimed.Hostname(), ".") {
		return ""
	}
	trim := func(u *url.URL) string { return strings.TrimPrefix(strings.ToLower(u.Hostname()), "www.") }
	if trim(claimed) == trim(target) {
		return ""
	}
	return target.Hostname()
}

// appendSection adds s to the block that it continues, or starts new ones.
// Plain text is cut into paragraphs at blank lines.
func appendSection(blocks []block, s section) []block {
	parts := []string{s.text}
	if s.form == "text" {
		parts = splitParagraphs(s.text)
	}
	for i, part := range parts {
		last := len(blocks) - 1
		if i > 0 || last < 0 || blocks[last].owner != s.owner {
			blocks = append(blocks, block{Kind: s.form, owner: s.owner})
			last++
		}
		p := s.piece
		p.Text = part
		blocks[last].Runs = append(blocks[last].Runs, run{Spoiler: s.hide, Pieces: []piece{p}})
	}
	return blocks
}

// splitParagraphs cuts at runs of two or more line breaks.
func splitParagraphs(s string) []string {
	s = strings.ReplaceAll(s, "\r\n", "\n")
	var out []string
	for {
		i := strings.Index(s, "\n\n")
		if i < 0 {
			return append(out, s)
		}
		out = append(out, s[:i])
		s = strings.TrimLeft(s[i:], "\n")
	}
}

// trimBreaks takes line breaks off both ends of b: the space between blocks
// is the stylesheet's.
func trimBreaks(b *block) {
	for i := range b.Runs {
		p := &b.Runs[i].Pieces[0]
		if p.Text = strings.TrimLeft(p.Text, "\r\n"); p.Text != "" {
			break
		}
	}
	for i := len(b.Runs) - 1; i >= 0; i-- {
		p := &b.Runs[i].Pieces[0]
		if p.Text = strings.TrimRight(p.Text, "\r\n"); p.Text != "" {
			break
		}
	}
}

// foldRuns drops empty runs and joins neighbours under one spoiler, so that
// one switch shows all of it.
func foldRuns(runs []run) []run {
	var out []run
	for _, r := range runs {
		if r.Pieces[0].Text == "" {
			continue
		}
		if n := len(out) - 1; n >= 0 && out[n].Spoiler == r.Spoiler {
			out[n].Pieces = append(out[n].Pieces, r.Pieces...)
			continue
		}
		out = append(out, r)
	}
	return out
}
