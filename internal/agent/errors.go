package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
)

// Kind is why something could not be done for a member (A6).
type Kind uint8

// The kinds.
const (
	NeedsSignIn Kind = iota + 1 // the session is over, or is with a former server
	NeedsScope                  // the member has not granted what this takes; see Scopes
	RateLimited                 // the member's server wants fewer requests; see Until
	Unreachable                 // the member's server does not answer; the same request may be made again
	Refused                     // the member's server says no, in its own words
	Taken                       // another record is there under the key
	Stale                       // the record has changed, or is gone, since it was read
)

var kindNames = [...]string{"", "needs sign-in", "needs scope", "rate limited", "unreachable", "refused", "taken", "stale"}

// String returns the kind's name as it appears in logs.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error says why something could not be done. A fault.Error that a person may
// be shown is inside.
type Error struct {
	Kind Kind
	// Scopes are to be asked for, with NeedsScope.
	Scopes []string
	// Until is when a rate limit ends; zero when the server does not say.
	Until time.Time

	public *fault.Error
}

// Error returns the text for the log.
func (e *Error) Error() string { return e.Kind.String() + ": " + e.public.Error() }

// Unwrap returns what a person may be shown; the cause is inside that.
func (e *Error) Unwrap() error { return e.public }

// explain gives err its kind. scopes are what the call takes, for servers that
// do not name what is missing. Errors of our own keep no kind.
func (a *Agent) explain(err error, scopes ...string) error {
	var known *Error
	var refused *pds.Error
	var access *client.AccessError
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, errPasswordRefused):
		return passwordOver(err)
	case isOver(err):
		return &Error{Kind: NeedsSignIn, public: fault.Wrap(fault.Unauthenticated, err,
			"Your server has ended this session. Sign in again to go on.").WithCode("SignInAgain")}
	case errors.Is(err, client.ErrWrongHost):
		return &Error{Kind: NeedsSignIn, public: fault.Wrap(fault.Unauthenticated, err,
			"Your account has moved to another server. Sign in again to go on.").WithCode("SignInAgain")}
	case errors.Is(err, client.ErrMissingScope):
		if errors.As(err, &access) && !access.Missing.IsEmpty() {
			scopes = access.Missing.List()
		}
		return &Error{Kind: NeedsScope, Scopes: scopes, public: fault.Wrap(fault.Forbidden, err,
			"This takes a permission that you have not given: "+strings.Join(scopes, ", ")+". Sign in again to give it.").
			WithCode("MissingScope")}
	case errors.Is(err, client.ErrRateLimited), errors.As(err, &refused) && refused.Limited():
		return a.limited(err, refused)
	case isGone(err):
		return &Error{Kind: Refused, public: fault.Wrap(fault.Forbidden, err,
			"Your server says that your account is not active there, so nothing can be written.")}
	case errors.As(err, &refused) && refused.Status < 500:
		return &Error{Kind: Refused, public: pds.Fault(err)}
	case isUnreachable(err):
		return unreachable(err)
	}
	return err
}

func unreachable(cause error) error {
	return &Error{Kind: Unreachable, public: fault.Wrap(fault.Unavailable, cause,
		"Your server does not answer. Please try again in a minute; nothing will be there twice.")}
}

func isOver(err error) bool {
	return errors.Is(err, client.ErrEnded) || errors.Is(err, client.ErrNotFound) || errors.Is(err, client.ErrTokenExpired) ||
		errors.Is(err, client.ErrRevoked) || errors.Is(err, client.ErrWrongScheme) || errors.Is(err, client.ErrKeyWithdrawn) ||
		errors.Is(err, errNoPassword)
}

func isGone(err error) bool {
	return errors.Is(err, client.ErrDeactivated) || errors.Is(err, client.ErrTakenDown) || errors.Is(err, client.ErrAccountGone)
}

// isUnreachable also takes in a server whose answers make no sense, and our
// own clock: all of them may be better in a minute.
func isUnreachable(err error) bool {
	var refused *pds.Error
	return errors.As(err, &refused) || client.Temporary(err) || errors.Is(err, pds.ErrUnreachable) ||
		errors.Is(err, pds.ErrBadAnswer) || errors.Is(err, client.ErrRedirected) || errors.Is(err, client.ErrNotOAuth) ||
		errors.Is(err, client.ErrBadNonce) || errors.Is(err, client.ErrProofRefused) ||
		errors.Is(err, egress.ErrHostDown) || errors.Is(err, egress.ErrHostBusy) ||
		errors.Is(err, identity.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

func (a *Agent) limited(err error, refused *pds.Error) error {
	until, known := client.RetryAt(err)
	if !known && refused != nil && refused.RetryAfter > 0 {
		until, known = a.cfg.Now().Add(refused.RetryAfter), true
	}
	public := fault.Wrap(fault.Limited, err, "Your server takes no more from you for now. Please try again later.").
		WithCode("RateLimitExceeded")
	if known {
		public = public.After(max(0, until.Sub(a.cfg.Now())))
	}
	return &Error{Kind: RateLimited, Until: until, public: public}
}

func taken(place pds.Place) error {
	return &Error{Kind: Taken, public: fault.Wrap(fault.Conflict, fmt.Errorf("another record is at %s", place.URI()),
		"Something else was written under this key before. Begin anew.").WithCode("Conflict")}
}

func stale(place pds.Place, cause error) error {
	return &Error{Kind: Stale, public: fault.Wrap(fault.Conflict, fmt.Errorf("%s has changed: %w", place.URI(), cause),
		"This was changed elsewhere in the meantime. Look at it again, and then decide.").WithCode("InvalidSwap")}
}
