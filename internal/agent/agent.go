// Package agent writes to an account's repository at the account's own server, in
// its name and by whatever way there is, so that nothing is written twice: the
// record key is chosen before the first attempt, and an unclear answer is settled
// by reading the record back.
package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// Actor is on whose behalf something is done, and by which of their sessions.
type Actor struct {
	DID syntax.DID
	// SessionID names an OAuth session of that account. Empty for work without a
	// browser, which takes the newest live session with the scopes it needs, and
	// for accounts that Atoll hosts.
	SessionID string
	// Queued says that whoever asked has gone: when the session is over, another
	// live one of the account may stand in for it.
	Queued bool
}

// Directory finds the server of an account; identity.Directory does.
type Directory interface {
	LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error)
	// PDS is the origin of the account's server.
	PDS(ident *sdk.Identity) (string, error)
}

// Opener opens a session for sending requests with it. Errors are those of
// oauth/client, ErrNotFound above all.
type Opener func(ctx context.Context, actor Actor) (pds.Doer, error)

// OAuth opens sessions of c. A session of somebody else than the actor is an
// error, whoever asks for it.
func OAuth(c *client.Client) Opener {
	return func(ctx context.Context, actor Actor) (pds.Doer, error) {
		s, err := c.Session(ctx, actor.SessionID)
		if err != nil {
			return nil, err
		}
		if s.DID() != actor.DID {
			return nil, fmt.Errorf("session %s belongs to %s, not to %s", actor.SessionID, s.DID(), actor.DID)
		}
		return s, nil
	}
}

// Sessions lists the OAuth sessions of members, newest sign-in first;
// session.Manager does.
type Sessions interface {
	List(ctx context.Context, q session.Query) (all []session.Info, more bool, err error)
}

// Hosted knows the accounts that Atoll hosts. Doer sends requests with that
// account's own credential; hosted is false for everybody else's account.
type Hosted interface {
	Doer(ctx context.Context, did syntax.DID) (d pds.Doer, hosted bool, err error)
}

// Config is what an Agent needs.
type Config struct {
	// DB holds the table agent_write_key.
	DB        *store.DB
	Open      Opener
	Directory Directory
	// Sessions are for actors that name none; nil: they have to.
	Sessions Sessions
	// Hosted are the accounts that Atoll hosts; nil: none.
	Hosted Hosted
	// Writes is the way that is tried first for members (A3): ByOAuth, which is
	// what empty means, ByAppPassword or ByRelay. The others follow where they
	// are possible.
	Writes Way
	// Passwords are those that members have given; nil: they cannot.
	Passwords *Passwords
	// Relay is the account that speaks where a member cannot; nil: there is none.
	Relay *RelayAccount
	// Scope is what members are asked for: what Standing compares with.
	Scope string
	// HTTP reads what is public, without anybody's name: a guarded client with
	// limits on time and size.
	HTTP   pds.Doer
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Agent acts for members. It is safe for concurrent use.
type Agent struct {
	cfg  Config
	log  *slog.Logger
	tids *tidSource
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Agent, error) {
	if cfg.DB == nil || cfg.Open == nil || cfg.Directory == nil || cfg.HTTP == nil || cfg.Logger == nil {
		return nil, errors.New("agent: database, opener, directory, client and logger are required")
	}
	switch cfg.Writes {
	case "":
		cfg.Writes = ByOAuth
	case ByOAuth, ByAppPassword, ByRelay:
	default:
		return nil, fmt.Errorf("agent: %q is no way to write", cfg.Writes)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Agent{cfg: cfg, log: cfg.Logger.With("component", "agent"), tids: newTIDSource(cfg.Now)}, nil
}
