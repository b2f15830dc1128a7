package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/client"
)

// scope is what a session must have been granted to do actions with the
// records of a collection.
func scope(collection syntax.NSID, actions ...pds.Action) string {
	words := make([]string, len(actions))
	for i, action := range actions {
		words[i] = "action=" + string(action)
	}
	return "repo:" + collection.String() + "?" + strings.Join(words, "&")
}

// Way is how an account is acted for. The values are those of the setting
// delegation.writes, but for ByHosted and ByNothing.
type Way string

// The ways.
const (
	ByOAuth       Way = "oauth"        // a session that the member has opened at their server
	ByAppPassword Way = "app-password" // a password that the member has given
	ByRelay       Way = "relay"        // the instance's own account, which names the member
	ByHosted      Way = "hosted"       // the account's own credential, which Atoll holds
	ByNothing     Way = ""             // none is open
)

// way opens one of the ways to act for an account.
type way func(ctx context.Context) (pds.Doer, error)

// attempt does something at the actor's server, by the first way that is open.
// Only a way that has certainly done nothing is followed by the next. origin is
// the server; it is known whenever err leaves open whether something was done.
func (a *Agent) attempt(ctx context.Context, actor Actor, scopes string,
	do func(context.Context, *pds.Client) error) (origin string, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if origin, err = a.host(ctx, actor.DID); err != nil {
		return "", err
	}
	ways, err := a.ways(ctx, actor, origin, oauth.GrantedScopes(scopes))
	if err != nil {
		return origin, err
	}
	var closed error // why the first way was; that there is no password tells least
	for _, open := range ways {
		err := a.by(ctx, open, origin, do)
		if err == nil || !isClosed(err) {
			return origin, err
		}
		if closed == nil || errors.Is(closed, errNoPassword) {
			closed = err
		}
	}
	return origin, closed
}

func (a *Agent) by(ctx context.Context, open way, origin string, do func(context.Context, *pds.Client) error) error {
	doer, err := open(ctx)
	if err != nil {
		return err
	}
	server, err := pds.New(pds.Config{Origin: origin, HTTP: doer, Now: a.cfg.Now})
	if err != nil {
		return err
	}
	return do(ctx, server)
}

// isClosed reports that err is about the way, which another may do without:
// nothing was written.
func isClosed(err error) bool {
	return isOver(err) || errors.Is(err, client.ErrWrongHost) || errors.Is(err, client.ErrMissingScope) ||
		errors.Is(err, errPasswordRefused)
}

// ways lists how the actor's account can be acted for (A3), best first; there
// is one at least.
func (a *Agent) ways(ctx context.Context, actor Actor, origin string, need oauth.Scopes) ([]way, error) {
	if a.cfg.Hosted != nil {
		doer, hosted, err := a.cfg.Hosted.Doer(ctx, actor.DID)
		if err != nil {
			return nil, fmt.Errorf("open hosted account %s: %w", actor.DID, err)
		}
		if hosted {
			return []way{func(context.Context) (pds.Doer, error) { return doer, nil }}, nil
		}
	}
	ways, err := a.sessions(ctx, actor, need)
	if err != nil && !isClosed(err) || a.cfg.Passwords == nil {
		return ways, err
	}
	if err != nil {
		ways = []way{func(context.Context) (pds.Doer, error) { return nil, err }}
	}
	// Whether there is a password is asked only when its turn comes.
	password := way(func(ctx context.Context) (pds.Doer, error) { return a.cfg.Passwords.doer(ctx, actor.DID, origin) })
	if a.cfg.Writes == ByAppPassword {
		return append([]way{password}, ways...), nil
	}
	return append(ways, password), nil
}

// sessions are the ways through the account's OAuth sessions (S45): the one that
// the actor names, and where another may be taken the live ones with the scopes
// that are needed, newest first.
func (a *Agent) sessions(ctx context.Context, actor Actor, need oauth.Scopes) ([]way, error) {
	var ways []way
	if actor.SessionID != "" {
		ways = append(ways, a.session(actor, actor.SessionID))
	}
	if actor.SessionID != "" && !actor.Queued || a.cfg.Sessions == nil {
		if len(ways) == 0 {
			return nil, client.ErrNotFound
		}
		return ways, nil
	}
	live, _, err := a.cfg.Sessions.List(ctx, session.Query{DID: actor.DID, State: session.StateLive})
	if err != nil {
		return nil, err
	}
	var lacking error
	for _, s := range live {
		if s.ID == actor.SessionID || s.State == session.StateUnusable {
			continue
		}
		granted := oauth.GrantedScopes(s.Scope)
		if missing := granted.Missing(need); !missing.IsEmpty() && !granted.HasIncludes() {
			lacking = &client.AccessError{Reason: client.ErrMissingScope, Missing: missing}
			continue
		}
		ways = append(ways, a.session(actor, s.ID))
	}
	switch {
	case len(ways) > 0:
		return ways, nil
	case lacking != nil:
		return nil, lacking
	}
	return nil, client.ErrNotFound
}

func (a *Agent) session(actor Actor, id string) way {
	return func(ctx context.Context) (pds.Doer, error) {
		return a.cfg.Open(ctx, Actor{DID: actor.DID, SessionID: id})
	}
}

// host finds the account's server.
func (a *Agent) host(ctx context.Context, did syntax.DID) (string, error) {
	return hostOf(ctx, a.cfg.Directory, did)
}

// identityError keeps passing trouble for explain, and the sentence otherwise.
func identityError(err error) error {
	if errors.Is(err, identity.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Kind: Refused, public: identity.Fault(err)}
}
