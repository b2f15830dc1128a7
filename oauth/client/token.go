package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
)

// Bounds of a token response.
const (
	maxToken      = 16 << 10       // bytes of one token
	maxScope      = 16 << 10       // bytes of the granted scope
	maxAccessLife = 24 * time.Hour // a longer or absurd expires_in counts as this

	maxRefreshLife = 2 * 365 * 24 * time.Hour // the same for refresh_token_expires_in
)

// tokens is a token response (RFC 6749, 5.1; AT Protocol OAuth).
type tokens struct {
	Access  string          `json:"access_token"`
	Type    string          `json:"token_type"`
	Refresh string          `json:"refresh_token"`
	Scope   string          `json:"scope"`
	Subject string          `json:"sub"`
	Expires json.RawMessage `json:"expires_in"`
	// RefreshExpires is of an extension (draft-ietf-oauth-refresh-token-expiration).
	RefreshExpires json.RawMessage `json:"refresh_token_expires_in"`
}

// redeem exchanges a code (RFC 6749, 4.1.3). When it returns tokens beside an
// error, they were issued all the same and must be revoked.
func (c *Client) redeem(ctx context.Context, a *Attempt, code string) (*tokens, error) {
	form := url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {code},
		"redirect_uri":  {a.RedirectURI},
		"code_verifier": {a.Verifier},
	}
	got, err := c.post(ctx, c.callOf(a, a.TokenEndpoint, form), http.StatusOK)
	if err != nil {
		return nil, err
	}
	var t tokens
	if err := got.decode(&t); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTokenResponse, err)
	}
	return &t, t.check()
}

// check holds a response against what no session can do without.
func (t *tokens) check() error {
	switch {
	case !usable(t.Access):
		return fmt.Errorf("%w: no usable access_token", ErrTokenResponse)
	case t.Refresh != "" && !usable(t.Refresh):
		return fmt.Errorf("%w: no usable refresh_token", ErrTokenResponse)
	case !strings.EqualFold(t.Type, "DPoP"): // token types have no case (RFC 6749, 5.1)
		return ErrTokenType
	case len(t.Scope) > maxScope:
		return fmt.Errorf("%w: scope is too long", ErrTokenResponse)
	case !oauth.GrantedScopes(t.Scope).Has(oauth.Atproto):
		return ErrNoAtproto
	}
	if _, err := syntax.ParseDID(t.Subject); err != nil {
		return fmt.Errorf("%w: sub is not a DID", ErrTokenResponse)
	}
	return nil
}

// usable reports whether a token can stand in a header.
func usable(token string) bool { return token != "" && len(token) <= maxToken && printable(token) }

// accessEnd returns when the access token ends by our clock. Missing,
// unreadable, zero and negative expires_in mean unknown (the zero time): the
// server will say when it is over. More than a day, up to the absurd, counts as
// a day.
func (t *tokens) accessEnd(now time.Time) time.Time { return endOf(t.Expires, now, maxAccessLife) }

// refreshEnd is the same for the refresh token, where the server says it.
func (t *tokens) refreshEnd(now time.Time) time.Time {
	return endOf(t.RefreshExpires, now, maxRefreshLife)
}

// endOf reads a number of seconds from now, most at most.
func endOf(text json.RawMessage, now time.Time, most time.Duration) time.Time {
	seconds, err := strconv.ParseFloat(strings.Trim(string(text), `"`), 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && math.IsInf(seconds, 1):
	case err != nil || math.IsNaN(seconds) || seconds < 1:
		return time.Time{}
	}
	if seconds > most.Seconds() {
		return now.Add(most)
	}
	return now.Add(time.Duration(seconds) * time.Second)
}
