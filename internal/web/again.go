package web

import (
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

// setback stands above a form that was not done: why, and a way on that leaves
// what was typed where it is. Pages with a form embed it.
type setback struct {
	Undone  string     // what has not happened, as a sentence
	Trouble string     // what is wrong with the whole; empty: nothing is
	SignIn  string     // address of the sign-in page, when that is the way on
	Grant   *grantForm // the permission to give, when that is the way on
}

// newSetback says what err means for a form that was sent for acting. Signing in
// and giving permissions happen in a tab of their own, which ends at returnTo.
func newSetback(err error, undone, acting, returnTo string) setback {
	f := fault.From(err)
	b := setback{Undone: undone, Trouble: f.Public}
	if f.RetryAfter > 0 {
		b.Trouble += " Try again in " + duration(f.RetryAfter) + "."
	}
	if b.Grant = newGrantForm(err, acting, returnTo); b.Grant != nil {
		b.Grant.Apart, b.Trouble = true, permissionMissing
		return b
	}
	if f.Kind == fault.Unauthenticated || f.Code == "MissingScope" {
		b.SignIn = "/sign-in?" + url.Values{"handle": {acting}, "return_to": {returnTo}}.Encode()
	}
	return b
}

// beside is what stands above a form in which one field is wrong.
func (b *setback) beside() { b.Trouble = "One field needs another look." }

// formAgain is a page that shows a form once more.
type formAgain struct {
	name, title string
	data        any
	grant       *grantForm
}

// again makes an error show the form that it came from, with what was typed.
// The question which account is meant has a page of its own, which carries the
// form along; and a form that says no account at all is none of ours.
func (s *Server) again(err error, form url.Values, fill func(r *http.Request, v visitor) formAgain) error {
	if _, notOurs := syntax.ParseDID(form.Get(fieldActing)); notOurs != nil || asksWho(err) {
		return err
	}
	return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
		v, lookup := s.visitor(w, r) // where that fails, too, the text is worth more than the name above it
		shown := fill(r, v)
		if shown.grant != nil {
			httpserver.FormsLeadElsewhere(w.Header())
		}
		p := s.pageFor(r, v, shown.title, shown.data)
		p.Quiet = lookup != nil
		return s.pages.write(w, status, shown.name, p)
	}}
}

// chooseAgain is beside a field for files that came with a form which was not
// done: browsers send what was chosen once only.
const chooseAgain = "Choose this again: browsers forget files that were sent."

// fieldFilesLeft says that a form which was carried along by the question who
// is meant had files, which cannot be.
const fieldFilesLeft = "files-left"

// filesLeftError is that question about such a form.
type filesLeftError struct{ error }

// Unwrap returns the question.
func (e *filesLeftError) Unwrap() error { return e.error }

// errFilesLeft brings the form back for its files, rather than do without them
// what was meant with them.
var errFilesLeft = fault.New(fault.Invalid, "The files that you chose could not be carried along. Choose them again, or send the form without.")

// filesWriter is writer for a form that may have files.
func (s *Server) filesWriter(w http.ResponseWriter, r *http.Request, form upload) (agent.Actor, error) {
	actor, err := s.writer(w, r, form.Values)
	switch {
	case asksWho(err) && len(form.chosen) > 0:
		return actor, &filesLeftError{err}
	case err == nil && form.Get(fieldFilesLeft) == "yes":
		return actor, errFilesLeft
	}
	return actor, err
}
