package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/pds"
)

// Reason is why something about a hosted account could not be done.
type Reason string

// The reasons.
const (
	Off         Reason = "off"         // hosting is not configured
	BadName     Reason = "name"        // nobody can have this name
	Taken       Reason = "taken"       // somebody has it
	TooMany     Reason = "too_many"    // the member has made enough of them for today
	Repeated    Reason = "repeated"    // the key of the request was used for another one
	Settings    Reason = "settings"    // the PDS refuses what the operator has configured
	Limited     Reason = "limited"     // the PDS wants fewer requests
	Unreachable Reason = "unreachable" // the PDS does not answer
	Unverified  Reason = "unverified"  // the network does not see the account as it should
	NeedsRepair Reason = "repair"      // the credentials do not work any more
	Inactive    Reason = "inactive"    // the account is not active at its PDS
	Internal    Reason = "internal"    // trouble of our own, such as the database
)

// Error says why, with what a person may be shown inside. Its text keeps the
// whole answer of the PDS for the operator.
type Error struct {
	Reason Reason
	public *fault.Error
}

// Error returns the text for the operator.
func (e *Error) Error() string { return string(e.Reason) + ": " + e.public.Error() }

// Unwrap returns what a person may be shown.
func (e *Error) Unwrap() error { return e.public }

func failure(reason Reason, kind fault.Kind, cause error, public string) *Error {
	return &Error{reason, fault.Wrap(kind, cause, public)}
}

// explain gives an error of the PDS or the network its reason.
func explain(err error) *Error {
	var known *Error
	var refused *pds.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &refused) && refused.Limited():
		e := failure(Limited, fault.Limited, err, "The server that keeps communities takes no more for now. Please try again later.")
		e.public = e.public.After(refused.RetryAfter)
		return e
	case errors.As(err, &refused) && refused.Name == pds.NameAccountTakedown:
		return failure(Inactive, fault.Unavailable, err, "The community's account is not active at its server, so nothing can be written there.")
	case errors.As(err, &refused) && refused.Status < 500:
		return failure(Settings, fault.Unavailable, err,
			"The server that keeps communities refused this. The operator of this site sees why, and has to mend it.")
	case !isAway(err):
		return &Error{Internal, fault.From(err)}
	}
	return failure(Unreachable, fault.Unavailable, err, "The server that keeps communities does not answer. Please try again in a few minutes.")
}

// isAway reports that the PDS gave no answer that could be used, or that somebody
// else is at the account and we must wait.
func isAway(err error) bool {
	var broken *pds.Error
	return errors.As(err, &broken) || errors.Is(err, pds.ErrUnreachable) || errors.Is(err, pds.ErrBadAnswer) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.Is(err, errHeld) || errors.Is(err, errLost) || errors.Is(err, errAgain)
}

// refusedName says why the PDS does not give out a name; nil when err is about
// something else.
func refusedName(name string, err error) *Error {
	var refused *pds.Error
	if !errors.As(err, &refused) || refused.Status >= 500 {
		return nil
	}
	words := strings.ToLower(refused.Message)
	switch {
	case strings.Contains(words, "handle already taken"), refused.Name == "HandleTaken":
		return taken(name, err)
	case refused.Name == pds.NameInvalidHandle, refused.Name == pds.NameHandleNotAvailable:
		return failure(BadName, fault.Invalid, err, fmt.Sprintf(
			"The server that keeps communities does not give out the name “%s” (%s). Please choose another one.", name, strings.ToLower(refused.Message)))
	}
	return nil
}

func taken(name string, cause error) *Error {
	e := failure(Taken, fault.Conflict, cause, fmt.Sprintf("The name “%s” is taken. Please choose another one.", name))
	e.public = e.public.WithCode("NameTaken")
	return e
}

// isTransient reports whether the same may well succeed later.
func isTransient(err error) bool {
	var known *Error
	if errors.As(err, &known) {
		return known.Reason == Unreachable || known.Reason == Limited || known.Reason == Internal ||
			known.Reason == Unverified && errors.Is(err, identity.ErrUnavailable)
	}
	return true // of our own: the database, a lease
}
