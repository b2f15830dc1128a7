package web

import (
	"errors"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/atoll-social/atoll/internal/fault"
)

// smallForm bounds the body of every form but the one for posts, in bytes.
const smallForm = 16 << 10

// field is one labelled input of a form.
type field struct {
	Name         string
	Label        string
	Hint         string
	Value        string // what was typed; shown again after a mistake
	Wrong        string // what is wrong with Value and what to do
	Rows         int    // more than zero makes it a text area
	Autocomplete string
	Options      []string // offered while typing
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

// readForm parses the body of a form, of at most limit bytes. Every field is
// valid UTF-8, free of control characters other than tab and line breaks (which
// come out as "\n"), and there once. Afterwards r.PostForm is what it returns.
// Errors are fit for people; over the limit it is *http.MaxBytesError.
func readForm(w http.ResponseWriter, r *http.Request, limit int64) (url.Values, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, fault.New(fault.Invalid, "This address takes a form. Open the page that has it and send it from there.")
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	if err := r.ParseForm(); err != nil {
		return nil, formFault(err)
	}
	for name, values := range r.PostForm {
		if len(values) != 1 || !cleanText(name) || !cleanText(values[0]) {
			r.PostForm = url.Values{} // not worth showing again
			return nil, fault.New(fault.Invalid, "The form holds something that is not readable text, so nothing was done. Open the page again and type it anew.")
		}
		r.PostForm.Set(name, strings.ReplaceAll(values[0], "\r\n", "\n"))
	}
	return r.PostForm, nil
}

// formFault makes a fault of a parse error. A body that is too long stays
// what it is: the server answers it by its own status.
func formFault(err error) error {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return err
	}
	return fault.Wrap(fault.Invalid, err, "The form arrived damaged, so nothing was done. Open the page again and send it once more.")
}

// cleanText tells whether s is UTF-8 without control characters that nobody
// types. Lone carriage returns are refused too: some readers hide lines by them.
func cleanText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(strings.ReplaceAll(s, "\r\n", "\n"), func(r rune) bool {
		return unicode.IsControl(r) && r != '\n' && r != '\t'
	})
}
