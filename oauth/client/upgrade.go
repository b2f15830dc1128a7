package client

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
)

// Upgrade begins a sign-in that asks for more scopes than a session has, for the
// same account: everything that was granted and is still declared, and more. The
// session stays as it is, whatever becomes of it: declined, given up, failed.
// When it comes back, Callback stores the new session; only then, and once its
// create has returned, the old one is revoked at its server and deleted
// (ReasonUpgraded), unless create has replaced it itself. A member may grant less
// than is asked: then that is what the new session has.
//
// Of p, Account, Server and Scope must be empty. Errors: ErrBadRequest where
// more is not declared by the client; those of Start and of the session store.
func (c *Client) Upgrade(ctx context.Context, id, more string, p StartParams) (*Started, error) {
	if c.cfg.Sessions == nil {
		return nil, errNoSessions
	}
	if p.Account != "" || p.Server != "" || p.Scope != "" {
		return nil, fmt.Errorf("%w: the session says whose it is and what it has", ErrBadRequest)
	}
	wanted, err := oauth.ParseScopes(more)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	d, err := c.read(ctx, id)
	if err != nil {
		return nil, err
	}
	p.Account, p.Scope, p.replaces = d.DID.AtIdentifier(), c.declared(d.Scopes().Union(wanted), wanted), id
	return c.Start(ctx, p)
}

// declared leaves out what was granted in a spelling that the client does not
// declare any more; what is wanted now must be declared, which Start checks.
func (c *Client) declared(all, wanted oauth.Scopes) string {
	out, _ := oauth.ParseScopes(oauth.Atproto)
	for _, s := range all.List() {
		if c.scopes.Has(s) || wanted.Has(s) {
			out = out.Union(oauth.GrantedScopes(s))
		}
	}
	return out.String()
}

// replaced reads the session that a sign-in is to take the place of, as long as
// it is there; nil otherwise.
func (c *Client) replaced(ctx context.Context, a *Attempt, did syntax.DID) *SessionData {
	if a.Replaces == "" || c.cfg.Sessions == nil {
		return nil
	}
	old, err := c.read(ctx, a.Replaces)
	if err != nil || old.DID != did {
		return nil
	}
	return old
}

// supersede ends a session whose successor is stored. create may have done so
// already; then it is its caller's business to tell the server.
func (c *Client) supersede(ctx context.Context, old *SessionData) {
	if old == nil {
		return
	}
	now, err := c.read(ctx, old.ID)
	if err != nil {
		return
	}
	c.forget(ctx, now)
	if err := c.ended(ctx, now, ReasonUpgraded, nil); !errors.Is(err, ErrEnded) {
		c.log.WarnContext(ctx, "upgraded session not ended", "session", old, "error", err)
	}
}
