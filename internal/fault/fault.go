// Package fault is the vocabulary of errors that a person may be shown: a
// kind, a public sentence and a private cause. Surfaces map kinds to their
// own codes; an error that is not a fault is internal and stays private.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what sort of trouble an error is; surfaces derive statuses from it.
type Kind uint8

// The kinds. Internal is the zero value, so that a forgotten kind hides text
// instead of leaking it.
const (
	Internal        Kind = iota // our mistake; the cause is never shown
	Invalid                     // the request cannot be understood or breaks a limit
	Unauthenticated             // who is asking is unknown, or must sign in again
	Forbidden                   // known, and not allowed
	NotFound                    // does not exist, or is hidden from who is asking
	Conflict                    // contradicts the present state
	Limited                     // too much, too fast; see RetryAfter
	Unavailable                 // a part that is needed does not answer; try later
)

var kindNames = [...]string{
	"internal", "invalid", "unauthenticated", "forbidden",
	"not found", "conflict", "limited", "unavailable",
}

// String returns the kind's name as it appears in logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is trouble that a person may be told about.
type Error struct {
	Kind Kind
	// Code is the protocol's name for the error, such as CommunityNotFound.
	// Empty means that the surface derives one from Kind.
	Code string
	// Public is a whole sentence for a person: what happened and what to do.
	Public string
	// Cause is for the log only.
	Cause error
	// RetryAfter is how long to wait before trying again; zero means unknown.
	RetryAfter time.Duration
}

// New makes a fault without a cause. public is a whole sentence.
func New(kind Kind, public string) *Error {
	return &Error{Kind: kind, Public: public}
}

// Wrap makes a fault that keeps cause for the log.
func Wrap(kind Kind, cause error, public string) *Error {
	return &Error{Kind: kind, Public: public, Cause: cause}
}

// WithCode returns a copy of e that carries the protocol's error name.
func (e *Error) WithCode(code string) *Error {
	c := *e
	c.Code = code
	return &c
}

// After returns a copy of e that says when trying again makes sense.
func (e *Error) After(wait time.Duration) *Error {
	c := *e
	c.RetryAfter = wait
	return &c
}

// Error returns the text for the log: the public sentence and the cause.
func (e *Error) Error() string {
	if e.Cause == nil {
		return e.Public
	}
	return e.Public + ": " + e.Cause.Error()
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Cause }

// From returns the fault inside err. Any other error becomes an Internal one
// whose public sentence says nothing about it. From(nil) is nil.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Wrap(Internal, err, "Something went wrong on our side. Please try again.")
}

// KindOf returns the kind of the fault inside err, Internal for other errors.
// It must not be called with nil.
func KindOf(err error) Kind { return From(err).Kind }
