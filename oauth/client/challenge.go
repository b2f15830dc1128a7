package client

import (
	"net/http"
	"strings"
)

// challenge is one entry of WWW-Authenticate (RFC 9110, 11.6.1): a scheme and
// its parameters, names in lower case.
type challenge struct {
	scheme string
	params map[string]string
}

// maxChallenges bounds how many entries of a response are read.
const maxChallenges = 16

// challenges reads all entries of all header lines. What cannot be read ends
// its line; what came before it counts.
func challenges(h http.Header) []challenge {
	var out []challenge
	for _, line := range h.Values("WWW-Authenticate") {
		p := headerParser{rest: line}
		for len(out) < maxChallenges {
			ch, ok := p.challenge()
			if !ok {
				break
			}
			out = append(out, ch)
		}
	}
	return out
}

type headerParser struct{ rest string }

// challenge reads a scheme and its parameters up to the next scheme.
func (p *headerParser) challenge() (challenge, bool) {
	p.skip(" \t,")
	scheme := p.token()
	if scheme == "" {
		return challenge{}, false
	}
	ch := challenge{scheme: scheme, params: map[string]string{}}
	for {
		before := p.rest
		p.skip(" \t,")
		name := p.token()
		p.skip(" \t")
		if name == "" || !strings.HasPrefix(p.rest, "=") {
			p.rest = before // the next scheme, or the end
			return ch, true
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		value, ok := p.value()
		if !ok {
			p.rest = ""
			return ch, true
		}
		if name = strings.ToLower(name); ch.params[name] == "" {
			ch.params[name] = value
		}
	}
}

// skip drops leading characters of cut.
func (p *headerParser) skip(cut string) { p.rest = strings.TrimLeft(p.rest, cut) }

// token reads a token (RFC 9110, 5.6.2), perhaps an empty one.
func (p *headerParser) token() string {
	end := strings.IndexFunc(p.rest, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		end = len(p.rest)
	}
	word := p.rest[:end]
	p.rest = p.rest[end:]
	return word
}

// value reads a token or a quoted string.
func (p *headerParser) value() (string, bool) {
	if !strings.HasPrefix(p.rest, `"`) {
		word := p.token()
		return word, word != ""
	}
	var b strings.Builder
	for i := 1; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			p.rest = p.rest[i+1:]
			return b.String(), true
		case c == '\\' && i+1 < len(p.rest):
			i++
			b.WriteByte(p.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false
}
