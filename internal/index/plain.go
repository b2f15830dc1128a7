package index

import (
	"bytes"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/plain"
)

// Plain is a record that was read from JSON of the plainest form, validation
// included. Most records on a stream are votes, most others comments and
// subscriptions, and most of these are such.
type Plain struct {
	// JSON is the record as it came.
	JSON  []byte
	value value
}

// ReadPlain reads a record of one of the types of which there are most. It
// accepts nothing that its lexicon does not; what it says no to may be fine all
// the same, and is to be decoded and prepared as others are.
func ReadPlain(collection string, record []byte) (*Plain, bool) {
	var v value
	var ok bool
	switch collection {
	case string(VoteCollection):
		v, ok = readPlainVote(record)
	case string(SubscriptionCollection):
		v, ok = readPlainSubscription(record)
	case string(CommentCollection):
		v, ok = readPlainComment(record)
	}
	if !ok {
		return nil, false
	}
	return &Plain{JSON: record, value: v}, true
}

func readPlainVote(record []byte) (stand, bool) {
	v := stand{}
	var seen once
	s := plain.New(record)
	ok := s.Object(func(key []byte) bool {
		if string(key) == "subject" {
			var ok bool
			v.subject, ok = readPlainRef(s)
			return ok && seen.first(0)
		}
		text, ok := s.Text()
		if !ok {
			return false
		}
		switch string(key) {
		case "$type":
			return seen.first(1) && string(text) == string(VoteCollection)
		case "direction":
			if v.value = 1; string(text) != "up" {
				v.value = -1
			}
			return seen.first(2) && (v.value == 1 || string(text) == "down")
		case "createdAt":
			return seen.first(3) && isPlainTime(text)
		}
		return false
	})
	return v, ok && s.End() && seen == 0b1111
}

func readPlainSubscription(record []byte) (stand, bool) {
	v := stand{value: defaultVisible}
	var seen once
	s := plain.New(record)
	ok := s.Object(func(key []byte) bool {
		if string(key) == "contentVisibility" {
			n, ok := s.Integer()
			v.value = min(max(n, leastVisible), mostVisible)
			return ok && seen.first(3)
		}
		text, ok := s.Text()
		if !ok {
			return false
		}
		switch string(key) {
		case "$type":
			return seen.first(0) && string(text) == string(SubscriptionCollection)
		case "createdAt":
			return seen.first(1) && isPlainTime(text)
		case "subject":
			var err error
			v.account, err = syntax.ParseDID(string(text))
			return seen.first(2) && err == nil && len(text) <= MaxDIDBytes && accountMethod(v.account)
		}
		return false
	})
	return v, ok && s.End() && seen&0b0111 == 0b0111
}

// plainLetters is how long a comment may be: one letter is one grapheme here.
const plainLetters = 3000

// readPlainComment reads a comment that is nothing but text. The record is kept
// as it came, which must be how encode writes it.
func readPlainComment(record []byte) (commentValue, bool) {
	v := commentValue{record: record}
	var seen once
	s := plain.New(record)
	ok := isEncoded(record) && s.Object(func(key []byte) bool {
		if string(key) == "reply" {
			ok := s.Object(func(key []byte) (ok bool) {
				switch string(key) {
				case "parent":
					v.parent, ok = readPlainRef(s)
					return ok && seen.first(0)
				case "root":
					v.root, ok = readPlainRef(s)
					return ok && seen.first(1)
				}
				return false
			})
			return ok && seen.first(2)
		}
		text, ok := s.Text()
		if !ok {
			return false
		}
		switch string(key) {
		case "$type":
			return seen.first(3) && string(text) == string(CommentCollection)
		case "content":
			return seen.first(4) && len(text) <= plainLetters
		case "createdAt":
			at, err := time.Parse(time.RFC3339Nano, string(text))
			v.createdAt = at.UnixMicro()
			return seen.first(5) && isPlainTime(text) && err == nil
		}
		return false
	})
	ok = ok && s.End() && seen == 0b111111 && v.root.kind == toPost && len(record) <= MaxRecordBytes
	if v.parent == v.root {
		v.parent = target{}
	}
	return v, ok && (v.parent.kind == 0 || v.parent.kind == toComment)
}

