package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// RelayAccount is the account of the instance that speaks where a member cannot,
// always naming whom it speaks for. Each process keeps a session of its own for
// it, in memory. It is safe for concurrent use.
type RelayAccount struct {
	// DID is whose repository it writes to.
	DID syntax.DID
	// Password is one for apps, made at the account's server.
	Password keyring.Secret

	mu      sync.Mutex // held while the session is renewed
	session *pds.Session
	origin  string // of the server that gave session
}

// access returns a token of the relay's at its server, which is at origin: one
// that is good now, and another than refused. A session is not taken along to
// another server.
func (r *RelayAccount) access(ctx context.Context, server *pds.Client, origin string, refused keyring.Secret, now time.Time) (pds.Access, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var refresh keyring.Secret
	if s := r.session; s != nil && r.origin == origin {
		if isGood(s.Access, s.AccessExpires, now) && (refused.IsZero() || !s.Access.Equal(refused)) {
			return pds.Access{Origin: origin, Token: s.Access}, nil
		}
		refresh = s.Refresh
	}
	s, err := newSession(ctx, server, refresh, func(ctx context.Context) (*pds.Session, error) {
		return server.CreateSession(ctx, r.DID.AtIdentifier(), r.Password)
	})
	if err == nil && s.DID != r.DID {
		err = fmt.Errorf("%w: a session of %s instead of %s", pds.ErrBadAnswer, s.DID, r.DID)
	}
	if err != nil {
		return pds.Access{}, err
	}
	r.session, r.origin = s, origin
	return pds.Access{Origin: origin, Token: s.Access}, nil
}

// Statement is a record that says something in a member's name.
type Statement struct {
	// Own is the record for the member's own repository.
	Own Write
	// Relayed is the record for the relay account's, which must name the member
	// by DID, in a mention. Its key must be as lasting as Own's.
	Relayed Write
}

// Said is a Statement that was made.
type Said struct {
	Done
	Relayed bool // by the relay account, and in its repository
}

// Say makes a statement once: in the member's own repository, or by the relay
// account where that is impossible or the setting wants it so (A3). It may be
// called again with the same statement after any error. A request that ends early
// does not end it. Errors: those of Create; when there is no way at all, those of
// the member's own, since that is what can be mended.
func (a *Agent) Say(ctx context.Context, actor Actor, s Statement) (Said, error) {
	if err := names(s.Relayed.Record, actor.DID); a.cfg.Relay != nil && err != nil {
		return Said{}, err
	}
	ctx = context.WithoutCancel(ctx)
	if said, ok, err := a.said(ctx, actor, s); ok || err != nil {
		return said, err
	}
	if a.cfg.Relay != nil && a.cfg.Writes == ByRelay {
		return a.sayByRelay(ctx, s)
	}
	done, err := a.Create(ctx, actor, s.Own)
	if err == nil {
		return Said{Done: done}, nil
	}
	var e *Error
	if a.cfg.Relay == nil || !errors.As(err, &e) || e.Kind != NeedsSignIn && e.Kind != NeedsScope {
		return Said{}, err
	}
	said, relaying := a.sayByRelay(ctx, s)
	if relaying != nil {
		return Said{}, errors.Join(err, relaying)
	}
	return said, nil
}

// said finds a statement that an earlier call has made by the way that may not
// be the first today.
func (a *Agent) said(ctx context.Context, actor Actor, s Statement) (Said, bool, error) {
	if a.cfg.Relay == nil {
		return Said{}, false, nil
	}
	for _, place := range []struct {
		did     syntax.DID
		write   Write
		relayed bool
	}{{actor.DID, s.Own, false}, {a.cfg.Relay.DID, s.Relayed, true}} {
		want, err := RecordCID(place.write.Record)
		if err != nil {
			return Said{}, false, err
		}
		origin, err := a.host(ctx, place.did)
		if err != nil {
			return Said{}, false, fmt.Errorf("say: %w", a.explain(err))
		}
		at := pds.Place{Repo: place.did, Collection: place.write.Collection, RKey: place.write.RKey}
		there, err := a.look(ctx, origin, at, nil)
		if err != nil {
			return Said{}, false, fmt.Errorf("say: %w", err)
		}
		if there.cid == want {
			return Said{Done: Done{URI: at.URI(), CID: want, Rev: there.rev}, Relayed: place.relayed}, true, nil
		}
	}
	return Said{}, false, nil
}

func (a *Agent) sayByRelay(ctx context.Context, s Statement) (Said, error) {
	place := pds.Place{Repo: a.cfg.Relay.DID, Collection: s.Relayed.Collection, RKey: s.Relayed.RKey}
	done, err := a.createBy(ctx, place, s.Relayed.Record, a.byRelay)
	if err != nil {
		return Said{}, fmt.Errorf("say by relay: create %s: %w", place.URI(), a.explainRelay(err))
	}
	return Said{Done: done, Relayed: true}, nil
}

// byRelay does something at the relay account's server.
func (a *Agent) byRelay(ctx context.Context, do func(context.Context, *pds.Client) error) (origin string, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if origin, err = a.host(ctx, a.cfg.Relay.DID); err != nil {
		return "", err
	}
	return origin, a.by(ctx, func(context.Context) (pds.Doer, error) {
		server, err := pds.New(pds.Config{Origin: origin, HTTP: a.cfg.HTTP, Now: a.cfg.Now})
		return pds.Bearer{HTTP: a.cfg.HTTP, Access: func(ctx context.Context, refused pds.Access) (pds.Access, error) {
			return a.cfg.Relay.access(ctx, server, origin, refused.Token, a.cfg.Now())
		}}, err
	}, origin, do)
}

// explainRelay is explain for trouble that a member can do nothing about.
func (a *Agent) explainRelay(err error) error {
	if errors.Is(err, errPasswordRefused) {
		return unreachable(fmt.Errorf("the password of the relay account (delegation.relay_password): %w", err))
	}
	return a.explain(err)
}

// names makes sure that a record mentions an account by a facet.
func names(record map[string]any, did syntax.DID) error {
	facets, _ := record["facets"].([]any)
	for _, facet := range facets {
		f, _ := facet.(map[string]any)
		features, _ := f["features"].([]any)
		for _, feature := range features {
			m, _ := feature.(map[string]any)
			kind, _ := m["$type"].(string)
			if strings.HasSuffix(kind, "#mention") && m["did"] == did.String() {
				return nil
			}
		}
	}
	return fault.Wrap(fault.Internal, fmt.Errorf("a relayed record does not mention %s", did),
		"Something went wrong on our side. Please try again.")
}
