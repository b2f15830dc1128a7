package markup

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// maxDepth bounds how deeply marks stand within marks.
const maxDepth = 6

// pairs are the marks that stand on both sides of a stretch, longer ones
// first.
var pairs = []struct{ mark, kind string }{
	{"**", "bold"}, {"~~", "strikethrough"}, {"||", "spoiler"}, {"*", "italic"}, {"`", "code"},
}

// special are the characters that a backslash makes plain.
const special = "\\*~|`[]()>#@_"

// How far the end of a link's text and of an address is looked for, in bytes.
const (
	maxLabel   = 1000
	maxAddress = 2000
)

// head is s, cut where it is longer than any form.
func head(s string, most int) string { return s[:min(len(s), most)] }

// inline takes the forms within a line.
func (p *parser) inline(s string, depth int) {
	var open [8]bool // marks that this stretch doesn't close any more
	for i := 0; i < len(s); {
		n := 0
		if !p.full() {
			n = p.stretch(s, i, depth, &open)
		}
		if n == 0 && s[i] == '\\' && i+1 < len(s) && strings.IndexByte(special, s[i+1]) >= 0 {
			p.plain.WriteByte(s[i+1])
			n = 2
		}
		if n == 0 {
			_, n = utf8.DecodeRuneInString(s[i:])
			p.plain.WriteString(s[i : i+n])
		}
		i += n
	}
}

// stretch takes the form that begins at i and returns how long its source is,
// 0 when none begins there.
func (p *parser) stretch(s string, i, depth int, open *[8]bool) int {
	switch {
	case depth >= maxDepth:
		return 0
	case s[i] == '[':
		return p.link(s, i, depth)
	case s[i] == 'h':
		return p.address(s, i)
	case s[i] == '@':
		return p.mention(s, i)
	}
	for k, pair := range pairs {
		if !strings.HasPrefix(s[i:], pair.mark) {
			continue
		}
		inner, ok := between(s, i, pair.mark, &open[k])
		if !ok {
			continue
		}
		start := p.plain.Len()
		if pair.kind == "code" {
			p.plain.WriteString(inner)
		} else {
			p.inline(inner, depth+1)
		}
		p.mark(start, Feature{Kind: pair.kind})
		return len(inner) + 2*len(pair.mark)
	}
	return 0
}

// between returns what stands between the mark at i and the next one that
// closes it. open remembers that none follows, so that this is looked for once.
func between(s string, i int, mark string, open *bool) (string, bool) {
	from := i + len(mark)
	if *open || from >= len(s) || s[from] == ' ' || strings.HasPrefix(s[from:], mark[:1]) || mark == "*" && wordBefore(s, i) {
		return "", false
	}
	for at := from; at < len(s); {
		if s[at] == '\\' && mark != "`" {
			at += 2
			continue
		}
		if strings.HasPrefix(s[at:], mark) && closes(s, at, mark) {
			return s[from:at], true
		}
		at += skip(s[at:], mark)
	}
	*open = true
	return "", false
}

// skip is how far to go on when s doesn't close mark: past a run of its
// character, so that ** is not taken for two *.
func skip(s, mark string) int {
	run := len(s) - len(strings.TrimLeft(s, mark[:1]))
	return max(run, 1)
}

func closes(s string, at int, mark string) bool {
	if s[at-1] == ' ' && mark != "`" {
		return false
	}
	rest := s[at+len(mark):]
	if mark == "*" {
		r, _ := utf8.DecodeRuneInString(rest)
		return !strings.HasPrefix(rest, "*") && (rest == "" || !isWord(r))
	}
	return true
}

func wordBefore(s string, i int) bool {
	r, _ := utf8.DecodeLastRuneInString(s[:i])
	return i > 0 && isWord(r)
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }

// link takes [text](address).
func (p *parser) link(s string, i, depth int) int {
	label, _, ok := strings.Cut(head(s[i+1:], maxLabel), "](")
	if !ok || label == "" || strings.Contains(label, "[") {
		return 0
	}
	rest := head(s[i+1+len(label)+2:], maxAddress)
	end := strings.IndexByte(rest, ')')
	if end < 0 {
		return 0
	}
	uri, ok := WebAddress(rest[:end])
	if !ok {
		return 0
	}
	start := p.plain.Len()
	before := len(p.facets)
	p.inline(label, depth+1)
	p.facets = dropTargets(p.facets, before)
	p.mark(start, Feature{Kind: "link", URI: uri})
	return 1 + len(label) + 2 + end + 1
}

// dropTargets takes links and mentions out of the facets from here on: a link
// leads to one place.
func dropTargets(facets []Facet, from int) []Facet {
	kept := facets[:from]
	for _, f := range facets[from:] {
		if f.Feature.Kind != "link" && f.Feature.Kind != "mention" {
			kept = append(kept, f)
		}
	}
	return kept
}

// address takes a bare address.
func (p *parser) address(s string, i int) int {
	if !strings.HasPrefix(s[i:], "https://") && !strings.HasPrefix(s[i:], "http://") || wordBefore(s, i) {
		return 0
	}
	near := head(s[i:], maxAddress)
	end := strings.IndexFunc(near, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("<>\"*|`\\", r) })
	if end < 0 {
		end = len(near)
	}
	typed := strings.TrimRight(s[i:i+end], ".,;:!?)]'~")
	uri, ok := WebAddress(typed)
	if !ok {
		return 0
	}
	start := p.plain.Len()
	p.plain.WriteString(typed)
	p.mark(start, Feature{Kind: "link", URI: uri})
	return len(typed)
}

// WebAddress accepts absolute http and https addresses with a host and without
// a user name, which would dress one host up as another.
func WebAddress(raw string) (string, bool) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", false
	}
	return u.String(), true
}

// mention takes @handle.
func (p *parser) mention(s string, i int) int {
	if wordBefore(s, i) {
		return 0
	}
	near := head(s[i+1:], 256)
	end := strings.IndexFunc(near, func(r rune) bool {
		return r != '.' && r != '-' && (r > unicode.MaxASCII || !isWord(r))
	})
	if end < 0 {
		end = len(near)
	}
	typed := strings.TrimRight(s[i+1:i+1+end], ".-")
	handle, err := syntax.ParseHandle(typed)
	if err != nil {
		return 0
	}
	start := p.plain.Len()
	p.plain.WriteString(s[i : i+1+len(typed)])
	p.mark(start, Feature{Kind: "mention", Handle: handle.Normalize()})
	return 1 + len(typed)
}
