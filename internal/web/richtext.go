package web

import (
	"net/url"
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

// What one post may cost its readers. A text that goes beyond either limit is
// plain text from there on.
const (
	maxPieces = 300      // stretches between facets and blank lines
	maxMarkup = 32 << 10 // bytes of addresses, DIDs and reasons
)

// richText turns a text and its facets into blocks for the templates, which
// do the escaping. Overlapping facets are cut where they cross.
func richText(text string, facets []facet) []block {
	b := builder{pieces: maxPieces, markup: maxMarkup}
	for _, s := range sections(text, facets) {
		if left, ok := b.add(s); !ok {
			b.append(section{form: "text", owner: -1}, text[s.end-len(left):])
			break
		}
	}
	var kept []block
	for _, b := range b.blocks {
		trimBreaks(&b)
		if b.Runs = foldRuns(b.Runs); len(b.Runs) > 0 {
			kept = append(kept, b)
		}
	}
	return kept
}

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

// builder puts sections together to blocks.
type builder struct {
	blocks         []block
	fresh          bool // a blank line ended the last block
	pieces, markup int  // what is left of maxPieces and maxMarkup
}

// add appends s. Plain text is cut into paragraphs at blank lines. At a limit it
// stops and returns how much of the section's text is left.
func (b *builder) add(s section) (left string, ok bool) {
	if s.piece.Link != "" && len(s.piece.Link) <= b.markup {
		s.piece.Elsewhere = elsewhere(s.text, s.piece.Link)
	}
	for left = s.text; ; {
		if !b.pay(s) {
			return left, false
		}
		part, rest, more := left, "", false
		if s.form == "text" {
			part, rest, more = cutParagraph(left)
		}
		b.append(s, part)
		if !more {
			return "", true
		}
		left, b.fresh = rest, true
	}
}

// pay takes one piece of s off the limits.
func (b *builder) pay(s section) bool {
	cost := len(s.piece.Link) + len(s.piece.Mention) + len(s.piece.Elsewhere)
	if s.hide != nil && (b.begins(s) || b.last().Spoiler != s.hide) {
		cost += len(s.hide.Reason) // which is shown once for a run
	}
	if b.pieces == 0 || cost > b.markup {
		return false
	}
	b.pieces--
	b.markup -= cost
	return true
}

// begins tells whether s starts a block.
func (b *builder) begins(s section) bool {
	return b.fresh || len(b.blocks) == 0 || b.blocks[len(b.blocks)-1].owner != s.owner
}

// last is the newest run.
func (b *builder) last() run {
	runs := b.blocks[len(b.blocks)-1].Runs
	return runs[len(runs)-1]
}

// append adds text in the form of s to the block that it continues, or to a new
// one.
func (b *builder) append(s section, text string) {
	if b.begins(s) {
		b.blocks = append(b.blocks, block{Kind: s.form, owner: s.owner})
	}
	b.fresh = false
	p := s.piece
	p.Text = strings.ReplaceAll(text, "\r\n", "\n")
	to := &b.blocks[len(b.blocks)-1]
	to.Runs = append(to.Runs, run{Spoiler: s.hide, Pieces: []piece{p}})
}

// cutParagraph cuts at the first blank line, if there is one.
func cutParagraph(s string) (part, rest string, found bool) {
	for at := 0; ; {
		i := strings.IndexByte(s[at:], '\n')
		if i < 0 {
			return s, "", false
		}
		at += i + 1
		if strings.HasPrefix(s[at:], "\n") || strings.HasPrefix(s[at:], "\r\n") {
			return strings.TrimRight(s[:at], "\r\n"), strings.TrimLeft(s[at:], "\r\n"), true
		}
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
