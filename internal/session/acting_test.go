package session_test

import (
	"errors"
	"testing"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
)

// S25: whoever acts is the account that the page was made for, or nobody.
func TestActingRefusesEveryOtherAccount(t *testing.T) {
	t.Parallel()
	alice := session.Account{DID: "did:plc:alice", Live: true, SessionID: "a"}
	bob := session.Account{DID: "did:plc:bob", Live: true, SessionID: "b"}
	d := session.Device{ID: "d", Accounts: []session.Account{alice, bob}, Active: alice.DID}

	got, err := d.Acting(alice.DID)
	if err != nil || got.SessionID != "a" {
		t.Errorf("Acting(active) = %+v, %v; want the active account", got, err)
	}

	var switched *session.SwitchedError
	if _, err = d.Acting(bob.DID); !errors.As(err, &switched) {
		t.Fatalf("Acting(other account) = %v, want a SwitchedError", err)
	}
	if !switched.Here || switched.Wanted != bob.DID || switched.Active != alice.DID {
		t.Errorf("SwitchedError = %+v, want bob wanted, here, alice active", switched)
	}
	if f := fault.From(err); f.Kind != fault.Conflict || f.Code != "AccountSwitched" {
		t.Errorf("fault of SwitchedError = %v %q, want conflict AccountSwitched", f.Kind, f.Code)
	}
	if _, err = d.Acting("did:plc:carol"); !errors.As(err, &switched) || switched.Here {
		t.Errorf("Acting(stranger) = %v, want a SwitchedError with Here false", err)
	}
	if _, err = d.Acting(""); !errors.Is(err, session.ErrNoActor) {
		t.Errorf("Acting(nobody) = %v, want ErrNoActor", err)
	}
	if _, err = (session.Device{}).Acting(alice.DID); !errors.Is(err, session.ErrSignedOut) {
		t.Errorf("Acting on a visitor's device = %v, want ErrSignedOut", err)
	}
}

func TestActingAsksForSignInWhenTheSessionHasEnded(t *testing.T) {
	t.Parallel()
	d := session.Device{ID: "d", Active: "did:plc:alice",
		Accounts: []session.Account{{DID: "did:plc:alice", Ended: "revoked"}}}
	_, err := d.Acting("did:plc:alice")
	var again *session.SignInAgainError
	if !errors.As(err, &again) || again.Reason != "revoked" {
		t.Fatalf("Acting = %v, want a SignInAgainError with the reason", err)
	}
	if f := fault.From(err); f.Kind != fault.Unauthenticated || f.Code != "SignInAgain" {
		t.Errorf("fault = %v %q, want unauthenticated SignInAgain", f.Kind, f.Code)
	}
}
