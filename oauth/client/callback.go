package client

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
)

// maxParameter bounds each parameter of a callback, in bytes.
const maxParameter = 4096

// Peek returns the attempt that a callback with this state would end, without
// using it up or asking anybody, so that the caller can compare its browser
// binding first. ErrUnknownState and ErrStateExpired as in Callback.
func (c *Client) Peek(ctx context.Context, state string) (*Attempt, error) {
	if c.cfg.Attempts == nil {
		return nil, errors.New("callback: the client has no attempt store")
	}
	return c.attempt(ctx, state, c.cfg.Attempts.Peek)
}

// attempt gets an attempt that is still alive from the store.
func (c *Client) attempt(ctx context.Context, state string, get func(context.Context, string) (*Attempt, error)) (*Attempt, error) {
	if state == "" || len(state) > maxParameter {
		return nil, ErrUnknownState
	}
	a, err := get(ctx, state)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, ErrUnknownState
	case err != nil:
		return nil, fmt.Errorf("callback: read attempt: %w", err)
	case subtle.ConstantTimeCompare([]byte(a.State), []byte(state)) != 1:
		return nil, ErrUnknownState // a store that answers with something else
	case a.Expired(c.now()):
		return a, ErrStateExpired
	}
	return a, nil
}

// Callback ends the sign-in that q, the query of the callback URL, belongs to.
//
// In this order: the state is consumed, so that whatever follows happens once;
// its life, iss (RFC 9207) and code are checked; the code is exchanged; the
// response must be of type DPoP, contain atproto and name the expected
// account, whose identity is resolved again and must lead back to the issuer;
// then create stores the session, and nothing was stored before. create may be
// nil: the session is then saved in Config.Sessions. Whenever tokens were
// issued and it goes wrong afterwards, also in create, they are revoked before
// Callback returns. The exchange and the revocation are finished even if ctx
// ends; create gets ctx itself.
//
// The attempt is returned with every error after it was found, for going back
// to where the sign-in came from.
//
// Errors: ErrBadCallback, ErrUnknownState, ErrStateExpired, ErrWrongIssuer,
// *DeniedError when the member declined, *oauth.Error for other errors that the
// server gave, ErrTokenResponse, ErrTokenType, ErrNoAtproto, ErrWrongSubject,
// ErrKeyWithdrawn, ErrBadNonce, *ServerError, those of the directory, the
// stores and create.
func (c *Client) Callback(ctx context.Context, q url.Values, create func(context.Context, *SessionData, *Attempt) error) (*SessionData, *Attempt, error) {
	if c.cfg.Attempts == nil || (create == nil && c.cfg.Sessions == nil) {
		return nil, nil, errors.New("callback: the client has no stores")
	}
	state, err := parameter(q, "state")
	if err != nil {
		return nil, nil, err
	}
	a, err := c.attempt(ctx, state, c.cfg.Attempts.Take)
	if err != nil {
		return nil, a, err
	}
	code, err := authorizationCode(q, a)
	if err != nil {
		return nil, a, err
	}
	s, err := c.finish(ctx, a, code, create)
	return s, a, err
}

// parameter returns the single value of a callback parameter, "" when absent.
func parameter(q url.Values, name string) (string, error) {
	values := q[name]
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", fmt.Errorf("%w: %s is repeated", ErrBadCallback, name)
	case len(values[0]) > maxParameter:
		return "", fmt.Errorf("%w: %s is too long", ErrBadCallback, name)
	}
	return values[0], nil
}

// authorizationCode checks the response of the authorization endpoint
// (RFC 6749, 4.1.2; RFC 9207) and returns its code.
func authorizationCode(q url.Values, a *Attempt) (string, error) {
	var values [4]string
	for i, name := range []string{"iss", "error", "error_description", "code"} {
		v, err := parameter(q, name)
		if err != nil {
			return "", err
		}
		values[i] = v
	}
	issuer, failure, description, code := values[0], values[1], values[2], values[3]
	switch {
	case issuer != a.Issuer:
		return "", ErrWrongIssuer
	case failure != "" && code != "":
		return "", fmt.Errorf("%w: both code and error", ErrBadCallback)
	case failure == string(oauth.AccessDenied):
		return "", &DeniedError{Attempt: a, Description: oauth.CleanDescription(description)}
	case failure != "":
		told := &oauth.Error{Code: oauth.CleanCode(failure), Description: oauth.CleanDescription(description)}
		return "", fmt.Errorf("callback from %s: %w", a.Issuer, told)
	case code == "":
		return "", fmt.Errorf("%w: neither code nor error", ErrBadCallback)
	}
	return code, nil
}

// finish turns a code into a stored session, or into nothing.
func (c *Client) finish(ctx context.Context, a *Attempt, code string, create func(context.Context, *SessionData, *Attempt) error) (*SessionData, error) {
	// Once the code is sent there may be tokens: a browser that goes away must
	// not leave them behind. Each request is bounded by Timeout.
	steady := context.WithoutCancel(ctx)
	issued, err := c.redeem(steady, a, code)
	if issued == nil {
		return nil, fmt.Errorf("callback: exchange code: %w", err)
	}
	s := c.newSession(a, issued)
	if err == nil {
		s.PDS, err = c.confirm(steady, a, syntax.DID(issued.Subject))
	}
	if err == nil {
		if create == nil {
			create = func(ctx context.Context, s *SessionData, _ *Attempt) error { return c.cfg.Sessions.Save(ctx, s) }
		}
		old := c.replaced(steady, a, s.DID)
		if err = create(ctx, s, a); err == nil {
			c.supersede(steady, old)
			return s, nil
		}
		err = fmt.Errorf("store session: %w", err)
	}
	if revokeErr := c.Revoke(steady, s); revokeErr != nil {
		c.log.WarnContext(ctx, "tokens of a failed sign-in could not be revoked", "issuer", a.Issuer, "error", revokeErr)
	}
	return nil, fmt.Errorf("callback: %w", err)
}

// newSession puts an attempt and its tokens together. The subject is not yet
// to be trusted.
func (c *Client) newSession(a *Attempt, t *tokens) *SessionData {
	now := c.now()
	s := &SessionData{
		ID: rand.Text(), DID: syntax.DID(t.Subject), Issuer: a.Issuer,
		ClientID: c.id, KeyID: a.KeyID, DPoPKey: a.DPoPKey,
		AccessToken: t.Access, RefreshToken: t.Refresh, Scope: t.Scope,
		TokenEndpoint: a.TokenEndpoint, RevocationEndpoint: a.RevocationEndpoint,
		CreatedAt: now, UsedAt: now, RefreshedAt: now, AccessExpiresAt: t.accessEnd(now),
	}
	if t.Refresh != "" {
		s.RefreshExpiresAt = c.refreshEnd(s, t, now)
	}
	return s
}

// confirm checks that the tokens are for the account expected, and that the
// account's identity, resolved now, leads back to the issuer that gave them
// (AT Protocol OAuth, "Identity Authentication"). It returns the account's PDS.
func (c *Client) confirm(ctx context.Context, a *Attempt, subject syntax.DID) (string, error) {
	if a.Account != "" && a.Account != subject {
		return "", fmt.Errorf("%w: expected %s", ErrWrongSubject, a.Account)
	}
	_, pds, issuer, err := c.home(ctx, subject.AtIdentifier())
	if err != nil {
		return "", fmt.Errorf("confirm account: %w", err)
	}
	if issuer != a.Issuer {
		return "", fmt.Errorf("%w: %s is at another issuer", ErrWrongSubject, subject)
	}
	return pds, nil
}