// isEncoded reports whether JSON that holds but objects and plain text is as
// encode writes it: keys in their order, and no space.
func isEncoded(record []byte) bool {
	var last [maxPlainDepth][]byte // key of each object that is open
	depth := -1
	for i := 0; i < len(record); i++ {
		switch record[i] {
		case '{':
			if depth++; depth == len(last) {
				return false
			}
			last[depth] = nil
		case '}':
			if depth--; depth < -1 {
				return false
			}
		case '"':
			n := bytes.IndexByte(record[i+1:], '"')
			if n < 0 {
				return false
			}
			text := record[i+1 : i+1+n]
			i += n + 1
			if depth < 0 || i+1 < len(record) && record[i+1] == ':' {
				if depth < 0 || bytes.Compare(text, last[depth]) <= 0 {
					return false
				}
				last[depth] = text
			}
		case ',', ':':
		default:
			return false
		}
	}
	return true
}

// maxPlainDepth is how deep plain records nest.
const maxPlainDepth = 4

// readPlainRef reads a com.atproto.repo.strongRef.
func readPlainRef(s *plain.Scanner) (t target, ok bool) {
	var seen once
	ok = s.Object(func(key []byte) bool {
		text, ok := s.Text()
		if !ok {
			return false
		}
		switch string(key) {
		case "uri":
			var err error
			t, err = parseTarget(string(text))
			return seen.first(0) && err == nil && accountMethod(t.did)
		case "cid":
			return seen.first(1) && isCID(string(text))
		}
		return false
	})
	return t, ok && seen == 0b11
}

// once tells what was met before.
type once uint8

func (o *once) first(n int) bool {
	before := *o
	*o |= 1 << n
	return before != *o
}

// isPlainTime accepts the datetimes that programs write, in UTC (AT Protocol
// Lexicon specification, datetime), but for those of the last days of a month,
// which take a calendar.
func isPlainTime(text []byte) bool {
	const form = "0000-00-00T00:00:00"
	if len(text) < len(form)+1 || len(text) > len(form)+11 || text[len(text)-1] != 'Z' {
		return false
	}
	for i, c := range text[:len(text)-1] {
		switch {
		case i == len(form):
			if c != '.' || len(text) == len(form)+2 {
				return false
			}
		case i > len(form) || form[i] == '0':
			if c < '0' || c > '9' {
				return false
			}
		case c != form[i]:
			return false
		}
	}
	two := func(at int) int { return 10*int(text[at]-'0') + int(text[at+1]-'0') }
	month, day := two(5), two(8)
	return two(0) > 0 && month >= 1 && month <= 12 && day >= 1 && day <= 28 && two(11) < 24 && two(14) < 60 && two(17) < 60
}

// isTID holds the rule "key": "tid" of a lexicon (AT Protocol TID
// specification), as syntax.ParseTID does.
func isTID(k syntax.RecordKey) bool {
	if len(k) != 13 || k[0] > 'j' {
		return false
	}
	for i := range len(k) {
		if c := k[i]; c < '2' || c > '7' && c < 'a' || c > 'z' {
			return false
		}
	}
	return true
}

// IsTID reports whether text is a TID, as syntax.ParseTID does, in a fraction of
// the time.
func IsTID(text string) bool { return isTID(syntax.RecordKey(text)) }

// isCID is what syntax.ParseCID accepts.
func isCID(text string) bool {
	if len(text) < 8 || len(text) > 256 || strings.HasPrefix(text, "Qmb") {
		return false
	}
	for i := range len(text) {
		c := text[i]
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '+' && c != '=' {
			return false
		}
	}
	return true
}
