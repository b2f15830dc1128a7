package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth/dpop"
)

// Session acts for a member at their PDS, and keeps its tokens fresh. Safe for
// concurrent use.
type Session struct {
	client *Client
	data   atomic.Pointer[SessionData] // replaced, never changed
}

// Session reads a session from Config.Sessions. Errors: ErrNotFound and the
// store's own.
func (c *Client) Session(ctx context.Context, id string) (*Session, error) {
	if c.cfg.Sessions == nil {
		return nil, errNoSessions
	}
	data, err := c.cfg.Sessions.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	if data == nil || data.ID != id {
		return nil, fmt.Errorf("session %s: %w: it answers with another session", id, ErrStore)
	}
	return c.Resume(data)
}

// Resume makes a Session of data that the caller has read already, such as
// that of Callback. It reads nothing.
func (c *Client) Resume(data *SessionData) (*Session, error) {
	if data == nil || data.DPoPKey == nil || data.AccessToken == "" || data.PDS == "" {
		return nil, errors.New("session: data is incomplete")
	}
	s := &Session{client: c}
	s.data.Store(data.Clone())
	return s, nil
}

// Data returns a copy of what the session consists of, secrets included.
func (s *Session) Data() *SessionData { return s.data.Load().Clone() }

// DID returns whose session it is.
func (s *Session) DID() syntax.DID { return s.data.Load().DID }

// RefreshSoon begins a refresh in the background when less than five minutes of
// the access token are left (less where it lives for less than ten), and reports
// whether it has. It waits for nothing. What becomes of the refresh shows at the
// next use; see Drain for the end of a program.
func (s *Session) RefreshSoon(ctx context.Context) bool {
	c, d := s.client, s.data.Load()
	if c.cfg.Sessions == nil || d.RefreshToken == "" || !c.ends(d, soonRenew) || c.paused(d) != nil {
		return false
	}
	_, begun := c.join(ctx, d)
	return begun
}

// Do sends a request with the session's token, bound by a proof to exactly
// this request (RFC 9449, 7), and returns the response like http.Client.Do. While
// the token is alive it reads and writes no store.
//
// The request's URL must have the origin of the session's PDS, and its Host
// must agree; otherwise nothing is sent (ErrWrongHost), unless the account has
// moved to exactly that PDS under the same issuer: then the session follows. One
// that moved to another issuer has ended. Redirects are never followed:
// ErrRedirected inside a *ServerError.
//
// A token whose time is over, or nearly so, is renewed before it is sent, and
// one that the server does not accept is renewed and the request repeated once.
// Of any number of callers, in any number of processes on one store, one
// refreshes and the others get what it got. A refresh that has begun is finished
// even if the request's context ends. Errors of it: *RefreshError, the session
// is kept; *EndedError, it is over; ErrKeyWithdrawn; ErrNotFound and other errors
// of the store. A token that is only nearly over is used when it cannot be renewed.
//
// A demand for a fresh nonce, and a proof refused for its time, are each met
// once by sending again too. For every repetition the body is read again by
// GetBody (which http.NewRequest sets for the usual readers) or from memory when
// it is at most 1 MiB, and otherwise the error is ErrBodyNotReplayable too. req
// is not changed; Authorization and DPoP in it are ignored.
//
// Responses that tell that the session may not do this are returned as an
// *AccessError instead, their bodies closed: ErrTokenExpired, ErrRevoked (both
// only when renewing did not help, or without Config.Sessions), ErrBadNonce,
// ErrClock, ErrProofRefused, ErrWrongHost, ErrWrongScheme, ErrMissingScope,
// ErrRateLimited, ErrDeactivated, ErrTakenDown, ErrAccountGone. Network trouble
// is a *ServerError of kind ErrUnreachable. Every other response, whatever its
// status, is the caller's to read and close.
func (s *Session) Do(req *http.Request) (*http.Response, error) {
	d, body, err := s.prepare(req)
	if err != nil {
		closeRequest(req) // as http.Client.Do would
		return nil, err
	}
	resp, err := s.send(req, body, d)
	if !isRefused(err) || s.client.cfg.Sessions == nil {
		return resp, err
	}
	refused := err
	if d, err = s.replace(req.Context(), d, refused); err != nil {
		return nil, err
	}
	switch {
	case !body.replayable():
		return nil, fmt.Errorf("%w: %w", ErrBodyNotReplayable, refused)
	case !s.isAt(req, d):
		return nil, fmt.Errorf("call to %s, after the account has moved: %w", req.URL.Host, ErrWrongHost)
	}
	resp, err = s.send(req, body, d)
	if !isRefused(err) {
		s.client.forced.drop(d.ID) // the new tokens are good
	}
	return resp, err
}

