package session

import (
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/oauth/client"
)

// Errors of Device.Acting and of the methods that take a device's cookie.
var (
	// ErrSignedOut: nobody is signed in on this device.
	ErrSignedOut = fault.New(fault.Unauthenticated, "You are not signed in. Sign in to go on.").WithCode("AuthRequired")
	// ErrNoActor: the request does not say whom it acts for.
	ErrNoActor = fault.New(fault.Invalid, "The request does not say which account it acts for. Reload the page and try again.")
	// ErrNotHere: the account is not signed in on this device.
	ErrNotHere = fault.New(fault.NotFound, "That account is not signed in on this device.")
	// ErrTooManyAccounts: the device is full.
	ErrTooManyAccounts = fault.New(fault.Conflict,
		fmt.Sprintf("%d accounts are signed in on this device already. Sign out of one of them, then sign in again.", maxAccounts))
)

// ErrNoUsableKey means that client keys exist, but none can sign for new
// sessions: all withdrawn, or sealed with a key that is not in the ring.
var ErrNoUsableKey = errors.New("no client key can be used for signing")

// SwitchedError says that a request carries another account than the one that
// acts on the device by now. Nothing was done; the page offers both (S25).
type SwitchedError struct {
	Wanted, Active syntax.DID
	Here           bool // Wanted is signed in on this device too
}

// Error names both accounts, for the log.
func (e *SwitchedError) Error() string {
	return fmt.Sprintf("request acts for %s, active account is %s", e.Wanted, e.Active)
}

// Unwrap returns what a person may be shown.
func (e *SwitchedError) Unwrap() error {
	return fault.New(fault.Conflict,
		"You have switched accounts since this page was loaded, so nothing was done. Choose which account to use and try again.").
		WithCode("AccountSwitched")
}

// SignInAgainError says that the account's OAuth session has ended, or can no
// longer be used. For the OAuth client it is client.ErrNotFound.
type SignInAgainError struct {
	DID    syntax.DID
	Reason Reason
}

// Error names the account and the reason, for the log.
func (e *SignInAgainError) Error() string {
	return fmt.Sprintf("session of %s has ended: %s", e.DID, e.Reason)
}

// Unwrap returns what a person may be shown.
func (e *SignInAgainError) Unwrap() error {
	return fault.New(fault.Unauthenticated, Explain(e.Reason)+" Sign in again to go on.").WithCode("SignInAgain")
}

// Is reports whether target is client.ErrNotFound.
func (e *SignInAgainError) Is(target error) bool {
	return target == client.ErrNotFound //nolint:errorlint // this is the comparison itself
}

// PausedError says that the account is not active at its server, so that
// nothing can be done for it (S40). The session is kept for when it is. For the
// OAuth client it is client.ErrDeactivated or client.ErrTakenDown.
type PausedError struct {
	DID    syntax.DID
	Reason Reason
}

// Error names the account and the reason, for the log.
func (e *PausedError) Error() string {
	return fmt.Sprintf("session of %s is paused: %s", e.DID, e.Reason)
}

// Unwrap returns what a person may be shown.
func (e *PausedError) Unwrap() error {
	return fault.New(fault.Forbidden, Explain(e.Reason)+" Nothing can be written until it is active there again.").
		WithCode("AccountInactive")
}

// Is reports whether target is what the OAuth client calls it.
func (e *PausedError) Is(target error) bool {
	if e.Reason == client.ReasonDeactivated {
		return target == client.ErrDeactivated //nolint:errorlint // this is the comparison itself
	}
	return target == client.ErrTakenDown //nolint:errorlint // this is the comparison itself
}
