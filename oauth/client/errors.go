package client

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/atoll-social/atoll/oauth"
)

// Errors of signing in. Those that a server caused come inside a *ServerError;
// an answer of the server in OAuth's own terms is an *oauth.Error.
var (
	// ErrUnreachable: the server did not answer, or answered that it cannot now
	// (5xx). Trying again later may help.
	ErrUnreachable = errors.New("server cannot be reached")
	// ErrRateLimited: the server wants fewer requests; see RetryAt.
	ErrRateLimited = errors.New("rate limited")
	// ErrNotOAuth: the server answered, but not as the specification demands of
	// a PDS or an authorization server. Trying again will not help.
	ErrNotOAuth = errors.New("server does not follow AT Protocol OAuth")
	// ErrRedirected: an answer was a redirect. Nothing was followed and nothing
	// was sent to the other place.
	ErrRedirected = errors.New("refused to follow a redirect")
	// ErrNoPDS: the identity names no usable PDS.
	ErrNoPDS = errors.New("account has no usable PDS")
	// ErrBadRequest: the caller's parameters are wrong, such as a redirect URI
	// or a scope that the client does not declare.
	ErrBadRequest = errors.New("bad sign-in parameters")
	// ErrKeyWithdrawn: the client key that a session or attempt is pinned to is
	// not in the key set any more.
	ErrKeyWithdrawn = errors.New("client key is gone")

	// ErrBadCallback: the callback's parameters are missing, repeated or contradictory.
	ErrBadCallback = errors.New("callback is malformed")
	// ErrUnknownState: no sign-in waits for this callback: it never did, it was
	// used already, or its store forgot it.
	ErrUnknownState = errors.New("no sign-in waits for this callback")
	// ErrStateExpired: the sign-in took longer than 30 minutes.
	ErrStateExpired = errors.New("sign-in took too long")
	// ErrWrongIssuer: the callback's iss is missing or not that of the server
	// that the sign-in began with. No token request was sent.
	ErrWrongIssuer = errors.New("callback comes from another issuer")
	// ErrDenied: the member declined; the error is a *DeniedError.
	ErrDenied = errors.New("member declined")
	// ErrTokenResponse: the token response breaks the specification otherwise.
	ErrTokenResponse = errors.New("token response is malformed")
	// ErrTokenType: the tokens are not bound to a key (token_type is not DPoP).
	ErrTokenType = errors.New("token response is not of type DPoP")
	// ErrNoAtproto: the granted scope lacks atproto.
	ErrNoAtproto = errors.New("granted scope lacks atproto")
	// ErrWrongSubject: the tokens are for another account, or for one whose
	// identity does not lead back to the issuer. They were revoked.
	ErrWrongSubject = errors.New("tokens are for another account")
	// ErrNotRevocable: the issuer has no revocation endpoint.
	ErrNotRevocable = errors.New("issuer cannot revoke tokens")
)

// Errors of using a session. Where the server's answer is the cause they come
// inside an *AccessError.
var (
	// ErrTokenExpired: the access token is over its time; it needs a refresh.
	ErrTokenExpired = errors.New("access token has expired")
	// ErrRevoked: the server does not accept the access token any more: revoked,
	// or rotated by somebody else.
	ErrRevoked = errors.New("access token is not accepted any more")
	// ErrBadNonce: the server refused the nonce that it had just given.
	ErrBadNonce = errors.New("server refuses its own nonce")
	// ErrClock: the server refuses the time of our proofs, and its own header
	// Date does not explain it.
	ErrClock = errors.New("server refuses the time of our proof")
	// ErrProofRefused: the server refuses our proof for another reason.
	ErrProofRefused = errors.New("server refuses our proof")
	// ErrWrongHost: the request is not for the session's PDS (nothing was sent),
	// or the server says that the token is for another one.
	ErrWrongHost = errors.New("not the session's PDS")
	// ErrWrongScheme: the server wants another authentication scheme than DPoP.
	ErrWrongScheme = errors.New("server wants another authentication scheme")
	// ErrMissingScope: the session was not granted what the call needs; the
	// *AccessError says what, when the server named it.
	ErrMissingScope = errors.New("session lacks a scope")
	// ErrDeactivated, ErrTakenDown and ErrAccountGone: the account is
	// deactivated by its owner, taken down by its server, or deleted.
	ErrDeactivated = errors.New("account is deactivated")
	ErrTakenDown   = errors.New("account is taken down")
	ErrAccountGone = errors.New("account does not exist")
	// ErrBodyNotReplayable: a call must be repeated and its body cannot be read
	// again: give the request a GetBody.
	ErrBodyNotReplayable = errors.New("request body cannot be sent twice")
)