// isRefused reports whether the server did not accept the access token.
func isRefused(err error) bool { return errors.Is(err, ErrTokenExpired) || errors.Is(err, ErrRevoked) }

// send makes the request, and repeats it for a nonce or for the time.
func (s *Session) send(req *http.Request, body *replayBody, d *SessionData) (*http.Response, error) {
	c := s.client
	var retry retries
	nonce := c.nonces.Get(d.DPoPKey.Thumbprint(), d.PDS)
	for {
		skew := c.clocks.Offset(d.PDS)
		out, err := s.authorize(req, body, d, nonce)
		if err != nil {
			return nil, err
		}
		resp, err := c.http.Do(out)
		if err != nil {
			return nil, unreachable(d.PDS+req.URL.EscapedPath(), err)
		}
		resp.Request = req // without credentials
		c.learnClock(req.URL, resp.Header)
		given := c.nonces.Learn(d.DPoPKey.Thumbprint(), d.PDS, resp.Header)
		err = c.judge(resp, d.PDS)
		var again bool
		switch {
		case err == nil:
			return resp, nil
		case errors.Is(err, ErrBadNonce):
			again = retry.nonce(nonce, given)
		case errors.Is(err, ErrProofRefused), errors.Is(err, ErrClock):
			again = retry.clock(skew, c.clocks.Offset(d.PDS))
		}
		if !again {
			return nil, err
		}
		if !body.replayable() {
			return nil, fmt.Errorf("%w: %w", ErrBodyNotReplayable, err)
		}
		if given != "" {
			nonce = given // not that of a slower answer to another call
		}
	}
}

// prepare refuses what must not be sent, sees to a token that can be, and
// readies the body.
func (s *Session) prepare(req *http.Request) (*SessionData, *replayBody, error) {
	d := s.data.Load()
	if !s.isAt(req, d) {
		var err error
		if d, err = s.follow(req, d); err != nil {
			return nil, nil, err
		}
	}
	if c := s.client; c.ends(d, mustRenew) && (c.over(d) || c.paused(d) == nil) {
		renewed, err := s.renewed(req.Context(), d)
		switch {
		case err == nil && !s.isAt(req, renewed):
			return nil, nil, fmt.Errorf("call to %s, after the account has moved: %w", req.URL.Host, ErrWrongHost)
		case err == nil:
			d = renewed
		case s.client.over(d) || !Temporary(err):
			return nil, nil, err
		}
	}
	body, err := newReplayBody(req)
	return d, body, err
}

// renewed gets other tokens than those in d.
func (s *Session) renewed(ctx context.Context, d *SessionData) (*SessionData, error) {
	if s.client.cfg.Sessions == nil {
		if !s.client.over(d) {
			return d, nil
		}
		return nil, fmt.Errorf("session %s: %w", d.ID, ErrTokenExpired)
	}
	next, err := s.client.renew(ctx, d)
	if err != nil {
		return nil, err
	}
	s.data.Store(next)
	return next, nil
}

// forcedPause is how long tokens that were renewed because others were refused,
// and that were never accepted, are not renewed for the same reason again: a
// server that refuses whatever it gives must not be asked for new ones at every
// call.
const forcedPause = time.Minute

