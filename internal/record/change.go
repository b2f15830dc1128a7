package record

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rivo/uniseg"

	"github.com/atoll-social/atoll/internal/fault"
)

// Change is a field of a request that keeps what is not sent. JSON null, or an
// empty value, takes away what was there.
type Change[T any] struct {
	Sent  bool
	Null  bool // sent as null, which is also an empty Value
	Value T
}

// UnmarshalJSON notes that the field was there.
func (c *Change[T]) UnmarshalJSON(raw []byte) error {
	c.Sent, c.Null = true, string(raw) == "null"
	return json.Unmarshal(raw, &c.Value)
}

// SetText notes a text in a change of a record, nil where it is taken away.
func SetText(change map[string]any, name string, c Change[string]) {
	switch value := strings.TrimSpace(c.Value); {
	case !c.Sent:
	case value == "":
		change[name] = nil
	default:
		change[name] = value
	}
}

// Merge makes the fields of change those of a record; nil takes one away.
func Merge(record, change map[string]any) {
	for name, value := range change {
		if value == nil {
			delete(record, name)
		} else {
			record[name] = value
		}
	}
}

// CheckText refuses a text that is too long, in graphemes or in bytes
// (ContentTooLong), or cannot be shown (InvalidRequest). field is what people
// call it.
func CheckText(field, text string, graphemes, size int) error {
	// Bytes first: counting graphemes of a megabyte is work.
	if len(text) > size || uniseg.GraphemeClusterCount(text) > graphemes {
		return fault.New(fault.Invalid, fmt.Sprintf("The %s is too long: at most %d characters, %d bytes.", field, graphemes, size)).
			WithCode("ContentTooLong")
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
		return fault.New(fault.Invalid, fmt.Sprintf("The %s has characters that cannot be shown.", field)).WithCode("InvalidRequest")
	}
	return nil
}

// CheckLine is CheckText for a text of one line.
func CheckLine(field, text string, graphemes, size int) error {
	if err := CheckText(field, text, graphemes, size); err != nil {
		return err
	}
	if strings.ContainsAny(text, "\n\r\t") {
		return fault.New(fault.Invalid, fmt.Sprintf("The %s must be a single line.", field)).WithCode("InvalidRequest")
	}
	return nil
}

// isControl accepts the ends of lines and tabs.
func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }
