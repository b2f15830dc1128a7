package client

import (
	"context"
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
// more is compared as parsed values: what is asked for are the declared scopes
// that hold it, so what a server named as missing (AccessError.Missing) can be
// given as it is.
//
// Of p, Account, Server and Scope must be empty. Errors: ErrBadRequest where
// more is not within what the client declares; those of Start and of the session
// store.
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
	asked, undeclared := c.declared(wanted)
	if !undeclared.IsEmpty() {
		return nil, fmt.Errorf("%w: scope %q is not declared by the client", ErrBadRequest, undeclared)
	}
	had, _ := c.declared(d.Scopes()) // what is not declared any more cannot be asked for
	base, _ := c.declared(oauth.GrantedScopes(oauth.Atproto))
	p.Account, p.Scope, p.replaces = d.DID.AtIdentifier(), base.Union(had).Union(asked).String(), id
	return c.Start(ctx, p)
}

// declared returns the declared scopes that together hold wanted, in the
// spelling that servers know, and what of wanted none of them holds.
func (c *Client) declared(wanted oauth.Scopes) (out, rest oauth.Scopes) {
	rest = wanted
	for _, raw := range c.scopes.List() {
		one := oauth.GrantedScopes(raw)
		if left := one.Missing(rest); left.String() != rest.String() {
			out, rest = out.Union(one), left
		}
	}
	return out, rest
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
	_ = c.ended(ctx, now, ReasonUpgraded, nil) // what it returns is for those who use the session
}
