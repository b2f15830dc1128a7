package pds

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Session is what a server gives for a password. Its tokens are bearer tokens:
// whoever has them is the account.
type Session struct {
	DID             syntax.DID
	Access, Refresh keyring.Secret
	// AccessExpires is when the access token ends; zero when it does not tell.
	AccessExpires time.Time
	// MainPassword says that the session can do everything, as it comes from the
	// account's own password instead of one made for an app.
	MainPassword bool
}

// Names of refusals of a session's tokens and passwords.
const (
	NameExpiredToken   = "ExpiredToken"
	NameInvalidToken   = "InvalidToken"
	NameAuthRequired   = "AuthenticationRequired" // the password is wrong
	NameFactorRequired = "AuthFactorTokenRequired"
)

type sessionAnswer struct {
	DID     string `json:"did"`
	Access  string `json:"accessJwt"`
	Refresh string `json:"refreshJwt"`
}

func (a *sessionAnswer) check() (*Session, error) {
	did, err := syntax.ParseDID(a.DID)
	if err != nil || a.Access == "" || a.Refresh == "" {
		return nil, fmt.Errorf("%w: no session for %.100q", ErrBadAnswer, a.DID)
	}
	claims := readToken(a.Access)
	s := &Session{DID: did, Access: keyring.NewSecret(a.Access), Refresh: keyring.NewSecret(a.Refresh),
		MainPassword: claims.Scope == "com.atproto.access"}
	if claims.Expires > 0 {
		s.AccessExpires = time.Unix(claims.Expires, 0)
	}
	return s, nil
}

// tokenClaims are what our own tokens tell us about themselves.
type tokenClaims struct {
	Scope   string `json:"scope"`
	Expires int64  `json:"exp"`
}

// readToken reads the claims of a token without checking it: the server that
// has just given it does that. A token of another form has none.
func readToken(token string) (claims tokenClaims) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return tokenClaims{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(raw, &claims) != nil {
		return tokenClaims{}
	}
	return claims
}

// CreateSession signs in with a password (com.atproto.server.createSession).
// Errors: *Error, with NameAuthRequired when the password is wrong and
// NameFactorRequired when it is not enough; ErrUnreachable, ErrBadAnswer.
func (c *Client) CreateSession(ctx context.Context, account syntax.AtIdentifier, password keyring.Secret) (*Session, error) {
	const method = syntax.NSID("com.atproto.server.createSession")
	in := struct {
		Identifier string `json:"identifier"`
		Password   string `json:"password"`
	}{account.String(), password.Reveal()}
	var out sessionAnswer
	if err := c.procedure(ctx, method, in, &out); err != nil {
		return nil, err
	}
	return c.session(method, out)
}

// RefreshSession renews a session (com.atproto.server.refreshSession). The old
// tokens are over afterwards. Errors: *Error, with NameExpiredToken or
// NameInvalidToken when the refresh token is not accepted any more;
// ErrUnreachable, ErrBadAnswer.
func (c *Client) RefreshSession(ctx context.Context, refresh keyring.Secret) (*Session, error) {
	const method = syntax.NSID("com.atproto.server.refreshSession")
	var out sessionAnswer
	if err := c.withToken(ctx, method, refresh, &out); err != nil {
		return nil, err
	}
	return c.session(method, out)
}

// DeleteSession ends a session (com.atproto.server.deleteSession). Errors:
// *Error, ErrUnreachable, ErrBadAnswer.
func (c *Client) DeleteSession(ctx context.Context, refresh keyring.Secret) error {
	return c.withToken(ctx, "com.atproto.server.deleteSession", refresh, nil)
}

func (c *Client) session(method syntax.NSID, out sessionAnswer) (*Session, error) {
	s, err := out.check()
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return s, nil
}

// withToken calls a method without input in the name of a token. out is nil for
// methods without output.
func (c *Client) withToken(ctx context.Context, method syntax.NSID, token keyring.Secret, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin+"/xrpc/"+method.String(), nil)
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return c.call(req, method, out)
}
