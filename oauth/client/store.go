package client

import (
	"context"
	"errors"
)

// What stores answer with; implementations return these or wrap them.
var (
	// ErrNotFound: there is no such attempt or session.
	ErrNotFound = errors.New("not found in the store")
	// ErrConflict: the session was saved by somebody else since it was read.
	ErrConflict = errors.New("session was changed meanwhile")
)

// ErrStore says that a store does not do what SessionStore demands, such as answering
// with another session than was asked for. See package storetest.
var ErrStore = errors.New("session store is not to be trusted")

// AttemptStore keeps sign-ins that are under way. It must be as private as the
// sessions themselves: an attempt holds a verifier and a proof key. Expired
// attempts may be dropped at any time; the client checks the expiry itself.
type AttemptStore interface {
	// Put stores a new attempt under its State.
	Put(ctx context.Context, a *Attempt) error
	// Peek returns an attempt without using it up; ErrNotFound when there is none.
	Peek(ctx context.Context, state string) (*Attempt, error)
	// Take returns an attempt and removes it in one step: of any number of
	// concurrent calls, over all processes, one gets it and the others get
	// ErrNotFound.
	Take(ctx context.Context, state string) (*Attempt, error)
}

// SessionStore keeps sessions. What it returns is the caller's to change, and
// what it is given it must not keep a pointer to. Several processes may share
// one: the comparison of Save is then all that keeps two of them from refreshing
// a session at once, so it must be a single step of the database. Package
// storetest is a suite for any implementation.
type SessionStore interface {
	// Get returns the newest saved state of a session; ErrNotFound when there
	// is none.
	Get(ctx context.Context, id string) (*SessionData, error)
	// Save writes s, whole and durably, if the stored version is s.Version, and
	// then sets both to s.Version+1; otherwise it changes nothing and returns
	// ErrConflict. Version 0 means a session that must not exist yet.
	// A session that was deleted meanwhile is ErrNotFound.
	Save(ctx context.Context, s *SessionData) error
	// Delete ends a session for good and makes its tokens unreadable. Deleting
	// one that is not there is no error.
	Delete(ctx context.Context, id string, why Reason) error
}

// Reason says why a session ended. Names are stored and never reused.
type Reason string

// Reasons that this package gives.
const (
	ReasonRevoked      Reason = "revoked"       // the server does not know the tokens any more
	ReasonExpired      Reason = "expired"       // its life is over
	ReasonReplayed     Reason = "replayed"      // an old refresh token was used a second time
	ReasonKeyWithdrawn Reason = "key_withdrawn" // the client key it is pinned to is gone
	ReasonMoved        Reason = "moved"         // the account is with another issuer now
	ReasonSubject      Reason = "subject"       // the server answered for another account
	ReasonLost         Reason = "lost"          // rotated tokens could not be saved
	ReasonDeactivated  Reason = "deactivated"   // the account is deactivated at its server
	ReasonSuspended    Reason = "suspended"     // the account is suspended at its server
	ReasonTakenDown    Reason = "taken_down"    // the account is taken down at its server
	ReasonDeleted      Reason = "deleted"       // the account was deleted at its server
	ReasonIdle         Reason = "idle"          // nobody used it for too long (Keeper)
	ReasonUpgraded     Reason = "upgraded"      // a session with more scopes took its place (Upgrade)
)