// replace gets other tokens than those in d, which the server does not accept.
func (s *Session) replace(ctx context.Context, d *SessionData, refused error) (*SessionData, error) {
	c := s.client
	born, _ := c.forced.get(d.ID)
	if born.Equal(d.RefreshedAt) && c.now().Before(born.Add(forcedPause)) {
		return nil, refused
	}
	next, err := s.renewed(ctx, d)
	if errors.Is(err, errNoRefreshToken) && !errors.Is(err, ErrEnded) {
		return nil, refused
	}
	if err == nil {
		c.forced.change(d.ID, func(time.Time) time.Time { return next.RefreshedAt })
	}
	return next, err
}

// follow is for a request to another origin than the session's PDS. Where the
// account's identity leads to exactly that PDS now, and that PDS to the issuer
// of the tokens, the session moves along; under another issuer it is over.
func (s *Session) follow(req *http.Request, d *SessionData) (*SessionData, error) {
	c, ctx := s.client, req.Context()
	wrong := fmt.Errorf("call to %s: %w", req.URL.Host, ErrWrongHost)
	origin, err := dpop.Origin(req.URL)
	if err != nil || !sameHost(req) || c.cfg.Sessions == nil || c.checkServerURL(origin) != nil {
		return nil, wrong
	}
	if row, err := c.read(ctx, d.ID); err == nil && row.PDS == origin {
		s.data.Store(row) // somebody else has followed already
		return row, nil
	}
	who, err := c.resolve(ctx, d.DID.AtIdentifier())
	if err != nil {
		return nil, wrong
	}
	if pds, err := c.parseOrigin(who.PDSEndpoint()); err != nil || pds != origin {
		return nil, wrong
	}
	issuer, err := c.issuerOf(ctx, origin)
	if err != nil {
		return nil, fmt.Errorf("follow %s to %s: %w", d.DID, origin, err)
	}
	if issuer != d.Issuer {
		c.forget(ctx, d)
		return nil, c.ended(context.WithoutCancel(ctx), d, ReasonMoved, fmt.Errorf("%w: %s", errMoved, issuer))
	}
	return s.settle(ctx, d, origin)
}

// settle stores the session's new PDS.
func (s *Session) settle(ctx context.Context, d *SessionData, pds string) (*SessionData, error) {
	for {
		row, err := s.client.read(ctx, d.ID)
		if err != nil {
			return nil, err
		}
		row.PDS = pds
		err = s.client.write(ctx, row)
		if err == nil {
			s.data.Store(row)
			return row, nil
		}
		if !errors.Is(err, ErrConflict) || ctx.Err() != nil {
			return nil, fmt.Errorf("session %s: follow the account: %w", d.ID, err)
		}
	}
}

// isAt reports whether a request goes to the PDS of d and to nobody else.
func (s *Session) isAt(req *http.Request, d *SessionData) bool {
	origin, err := dpop.Origin(req.URL)
	return err == nil && origin == d.PDS && sameHost(req)
}

// sameHost reports whether the Host that would be sent is that of the URL.
func sameHost(req *http.Request) bool {
	return req.Host == "" || strings.EqualFold(req.Host, req.URL.Host)
}

func closeRequest(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// authorize makes the request that is really sent.
func (s *Session) authorize(req *http.Request, body *replayBody, d *SessionData, nonce string) (*http.Request, error) {
	proof, err := d.DPoPKey.Sign(dpop.Proof{
		Method: method(req), URL: req.URL.String(), Time: s.client.at(d.PDS),
		AccessToken: d.AccessToken, Nonce: nonce,
	})
	if err != nil {
		return nil, fmt.Errorf("sign proof: %w", err)
	}
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "DPoP "+d.AccessToken)
	out.Header.Set(dpop.Header, proof)
	if err := body.attach(out); err != nil {
		return nil, fmt.Errorf("read request body again: %w", err)
	}
	return out, nil
}

// method is what net/http sends for an empty Method.
func method(req *http.Request) string {
	if req.Method == "" {
		return http.MethodGet
	}
	return req.Method
}
