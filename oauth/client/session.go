package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth/dpop"
)

// Session acts for a member at their PDS. Safe for concurrent use.
type Session struct {
	client *Client
	data   *SessionData
}

// Session reads a session from Config.Sessions. Errors: ErrNotFound and the
// store's own.
func (c *Client) Session(ctx context.Context, id string) (*Session, error) {
	if c.cfg.Sessions == nil {
		return nil, errors.New("session: the client has no session store")
	}
	data, err := c.cfg.Sessions.Get(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return c.Resume(data)
}

// Resume makes a Session of data that the caller has read already, such as
// that of Callback. It reads nothing.
func (c *Client) Resume(data *SessionData) (*Session, error) {
	if data == nil || data.DPoPKey == nil || data.AccessToken == "" || data.PDS == "" {
		return nil, errors.New("session: data is incomplete")
	}
	return &Session{client: c, data: data.Clone()}, nil
}

// Data returns a copy of what the session consists of, secrets included.
func (s *Session) Data() *SessionData { return s.data.Clone() }

// DID returns whose session it is.
func (s *Session) DID() syntax.DID { return s.data.DID }

// maxBuffered is how much of a body without GetBody is kept for a repetition,
// in bytes.
const maxBuffered = 1 << 20

// Do sends a request with the session's token, bound by a proof to exactly
// this request (RFC 9449, 7), and returns the response like http.Client.Do. It
// reads and writes no store.
//
// The request's URL must have the origin of the session's PDS, and its Host
// must agree; otherwise nothing is sent (ErrWrongHost). Redirects are never
// followed: ErrRedirected inside a *ServerError. A demand for a fresh nonce, and
// a proof refused for its time, are each met once by sending again; the body is
// then read again by GetBody (which http.NewRequest sets for the usual readers)
// or from memory when it is at most 1 MiB, and otherwise the error is
// ErrBodyNotReplayable too. req is not changed; Authorization and DPoP in it are
// ignored.
//
// Responses that tell that the session may not do this are returned as an
// *AccessError instead, their bodies closed: ErrTokenExpired, ErrRevoked,
// ErrBadNonce, ErrClock, ErrProofRefused, ErrWrongHost, ErrWrongScheme,
// ErrMissingScope, ErrRateLimited, ErrDeactivated, ErrTakenDown, ErrAccountGone.
// A token known to be expired is not sent: ErrTokenExpired. Network trouble is a
// *ServerError of kind ErrUnreachable. Every other response, whatever its
// status, is the caller's to read and close.
func (s *Session) Do(req *http.Request) (*http.Response, error) {
	c := s.client
	body, err := s.prepare(req)
	if err != nil {
		closeRequest(req) // as http.Client.Do would
		return nil, err
	}
	var retry retries
	nonce := c.nonces.Get(s.data.DPoPKey.Thumbprint(), s.data.PDS)
	for {
		skew := c.clocks.Offset(s.data.PDS)
		out, err := s.authorize(req, body, nonce)
		if err != nil {
			return nil, err
		}
		resp, err := c.http.Do(out)
		if err != nil {
			return nil, unreachable(s.data.PDS+req.URL.EscapedPath(), err)
		}
		resp.Request = req // without credentials
		c.learnClock(req.URL, resp.Header)
		given := c.nonces.Learn(s.data.DPoPKey.Thumbprint(), s.data.PDS, resp.Header)
		err = s.judge(resp)
		var again bool
		switch {
		case err == nil:
			return resp, nil
		case errors.Is(err, ErrBadNonce):
			again = retry.nonce(nonce, given)
		case errors.Is(err, ErrProofRefused), errors.Is(err, ErrClock):
			again = retry.clock(skew, c.clocks.Offset(s.data.PDS))
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

// prepare refuses what must not be sent, and readies the body.
func (s *Session) prepare(req *http.Request) (*replayBody, error) {
	origin, err := dpop.Origin(req.URL)
	if err != nil || origin != s.data.PDS || !sameHost(req) {
		return nil, fmt.Errorf("call to %s: %w", req.URL.Host, ErrWrongHost)
	}
	if end := s.data.AccessExpiresAt; !end.IsZero() && !s.client.now().Before(end) {
		return nil, fmt.Errorf("session %s: %w", s.data.ID, ErrTokenExpired)
	}
	return newReplayBody(req)
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
func (s *Session) authorize(req *http.Request, body *replayBody, nonce string) (*http.Request, error) {
	proof, err := s.data.DPoPKey.Sign(dpop.Proof{
		Method: method(req), URL: req.URL.String(), Time: s.client.at(s.data.PDS),
		AccessToken: s.data.AccessToken, Nonce: nonce,
	})
	if err != nil {
		return nil, fmt.Errorf("sign proof: %w", err)
	}
	out := req.Clone(req.Context())
	out.Header.Set("Authorization", "DPoP "+s.data.AccessToken)
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

// replayBody is a request body that can be sent more than once if at all
// possible. The transport closes what attach gives out.
type replayBody struct {
	again func() (io.ReadCloser, error) // nil: too long to be kept
	once  io.ReadCloser                 // the only reading of such a body
	size  int64
}

func newReplayBody(req *http.Request) (*replayBody, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return &replayBody{again: func() (io.ReadCloser, error) { return http.NoBody, nil }}, nil
	case req.GetBody != nil:
		closeRequest(req) // every reading is a new one
		return &replayBody{again: req.GetBody, size: req.ContentLength}, nil
	}
	head, err := io.ReadAll(io.LimitReader(req.Body, maxBuffered+1))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	if len(head) > maxBuffered {
		once := struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), req.Body), req.Body}
		return &replayBody{once: once, size: req.ContentLength}, nil
	}
	closeRequest(req)
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	return &replayBody{again: again, size: int64(len(head))}, nil
}

func (b *replayBody) replayable() bool { return b.again != nil }

// attach gives out a fresh reading of the body.
func (b *replayBody) attach(out *http.Request) error {
	out.GetBody, out.ContentLength = b.again, b.size
	if b.again == nil {
		out.Body = b.once
		return nil
	}
	body, err := b.again()
	out.Body = body
	return err
}
