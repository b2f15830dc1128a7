package web

import (
	"strings"
)

// field is one labelled input of a form.
type field struct {
	Name         string
	Label        string
	Hint         string
	Value        string // what was typed; shown again after a mistake
	Wrong        string // what is wrong with Value and what to do
	Rows         int    // more than zero makes it a text area
	Autocomplete string
	Required     bool
	Literal      bool // an identifier: no capitals, no spelling
	Focus        bool
}

// DescribedBy names the elements that explain the input, for screen readers.
func (f field) DescribedBy() string {
	var ids []string
	if f.Wrong != "" {
		ids = append(ids, f.Name+"-wrong")
	}
	if f.Hint != "" {
		ids = append(ids, f.Name+"-hint")
	}
	return strings.Join(ids, " ")
}

// hidden is a value that a form carries along unseen.
type hidden struct{ Name, Value string }
