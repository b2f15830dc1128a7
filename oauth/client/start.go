package client

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// AttemptLife is how long a member may take between Start and Callback.
const AttemptLife = 30 * time.Minute

// StartParams says who signs in, and what for.
type StartParams struct {
	// Account is the handle or DID that signs in. Exactly one of Account and
	// Server must be given.
	Account syntax.AtIdentifier
	// Server is the origin of a PDS or an authorization server; who signs in is
	// then known only afterwards.
	Server string
	// Scope is what to ask for; empty means all that the client declares. Each
	// scope must be one of the declared ones, in the same spelling.
	Scope string
	// RedirectURI is where to come back to; empty means the first declared one.
	// It must be a declared one; for a loopback client the port is free.
	RedirectURI string
	// AppState is kept with the attempt and handed back by Callback.
	AppState []byte
	// Prompt is OpenID Connect's prompt: login, consent, select_account, create.
	// Empty leaves it to the server.
	Prompt string

	replaces string // see Upgrade
}

// Started is a sign-in that waits for the member.
type Started struct {
	// URL is where to send the browser. It holds the client id and an opaque
	// reference, nothing else. Servers forget the reference within minutes
	// when nobody opens it.
	URL string
	// State is the attempt's key; it is a secret of this browser's. Bind it to
	// the browser, and compare before calling Callback.
	State string
	// ExpiresAt is when Callback stops accepting it, AttemptLife from now.
	ExpiresAt time.Time
}

// Start discovers the member's authorization server, pushes a request to it
// (RFC 9126) with a state, PKCE verifier and proof key of its own, and stores
// the attempt. Nothing is stored when it fails.
//
// Errors: ErrBadRequest for parameters, ErrNoPDS, *ServerError (see its kinds)
// for servers, *oauth.Error for a refused request, ErrBadNonce, what
// Config.BeforePush returns, and the errors of the directory and the store.
func (c *Client) Start(ctx context.Context, p StartParams) (*Started, error) {
	if c.cfg.Attempts == nil {
		return nil, errors.New("sign in: the client has no attempt store")
	}
	a, err := c.newAttempt(p)
	if err != nil {
		return nil, err
	}
	server, hint, err := c.locate(ctx, p, a)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	if c.cfg.BeforePush != nil {
		if err := c.cfg.BeforePush(ctx, a.Issuer); err != nil {
			return nil, err
		}
	}
	reference, err := c.push(ctx, server, a, hint, p.Prompt)
	if err != nil {
		return nil, fmt.Errorf("sign in: push request: %w", err)
	}
	target, err := authorizeURL(server.AuthorizationEndpoint, c.id, reference)
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	if err := c.cfg.Attempts.Put(ctx, a); err != nil {
		return nil, fmt.Errorf("sign in: store attempt: %w", err)
	}
	return &Started{URL: target, State: a.State, ExpiresAt: a.ExpiresAt}, nil
}

// newAttempt checks the parameters and makes the secrets.
func (c *Client) newAttempt(p StartParams) (*Attempt, error) {
	if (p.Server == "") == (p.Account == "") {
		return nil, fmt.Errorf("%w: want either an account or a server", ErrBadRequest)
	}
	scopes := c.scopes
	if p.Scope != "" {
		var err error
		if scopes, err = c.askedScopes(p.Scope); err != nil {
			return nil, err
		}
	}
	redirect, err := c.redirectURI(p.RedirectURI)
	if err != nil {
		return nil, err
	}
	key, err := dpop.NewKey()
	if err != nil {
		return nil, err
	}
	now := c.now()
	a := &Attempt{
		State: randomID(32), Verifier: randomID(32), DPoPKey: key,
		RedirectURI: redirect, Scope: scopes.String(), AppState: slices.Clone(p.AppState), Replaces: p.replaces,
		CreatedAt: now, ExpiresAt: now.Add(AttemptLife),
	}
	if signing := c.cfg.Keys.newest(); signing != nil {
		a.KeyID = signing.ID()
	}
	return a, nil
}

