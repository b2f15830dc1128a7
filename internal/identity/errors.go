package identity

import (
	"context"
	"errors"
	"fmt"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
)

// Reasons why a look-up failed, for errors.Is. Those that the SDK has a name
// for are the SDK's, so that code that only knows the SDK understands them.
var (
	// ErrHandleNotFound: the handle leads nowhere.
	ErrHandleNotFound = sdk.ErrHandleNotFound
	// ErrDIDNotFound: there is no such DID, or it was deleted.
	ErrDIDNotFound = sdk.ErrDIDNotFound
	// ErrReservedTLD matches *TLDError.
	ErrReservedTLD = sdk.ErrHandleReservedTLD
	// ErrMismatch matches *MismatchError.
	ErrMismatch = sdk.ErrHandleMismatch
	// ErrAmbiguous: DNS names several accounts for the handle.
	ErrAmbiguous = errors.New("handle has several answers")
	// ErrUnsupportedDID: accounts have a did:plc or a did:web of a bare host.
	ErrUnsupportedDID = errors.New("no kind of DID that accounts have")
	// ErrBadDocument: what is published as the DID document cannot be used.
	ErrBadDocument = errors.New("DID document is unusable")
	// ErrNoPDS: the DID document names no PDS.
	ErrNoPDS = errors.New("DID document names no PDS")
	// ErrBlocked: the name leads to an address that may not be reached.
	ErrBlocked = errors.New("address is not public")
	// ErrUnavailable: nothing answered, or with a passing failure; try again.
	ErrUnavailable = errors.New("no usable answer")
)

// Error is a look-up that failed.
type Error struct {
	Subject string // the handle or DID
	Reason  error  // one of the reasons above
	Cause   error  // may be nil
}

// Error returns the text for the log.
func (e *Error) Error() string {
	if e.Cause == nil {
		return fmt.Sprintf("look up %s: %v", e.Subject, e.Reason)
	}
	return fmt.Sprintf("look up %s: %v: %v", e.Subject, e.Reason, e.Cause)
}

// Unwrap returns the reason and, where there is one, the cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Reason}
	}
	return []error{e.Reason, e.Cause}
}

// Direction names one of the two links between a handle and an account.
type Direction string

// The directions in which a handle is verified.
const (
	HandleToDID Direction = "handle to DID" // what DNS or the handle's host says
	DIDToHandle Direction = "DID to handle" // what the DID document says
)

// MismatchError says that a handle and an account don't belong together, and
// which of the two links is the wrong one.
type MismatchError struct {
	Direction Direction
	Handle    syntax.Handle
	DID       syntax.DID
	// Found is where the wrong link leads: a DID or a handle. Empty when the
	// document names no handle at all.
	Found string
}

// Error returns the text for the log.
func (e *MismatchError) Error() string {
	return fmt.Sprintf("handle %s and account %s: direction %s leads to %q", e.Handle, e.DID, e.Direction, e.Found)
}

// Is makes the error match ErrMismatch.
func (e *MismatchError) Is(target error) bool { return target == ErrMismatch }

func (e *MismatchError) sentence() string {
	switch {
	case e.Direction == HandleToDID:
		return fmt.Sprintf("The account %s calls itself %s, but that handle leads to another account (%s). "+
			"Correct the handle's DNS record or well-known file, or give the account another handle.", e.DID, e.Handle, e.Found)
	case e.Found == "":
		return fmt.Sprintf("%s leads to the account %s, but that account names no handle of its own. "+
			"Set the handle in the account's settings, or use the DID.", e.Handle, e.DID)
	default:
		return fmt.Sprintf("%s leads to the account %s, but that account says that its handle is %s. "+
			"Use that handle, or correct it in the account's settings.", e.Handle, e.DID, e.Found)
	}
}

// TLDError says that a host name ends in something no account can have.
type TLDError struct {
	Host string // the whole name
	TLD  string // its last part, without the dot
	// Setting is the instance's own setting that the name comes from, empty
	// when a person gave the name.
	Setting string
}

// Error returns the explanation, which is fit for people too.
func (e *TLDError) Error() string {
	text := fmt.Sprintf("%s cannot belong to an account: .%s %s.", e.Host, e.TLD, reservedTLDs[e.TLD])
	if e.Setting != "" {
		return text + fmt.Sprintf(" The name comes from this server's setting %s.", e.Setting)
	}
	return text + " Use a handle under a public domain."
}

// Is makes the error match ErrReservedTLD.
func (e *TLDError) Is(target error) bool { return target == ErrReservedTLD }

// InputError says what is wrong with something a person typed.
type InputError struct {
	Sentence string // whole, says what to do
}

// Error returns the sentence.
func (e *InputError) Error() string { return e.Sentence }

// Fault turns an error of this package into one that a person may be shown.
// Other errors become internal ones; Fault(nil) is nil.
func Fault(err error) *fault.Error {
	var (
		failed   *Error
		mismatch *MismatchError
		tld      *TLDError
		input    *InputError
	)
	switch {
	case errors.As(err, &mismatch):
		return fault.Wrap(fault.Invalid, err, mismatch.sentence())
	case errors.As(err, &tld):
		return fault.Wrap(fault.Invalid, err, tld.Error())
	case errors.As(err, &input):
		return fault.Wrap(fault.Invalid, err, input.Sentence)
	case errors.As(err, &failed):
		kind, sentence := failed.public()
		return fault.Wrap(kind, err, sentence)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fault.Wrap(fault.Unavailable, err, "Looking up the account took too long. Please try again.")
	default:
		return fault.From(err)
	}
}

// public says what a person is told: by reason, in the order of how often
// people meet it.
func (e *Error) public() (fault.Kind, string) {
	is := func(reason error) bool { return errors.Is(e.Reason, reason) }
	switch {
	case is(ErrHandleNotFound):
		return fault.NotFound, fmt.Sprintf("There is no account with the handle %s. Check the spelling; "+
			"to name a server instead, begin with https://.", e.Subject)
	case is(ErrDIDNotFound):
		return fault.NotFound, fmt.Sprintf("There is no account %s, or it was deleted.", e.Subject)
	case is(ErrAmbiguous):
		return fault.Invalid, fmt.Sprintf("The DNS records of %s name more than one account. "+
			"Remove all but one of the TXT records at _atproto.%s.", e.Subject, e.Subject)
	case is(ErrUnsupportedDID):
		return fault.Invalid, fmt.Sprintf("%s is not a DID that an account can have. It begins with did:plc: or did:web:.", e.Subject)
	case is(ErrBadDocument):
		return fault.Invalid, fmt.Sprintf("The published document of %s is damaged, so its server cannot be found. "+
			"The account's provider has to repair it.", e.Subject)
	case is(ErrNoPDS):
		return fault.Invalid, fmt.Sprintf("The account %s says nowhere which server keeps its data.", e.Subject)
	case is(ErrBlocked):
		return fault.Invalid, fmt.Sprintf("%s leads to an address inside a private network, which is never asked.", e.Subject)
	default:
		return fault.Unavailable, fmt.Sprintf("Looking up %s did not work just now, because a server that knows it "+
			"does not answer. Please try again in a minute.", e.Subject)
	}
}
