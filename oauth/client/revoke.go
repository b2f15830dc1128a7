package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/atoll-social/atoll/oauth"
)

// Revoke tells the issuer to forget a session's tokens (RFC 7009): the refresh
// token, by which official servers end the whole session, and the access token.
// It does not touch the store, and it tries both even if one fails. A server
// that does not know a token counts as success. ErrNotRevocable when the issuer
// has no endpoint for it, otherwise the errors of any request to it; whatever
// it returns, the session is over once it is deleted locally.
func (c *Client) Revoke(ctx context.Context, s *SessionData) error {
	if s.RevocationEndpoint == "" {
		return fmt.Errorf("revoke at %s: %w", s.Issuer, ErrNotRevocable)
	}
	var failures []error
	for _, t := range [...]struct{ hint, token string }{{"refresh_token", s.RefreshToken}, {"access_token", s.AccessToken}} {
		if t.token == "" {
			continue
		}
		form := url.Values{"token": {t.token}, "token_type_hint": {t.hint}}
		_, err := c.post(ctx, callFor(s, s.RevocationEndpoint, form), http.StatusOK, http.StatusNoContent)
		if errors.Is(err, oauth.UnsupportedTokenType) && t.token == s.AccessToken && s.RefreshToken != "" && len(failures) == 0 {
			continue // allowed by RFC 7009 (2); the refresh token took it along
		}
		if err != nil {
			failures = append(failures, fmt.Errorf("revoke %s at %s: %w", t.hint, s.Issuer, err))
		}
	}
	return errors.Join(failures...)
}
