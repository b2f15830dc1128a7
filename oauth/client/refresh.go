package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// flightLife bounds a refresh with everything around it: waiting for another
// holder, resolving the account, the request, saving.
const flightLife = 3 * time.Minute

// flights are the refreshes under way in this process, one per session.
type flights struct {
	mu   sync.Mutex
	byID map[string]*flight
}

// flight is one refresh; data and err are there once done is closed.
type flight struct {
	done chan struct{}
	data *SessionData
	err  error
}

// Refresh renews the tokens of a session now, whether or not they are about to
// end, and returns it as it was stored. It does what Session.Do does by itself;
// see there for the errors.
func (c *Client) Refresh(ctx context.Context, id string) (*SessionData, error) {
	if c.cfg.Sessions == nil {
		return nil, errNoSessions
	}
	d, err := c.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.renew(ctx, d)
}

var errNoSessions = errors.New("session: the client has no session store")

// renew returns tokens that differ from those in stale: those that somebody
// else has saved meanwhile, or new ones. The refresh goes on when ctx ends.
func (c *Client) renew(ctx context.Context, stale *SessionData) (*SessionData, error) {
	var d *SessionData
	for range renewTries {
		f, _ := c.join(ctx, stale)
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("session %s: wait for refresh: %w", stale.ID, ctx.Err())
		case <-f.done:
		}
		if f.err != nil {
			return nil, f.err
		}
		// A refresh that we only joined may have ended with what we had already.
		if d = f.data.Clone(); differs(d, stale) {
			break
		}
	}
	return d, nil
}

// renewTries bounds joining: a server may give the same token again and again.
const renewTries = 3

// differs reports whether d's tokens are others than those of stale.
func differs(d, stale *SessionData) bool {
	return d.AccessToken != stale.AccessToken || d.RefreshedAt.After(stale.RefreshedAt)
}

// join returns the refresh of a session that is under way, or begins one.
func (c *Client) join(ctx context.Context, stale *SessionData) (f *flight, begun bool) {
	c.flights.mu.Lock()
	defer c.flights.mu.Unlock()
	if f, ok := c.flights.byID[stale.ID]; ok {
		return f, false
	}
	f = &flight{done: make(chan struct{})}
	if c.flights.byID == nil {
		c.flights.byID = make(map[string]*flight)
	}
	c.flights.byID[stale.ID] = f
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flightLife)
		defer cancel()
		defer func() {
			c.flights.mu.Lock()
			delete(c.flights.byID, stale.ID)
			c.flights.mu.Unlock()
			close(f.done)
		}()
		f.data, f.err = c.fly(ctx, stale)
	}()
	return f, true
}

// Drain waits until no refresh is under way in this process. Call it when
// nothing uses the client any more and before the store is closed: a refresh
// whose answer cannot be saved costs the session. The error is that of ctx.
func (c *Client) Drain(ctx context.Context) error {
	for {
		c.flights.mu.Lock()
		var f *flight
		for _, f = range c.flights.byID {
			break
		}
		c.flights.mu.Unlock()
		if f == nil {
			return nil
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return fmt.Errorf("refreshes are under way: %w", ctx.Err())
		}
	}
}

// fly gets other tokens than stale's: by waiting for whoever holds the lease, or
// by taking it.
func (c *Client) fly(ctx context.Context, stale *SessionData) (*SessionData, error) {
	changed, cancel := c.changes(stale.ID)
	defer cancel()
	var seen watch
	var rhythm poll
	waiting, stop := context.WithTimeout(ctx, waitLimit)
	defer stop()
	for {
		d, err := c.read(ctx, stale.ID)
		if err != nil {
			return nil, err
		}
		if differs(d, stale) && !c.over(d) {
			return d, nil
		}
		if err := c.paused(d); err != nil {
			return nil, err
		}
		until, ok := free(d, c.now(), seen.see(d))
		if ok {
			h, err := c.take(ctx, d)
			if err == nil {
				return h.refresh(ctx)
			}
			if !errors.Is(err, ErrConflict) {
				return nil, err
			}
			until = c.now() // somebody has just changed the row; look what it is
		}
		if err := rhythm.wait(waiting, changed); err != nil {
			return nil, &RefreshError{ID: stale.ID, Until: later(until, c.now().Add(time.Second)), Cause: errLeased}
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// changes subscribes to changes of a session's row, where the caller has a way.
func (c *Client) changes(id string) (<-chan struct{}, func()) {
	if c.cfg.Wake == nil {
		return nil, func() {}
	}
	return c.cfg.Wake(id)
}

// take takes the lease of a session, which is free. ErrConflict: it is not any
// more.
func (c *Client) take(ctx context.Context, d *SessionData) (*holder, error) {
	if d.RefreshToken == "" {
		if c.over(d) || d.AccessExpiresAt.IsZero() {
			return nil, c.ended(ctx, d, ReasonExpired, errNoRefreshToken)
		}
		return nil, fmt.Errorf("session %s: %w", d.ID, errNoRefreshToken)
	}
	h, err := c.acquire(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("session %s: take lease: %w", d.ID, err)
	}
	return h, nil
}

var errNoRefreshToken = errors.New("there is no refresh token")

// paused returns the error for a session that is left alone for now, itself or
// because of its server.
func (c *Client) paused(d *SessionData) error {
	now := c.now()
	var longest pause
	for _, key := range [...]string{d.ID, originOf(d.TokenEndpoint), d.PDS} {
		if p, ok := c.pauses.current(key, now); ok && p.until.After(longest.until) {
			longest = p
		}
	}
	if longest.cause == nil {
		return nil
	}
	return &RefreshError{ID: d.ID, Until: longest.until, Cause: longest.cause}
}

// over reports whether the access token's time is known to be over.
func (c *Client) over(d *SessionData) bool {
	return !d.AccessExpiresAt.IsZero() && !c.now().Before(d.AccessExpiresAt)
}

// Times before its end at which an access token is renewed, where it lives an
// hour. They shrink with shorter lives, so that no token is renewed in the first
// half of its own.
const (
	mustRenew = 30 * time.Second // before it is used
	soonRenew = 5 * time.Minute  // by RefreshSoon
)

// ends reports whether the access token's time is over within before.
func (c *Client) ends(d *SessionData, before time.Duration) bool {
	if d.AccessExpiresAt.IsZero() {
		return false
	}
	if life := d.AccessExpiresAt.Sub(d.RefreshedAt); life > 0 {
		before = min(before, life/2)
	}
	return !c.now().Add(before).Before(d.AccessExpiresAt)
}

// read gets a session's row, and refuses what cannot be it.
func (c *Client) read(ctx context.Context, id string) (*SessionData, error) {
	ctx, cancel := context.WithTimeout(ctx, saveLife)
	defer cancel()
	d, err := c.cfg.Sessions.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	if d == nil || d.ID != id || d.DPoPKey == nil || d.AccessToken == "" {
		return nil, fmt.Errorf("session %s: %w: it answers with another or an incomplete session", id, ErrStore)
	}
	return d, nil
}

// write saves a session's row, and looks whether the store has done so.
func (c *Client) write(ctx context.Context, d *SessionData) error {
	ctx, cancel := context.WithTimeout(ctx, saveLife)
	defer cancel()
	before := d.Version
	if err := c.cfg.Sessions.Save(ctx, d); err != nil {
		return err
	}
	if d.Version != before+1 {
		return fmt.Errorf("%w: it saved version %d as %d", ErrStore, before, d.Version)
	}
	return nil
}