// askedScopes checks that everything asked for is declared, as servers do: by
// spelling.
func (c *Client) askedScopes(text string) (oauth.Scopes, error) {
	scopes, err := oauth.ParseScopes(text)
	if err != nil {
		return scopes, fmt.Errorf("%w: %w", ErrBadRequest, err)
	}
	if !scopes.Has(oauth.Atproto) {
		return scopes, fmt.Errorf("%w: scope lacks atproto", ErrBadRequest)
	}
	for _, s := range scopes.List() {
		if !c.scopes.Has(s) {
			return scopes, fmt.Errorf("%w: scope %q is not declared by the client", ErrBadRequest, s)
		}
	}
	return scopes, nil
}

// redirectURI checks where to come back to against what is declared.
func (c *Client) redirectURI(given string) (string, error) {
	if given == "" {
		return c.cfg.RedirectURIs[0], nil
	}
	for _, declared := range c.cfg.RedirectURIs {
		if given == declared || (c.loopback && sameButPort(given, declared)) {
			return given, nil
		}
	}
	return "", fmt.Errorf("%w: redirect URI %q is not declared by the client", ErrBadRequest, given)
}

func sameButPort(a, b string) bool {
	u, err := url.Parse(a)
	if err != nil {
		return false
	}
	v, err := url.Parse(b)
	if err != nil || u.Hostname() != v.Hostname() || u.User != nil {
		return false
	}
	u.Host, v.Host = "", ""
	return u.String() == v.String()
}

// locate finds the authorization server, and fills in whose attempt it is.
func (c *Client) locate(ctx context.Context, p StartParams, a *Attempt) (*serverMetadata, string, error) {
	var pds, hint string
	var err error
	if p.Server != "" {
		a.Issuer, pds, err = c.entry(ctx, p.Server)
	} else {
		who, home, issuer, lookupErr := c.home(ctx, p.Account)
		if err = lookupErr; err == nil {
			a.Account, a.Issuer, pds, hint = who.DID, issuer, home, who.DID.String()
			if handle := who.Handle; handle != "" && !handle.IsInvalidHandle() {
				hint = handle.String()
			}
		}
	}
	if err != nil {
		return nil, "", err
	}
	server, err := c.metadataOf(ctx, a.Issuer, pds)
	if err != nil {
		return nil, "", err
	}
	a.TokenEndpoint, a.RevocationEndpoint = server.TokenEndpoint, server.RevocationEndpoint
	return server, hint, nil
}

// push sends the authorization request (RFC 9126, 2) and returns its reference.
func (c *Client) push(ctx context.Context, server *serverMetadata, a *Attempt, hint, prompt string) (string, error) {
	challenge := sha256.Sum256([]byte(a.Verifier))
	form := url.Values{
		"response_type":         {"code"},
		"redirect_uri":          {a.RedirectURI},
		"scope":                 {a.Scope},
		"state":                 {a.State},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}
	if hint != "" {
		form.Set("login_hint", hint)
	}
	if prompt != "" {
		form.Set("prompt", prompt)
	}
	got, err := c.post(ctx, c.callOf(a, server.PushEndpoint, form), http.StatusCreated, http.StatusOK)
	if err != nil {
		return "", err
	}
	var body struct {
		RequestURI string `json:"request_uri"`
	}
	if err := got.decode(&body); err != nil {
		return "", err
	}
	if body.RequestURI == "" || len(body.RequestURI) > 2048 || !printable(body.RequestURI) {
		return "", &ServerError{Kind: ErrNotOAuth, URL: server.PushEndpoint, Status: got.status, Reason: "no usable request_uri"}
	}
	return body.RequestURI, nil
}

// authorizeURL adds the reference to the endpoint's own query, if it has one.
func authorizeURL(endpoint, clientID, reference string) (string, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return "", err
	}
	q := u.Query()
	q.Set("client_id", clientID)
	q.Set("request_uri", reference)
	u.RawQuery = q.Encode()
	return u.String(), nil
}
