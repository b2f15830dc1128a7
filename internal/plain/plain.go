// Package plain reads JSON of the plainest form, without reflection and without
// copies. It accepts less than encoding/json, and nothing that encoding/json
// refuses: whoever is told no asks that.
package plain

// maxDepth is how deep values may nest.
const maxDepth = 64

// Scanner reads a document from front to back. Once a method has said no, the
// rest is of no use. The data must be valid UTF-8; what is returned is part of it.
type Scanner struct {
	data []byte
	pos  int
}

// New begins at the start of data.
func New(data []byte) *Scanner { return &Scanner{data: data} }

// Object reads an object. field is called with each key and must read its
// value; it says no to what it does not know, and to a key that comes twice.
func (s *Scanner) Object(field func(key []byte) bool) bool {
	if !s.accept('{') {
		return false
	}
	if s.accept('}') {
		return true
	}
	for {
		key, ok := s.Text()
		if !ok || !s.accept(':') || !field(key) {
			return false
		}
		if !s.accept(',') {
			return s.accept('}')
		}
	}
}

// Text reads a string of printable ASCII without escapes.
func (s *Scanner) Text() ([]byte, bool) {
	if !s.accept('"') {
		return nil, false
	}
	for i := s.pos; i < len(s.data); i++ {
		switch c := s.data[i]; {
		case c == '"':
			text := s.data[s.pos:i]
			s.pos = i + 1
			return text, true
		case c < ' ' || c > '~' || c == '\\':
			return nil, false
		}
	}
	return nil, false
}

// Integer reads a whole number of at most 18 digits.
func (s *Scanner) Integer() (int64, bool) {
	s.space()
	negative := s.pos < len(s.data) && s.data[s.pos] == '-'
	if negative {
		s.pos++
	}
	start, n := s.pos, int64(0)
	for ; s.pos < len(s.data) && isDigit(s.data[s.pos]); s.pos++ {
		if s.pos-start == 18 {
			return 0, false
		}
		n = 10*n + int64(s.data[s.pos]-'0')
	}
	digits := s.pos - start
	if digits == 0 || digits > 1 && s.data[start] == '0' || s.pos < len(s.data) && (s.data[s.pos] == '.' || s.data[s.pos]|0x20 == 'e') {
		return 0, false
	}
	if negative {
		n = -n
	}
	return n, true
}

// Value reads any value and returns it as it stands.
func (s *Scanner) Value() ([]byte, bool) {
	s.space()
	start := s.pos
	if !s.value(maxDepth) {
		return nil, false
	}
	return s.data[start:s.pos], true
}

// End reports whether nothing follows.
func (s *Scanner) End() bool {
	s.space()
	return s.pos == len(s.data)
}

func (s *Scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\r', '\n':
			s.pos++
		default:
			return
		}
	}
}

// accept passes over a character, and the space before it.
func (s *Scanner) accept(c byte) bool {
	s.space()
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *Scanner) value(depth int) bool {
	s.space()
	if s.pos == len(s.data) || depth == 0 {
		return false
	}
	switch c := s.data[s.pos]; c {
	case '{':
		return s.list('}', func() bool { return s.text() && s.accept(':') && s.value(depth-1) })
	case '[':
		return s.list(']', func() bool { return s.value(depth - 1) })
	case '"':
		return s.text()
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

// list reads what stands between brackets; the first one is next.
func (s *Scanner) list(end byte, element func() bool) bool {
	s.pos++
	if s.accept(end) {
		return true
	}
	for {
		if !element() {
			return false
		}
		if !s.accept(',') {
			return s.accept(end)
		}
	}
}

func (s *Scanner) word(word string) bool {
	if len(s.data)-s.pos < len(word) || string(s.data[s.pos:s.pos+len(word)]) != word {
		return false
	}
	s.pos += len(word)
	return true
}

// text reads any string.
func (s *Scanner) text() bool {
	if !s.accept('"') {
		return false
	}
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		s.pos++
		switch {
		case c == '"':
			return true
		case c < ' ':
			return false
		case c == '\\' && !s.escape():
			return false
		}
	}
	return false
}

// escape reads what follows a backslash.
func (s *Scanner) escape() bool {
	if s.pos == len(s.data) {
		return false
	}
	c := s.data[s.pos]
	s.pos++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
		for range 4 {
			if s.pos == len(s.data) || !isHex(s.data[s.pos]) {
				return false
			}
			s.pos++
		}
		return true
	}
	return false
}

// number reads a number (RFC 8259, section 6).
func (s *Scanner) number() bool {
	s.optional('-')
	if !s.optional('0') && !s.digits() {
		return false
	}
	if s.optional('.') && !s.digits() {
		return false
	}
	if s.optional('e') || s.optional('E') {
		_ = s.optional('+') || s.optional('-')
		return s.digits()
	}
	return true
}

func (s *Scanner) optional(c byte) bool {
	if s.pos < len(s.data) && s.data[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

func (s *Scanner) digits() bool {
	start := s.pos
	for s.pos < len(s.data) && isDigit(s.data[s.pos]) {
		s.pos++
	}
	return s.pos > start
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }
