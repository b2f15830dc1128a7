package client

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const (
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" // RFC 7523, 2.2
	assertionLife = time.Minute
)

// call is one request to an endpoint of an authorization server.
type call struct {
	endpoint string
	issuer   string
	clientID string
	keyID    string // the client key; empty for a public client
	key      *dpop.Key
	form     url.Values
	maySend  func() error // asked directly before each sending, if set
}

// callOf is a call that belongs to an attempt, callFor one that belongs to a
// session, in the name of the client that the session was made with.
func (c *Client) callOf(a *Attempt, endpoint string, form url.Values) call {
	return call{endpoint: endpoint, issuer: a.Issuer, clientID: c.id, keyID: a.KeyID, key: a.DPoPKey, form: form}
}

func callFor(s *SessionData, endpoint string, form url.Values) call {
	return call{endpoint: endpoint, issuer: s.Issuer, clientID: s.ClientID, keyID: s.KeyID, key: s.DPoPKey, form: form}
}

// post sends a call with a fresh proof and a fresh client assertion. A demand
// for a nonce is met once, and a refusal that may be about our clock is retried
// once when the answer's Date shows that the clock was off. It returns the
// answer when its status is one of ok.
func (c *Client) post(ctx context.Context, r call, ok ...int) (*answer, error) {
	u, err := url.Parse(r.endpoint)
	if err != nil {
		return nil, &ServerError{Kind: ErrNotOAuth, URL: r.endpoint, Reason: "not a URL"}
	}
	origin, err := dpop.Origin(u)
	if err != nil {
		return nil, &ServerError{Kind: ErrNotOAuth, URL: r.endpoint, Reason: err.Error()}
	}
	var retry retries
	nonce := c.nonces.Get(r.key.Thumbprint(), origin)
	for {
		skew := c.clocks.Offset(origin)
		a, err := c.postOnce(ctx, r, origin, nonce)
		if err != nil {
			return nil, err
		}
		given := c.nonces.Learn(r.key.Thumbprint(), origin, a.header)
		err = a.oauthFailure(c.now(), ok...)
		switch {
		case err == nil:
			return a, nil
		case errors.Is(err, oauth.UseDPoPNonce):
			if !retry.nonce(nonce, given) {
				return nil, fmt.Errorf("%w: %w", ErrBadNonce, err)
			}
		case errors.Is(err, oauth.InvalidDPoPProof) || errors.Is(err, oauth.InvalidClient):
			if !retry.clock(skew, c.clocks.Offset(origin)) {
				return nil, err
			}
		default:
			return nil, err
		}
		if given != "" {
			nonce = given
		}
	}
}

// retries allows each reason to repeat a request once.
type retries struct{ nonceDone, clockDone bool }

// nonce reports whether a demand for a nonce may be met: once, and only when
// the server gave another one than it was sent.
func (r *retries) nonce(sent, given string) bool {
	allowed := !r.nonceDone && given != "" && given != sent
	r.nonceDone = true
	return allowed
}

// clock reports whether a refused proof may be repeated: once, and only when
// the refusal taught us another time than the proof was made with.
func (r *retries) clock(before, after time.Duration) bool {
	allowed := !r.clockDone && before != after
	r.clockDone = true
	return allowed
}

// postOnce signs and sends.
func (c *Client) postOnce(ctx context.Context, r call, origin, nonce string) (*answer, error) {
	form := maps.Clone(r.form)
	form.Set("client_id", r.clientID)
	if r.keyID != "" {
		assertion, err := c.assertion(r, c.at(origin))
		if err != nil {
			return nil, err
		}
		form.Set("client_assertion_type", assertionType)
		form.Set("client_assertion", assertion)
	}
	proof, err := r.key.Sign(dpop.Proof{Method: http.MethodPost, URL: r.endpoint, Time: c.at(origin), Nonce: nonce})
	if err != nil {
		return nil, fmt.Errorf("sign proof: %w", err)
	}
	header := http.Header{}
	header.Set(dpop.Header, proof)
	if r.maySend != nil {
		if err := r.maySend(); err != nil {
			return nil, err
		}
	}
	return c.exchange(ctx, http.MethodPost, r.endpoint, form, header)
}

// assertion makes a client assertion (RFC 7523, 3) for the issuer: one minute,
// one use.
func (c *Client) assertion(r call, at time.Time) (string, error) {
	key := c.cfg.Keys.find(r.keyID)
	if key == nil {
		return "", fmt.Errorf("%w: %q", ErrKeyWithdrawn, r.keyID)
	}
	return key.key.Sign(key.header, struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub"`
		Audience string `json:"aud"`
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{r.clientID, r.clientID, r.issuer, randomID(16), at.Unix(), at.Add(assertionLife).Unix()})
}

// randomID returns n random bytes as base64url.
func randomID(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(b)
}

// oauthFailure is failure for the endpoints that answer with OAuth errors: an
// *oauth.Error where there is one, beside the ServerError when the status
// speaks of the server's own trouble.
func (a *answer) oauthFailure(now time.Time, ok ...int) error {
	err := a.failure(now, ok...)
	if err == nil || !isJSON(a.header) {
		return err
	}
	var body struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(a.body, &body) != nil || body.Code == "" {
		return err
	}
	told := &oauth.Error{
		Code:        oauth.CleanCode(body.Code),
		Description: oauth.CleanDescription(body.Description),
		Status:      a.status,
	}
	var server *ServerError
	if errors.As(err, &server) && !errors.Is(server.Kind, ErrNotOAuth) {
		server.Cause = told
		return server
	}
	return fmt.Errorf("%s: %w", a.url, told)
}
