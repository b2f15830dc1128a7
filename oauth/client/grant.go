package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/atoll-social/atoll/oauth"
)

// refresh does, with the lease in hand, what a refresh consists of: resolve the
// account again, send, judge the answer, save. Errors: *EndedError,
// *RefreshError, ErrKeyWithdrawn, and those of the store.
func (h *holder) refresh(ctx context.Context) (*SessionData, error) {
	defer h.end()
	c, d := h.c, h.current()
	pds, err := c.rehome(ctx, d)
	if errors.Is(err, errMoved) {
		c.forget(ctx, d) // at the issuer that gave the tokens; nobody else gets them
		return nil, c.ended(ctx, d, ReasonMoved, err)
	}
	if err != nil {
		h.release(ctx, !h.unanswered)
		return nil, c.kept(d, err)
	}
	got, asked := h.send(ctx)
	if got == nil && h.redirected(ctx, asked.err, pds) {
		got, asked = h.send(ctx)
	}
	switch {
	case got != nil:
		return h.adopt(ctx, got, pds)
	case errors.Is(asked.err, oauth.InvalidGrant):
		return h.refused(ctx, asked.err)
	case errors.Is(asked.err, errLeaseLost), errors.Is(asked.err, ErrNotFound):
		h.end()
		return c.fly(ctx, d) // whoever has it now knows what became of it
	}
	h.release(ctx, !h.unanswered && !asked.unclear)
	if errors.Is(asked.err, ErrKeyWithdrawn) {
		return nil, fmt.Errorf("session %s: refresh: %w", d.ID, asked.err)
	}
	return nil, c.kept(h.current(), asked.err)
}

// kept notes trouble that passes, so that neither the session nor its server is
// asked again at once, and not while an answer may still come, and makes the
// error of it.
func (c *Client) kept(d *SessionData, cause error) error {
	now := c.now()
	retry, _ := RetryAt(cause)
	until := c.pauses.failed(d.ID, now, sessionPause, later(retry, d.SentUntil), cause)
	var server *ServerError
	if errors.As(cause, &server) {
		// The session's own pause must not be a server's: one session that
		// makes its server stumble would stop all others for minutes.
		until = later(until, c.pauses.failed(originOf(server.URL), now, hostPause, retry, cause))
	}
	c.log.Info("session not refreshed for now", "session", d, "until", until, "error", cause)
	return &RefreshError{ID: d.ID, Until: until, Cause: cause}
}

func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return raw
	}
	return u.Scheme + "://" + u.Host
}

// errMoved: the account's identity leads to another issuer.
var errMoved = errors.New("account is with another issuer now")

// rehome resolves the account again (AT Protocol OAuth, "Identity
// Authentication") and returns its PDS, which must still name the session's
// issuer.
func (c *Client) rehome(ctx context.Context, d *SessionData) (string, error) {
	_, pds, issuer, err := c.home(ctx, d.DID.AtIdentifier())
	switch {
	case err != nil:
		return "", fmt.Errorf("resolve %s again: %w", d.DID, err)
	case issuer != d.Issuer:
		return "", fmt.Errorf("%w: %s", errMoved, issuer)
	}
	return pds, nil
}

// redirected reports whether the token endpoint is not there any more while the
// issuer names another one by now. The session keeps that.
func (h *holder) redirected(ctx context.Context, err error, pds string) bool {
	var server *ServerError
	if !errors.As(err, &server) {
		return false
	}
	switch server.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone:
	default:
		return false
	}
	d := h.current()
	m, err := h.c.metadataOf(ctx, d.Issuer, pds)
	if err != nil || m.TokenEndpoint == d.TokenEndpoint {
		return false
	}
	return h.save(ctx, func(d *SessionData) {
		d.TokenEndpoint, d.RevocationEndpoint = m.TokenEndpoint, m.RevocationEndpoint
	}) == nil
}

// asked is how a refresh request ended without tokens.
type asked struct {
	err error
	// unclear: it may have been carried out all the same.
	unclear bool
}

// send marks the row, sends the refresh token (RFC 6749, 6) while the lease and
// the time marked last, and reads the answer.
func (h *holder) send(ctx context.Context) (*tokens, asked) {
	if err := h.mark(ctx); err != nil {
		return nil, asked{err: err}
	}
	ctx, cancel := context.WithTimeout(ctx, h.left())
	defer cancel()
	d := h.current()
	r := callFor(d, d.TokenEndpoint, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {d.RefreshToken}})
	r.maySend = h.maySend
	var wire trace
	got, err := h.c.post(wire.follow(ctx), r, http.StatusOK)
	if err != nil {
		return nil, asked{err: err, unclear: wire.maybeSent() && !answered(err)}
	}
	var t tokens
	if err := got.decode(&t); err != nil {
		return nil, asked{err: err, unclear: true}
	}
	if t.Access == "" {
		return nil, asked{err: &ServerError{
			Kind: ErrNotOAuth, URL: d.TokenEndpoint, Status: got.status, Reason: "no access_token", Cause: ErrTokenResponse,
		}, unclear: true}
	}
	return &t, asked{}
}