// ServerError is trouble with a server during discovery, sign-in, revocation:
// errors.Is finds Kind and Cause.
type ServerError struct {
	// Kind is ErrUnreachable, ErrRateLimited, ErrNotOAuth or ErrRedirected.
	Kind error
	// URL is what was asked, without its query.
	URL string
	// Status is the HTTP status; zero when there was no answer.
	Status int
	// Reason says in a few words what was wrong.
	Reason string
	// Cause is the error underneath, if any, such as that of the HTTP client.
	Cause error
	// RetryAt is when a rate limit ends, zero when unknown.
	RetryAt time.Time
}

// Error says what was asked and what was wrong.
func (e *ServerError) Error() string {
	var b strings.Builder
	b.WriteString(e.URL + ": " + e.Kind.Error())
	if e.Status != 0 {
		b.WriteString(" (" + strconv.Itoa(e.Status) + ")")
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.Cause != nil {
		b.WriteString(": " + e.Cause.Error())
	}
	return b.String()
}

// Unwrap returns Kind and Cause.
func (e *ServerError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// DeniedError says that the member said no at their server. It is ErrDenied.
type DeniedError struct {
	// Attempt is the sign-in that ended, for going back to where it came from.
	Attempt *Attempt
	// Description is the server's text, perhaps empty; see oauth.Error.
	Description string
}

// Error returns a line without the member's identity.
func (e *DeniedError) Error() string { return ErrDenied.Error() + " at " + e.Attempt.Issuer }

// Is reports whether target is ErrDenied or the code access_denied.
func (e *DeniedError) Is(target error) bool {
	return errors.Is(ErrDenied, target) || errors.Is(oauth.AccessDenied, target)
}

// AccessError is a server's refusal of a call made with a session: errors.Is
// finds Reason.
type AccessError struct {
	// Reason is one of the errors of using a session, or ErrRateLimited.
	Reason error
	// Status is the HTTP status of the answer.
	Status int
	// Code and Description are the server's error and message, cleaned; either
	// may be empty.
	Code, Description string
	// Missing are the scopes to ask for, with ErrMissingScope when the server
	// named them; otherwise empty.
	Missing oauth.Scopes
	// RetryAt is when a rate limit ends, zero when unknown.
	RetryAt time.Time
	// Skew is how far the server's clock is ahead of ours, with ErrClock.
	Skew time.Duration
}

// Error says why and what the server said.
func (e *AccessError) Error() string {
	text := e.Reason.Error() + " (" + strconv.Itoa(e.Status)
	if e.Code != "" {
		text += " " + e.Code
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text + ")"
}

// Unwrap returns Reason.
func (e *AccessError) Unwrap() error { return e.Reason }

// RetryAt returns when the rate limit in err ends, or until when a session is
// left alone; false when err is neither or the server did not say.
func RetryAt(err error) (time.Time, bool) {
	var server *ServerError
	var access *AccessError
	var refresh *RefreshError
	var at time.Time
	switch {
	case errors.As(err, &refresh):
		at = refresh.Until
	case errors.As(err, &access):
		at = access.RetryAt
	case errors.As(err, &server):
		at = server.RetryAt
	}
	return at, !at.IsZero()
}

// Temporary reports whether err may go away by itself: the session or sign-in
// that met it is none the worse.
func Temporary(err error) bool {
	return errors.Is(err, ErrNotRefreshed) || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrRateLimited) || errors.Is(err, ErrClock) ||
		errors.Is(err, oauth.ServerError) || errors.Is(err, oauth.TemporarilyUnavailable)
}