// answered reports whether err is the server's word that it did not do what was
// asked. A 5xx is not: it may have stumbled after it had.
func answered(err error) bool {
	var told *oauth.Error
	if errors.As(err, &told) && told.Status < 500 {
		return true
	}
	var server *ServerError
	if errors.As(err, &server) {
		return server.Status >= 300 && server.Status < 500
	}
	return errors.Is(err, ErrKeyWithdrawn)
}

// trace watches whether a request can have left at all.
type trace struct{ looked, got atomic.Bool }

func (t *trace) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { t.looked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { t.got.Store(true) },
	})
}

// maybeSent is false when a transport that reports what it does got no connection.
func (t *trace) maybeSent() bool { return t.got.Load() || !t.looked.Load() }

// adopt checks tokens that were issued, makes them durable and returns them.
func (h *holder) adopt(ctx context.Context, t *tokens, pds string) (*SessionData, error) {
	c, old := h.c, h.current()
	if t.Scope == "" { // the same as before (RFC 6749, 5.1)
		t.Scope = old.Scope
	}
	err := t.check()
	next := c.renewed(old, t, pds)
	switch {
	case t.Subject != old.DID.String():
		c.forget(ctx, next)
		return nil, c.ended(ctx, next, ReasonSubject, fmt.Errorf("%w: expected %s", ErrWrongSubject, old.DID))
	case err != nil:
		c.forget(ctx, next)
		return nil, c.ended(ctx, next, ReasonLost, err)
	}
	saved, err := h.store(ctx, next)
	if err != nil {
		return nil, err
	}
	c.pauses.succeeded(old.ID)
	c.pauses.succeeded(originOf(old.TokenEndpoint))
	c.pauses.succeeded(pds)
	return saved, nil
}

// renewed puts new tokens into a session, and takes the lease out of it.
func (c *Client) renewed(old *SessionData, t *tokens, pds string) *SessionData {
	now := c.now()
	d := old.Clone()
	d.AccessToken, d.Scope, d.PDS = t.Access, t.Scope, pds
	d.RefreshedAt, d.AccessExpiresAt = now, t.accessEnd(now)
	if t.Refresh != "" {
		d.RefreshToken, d.RefreshExpiresAt = t.Refresh, c.refreshEnd(d, t, now)
	}
	d.LeaseOwner, d.LeaseUntil, d.SentUntil = "", time.Time{}, time.Time{}
	return d
}

// refreshEnd returns when the refresh token ends: at what the server says, or
// never known; two weeks after the sign-in for a public client at the latest
// (AT Protocol OAuth, "Tokens and Session Lifetime").
func (c *Client) refreshEnd(d *SessionData, t *tokens, now time.Time) time.Time {
	end := t.refreshEnd(now)
	if d.KeyID != "" {
		return end
	}
	if limit := d.CreatedAt.Add(PublicLife); end.IsZero() || end.After(limit) {
		return limit
	}
	return end
}

// refused handles invalid_grant: what is stored is read again, and only when it
// is still what was refused the session is over.
func (h *holder) refused(ctx context.Context, cause error) (*SessionData, error) {
	c, used := h.c, h.current()
	row, err := c.read(ctx, used.ID)
	if err != nil {
		h.release(ctx, !h.unanswered)
		return nil, err
	}
	if row.RefreshToken != used.RefreshToken || row.LeaseOwner != h.owner {
		h.end()
		return c.fly(ctx, used) // somebody else has refreshed, or is at it
	}
	return nil, c.ended(ctx, used, c.reason(ctx, used, h.unanswered, cause), cause)
}

// forget revokes tokens as well as it can.
func (c *Client) forget(ctx context.Context, d *SessionData) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callLife)
	defer cancel()
	if err := c.Revoke(ctx, d); err != nil && !errors.Is(err, ErrNotRevocable) {
		c.log.WarnContext(ctx, "tokens of an ended session not revoked", "session", d, "error", err)
	}
}

// PublicLife is how long the sessions of public clients last at most, counted
// from the sign-in (AT Protocol OAuth).
const PublicLife = 14 * 24 * time.Hour
