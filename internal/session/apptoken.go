package session

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/atoll-social/atoll/internal/keyring"
)

const (
	// AppTokenLife is how long an access token of an app is good.
	AppTokenLife = 15 * time.Minute
	// maxTokenLife is the longest that any token of ours may be good (N5).
	maxTokenLife = 24 * time.Hour
	// tokenSkew is how far the clocks of two processes may be apart.
	tokenSkew = 5 * time.Second
	// tokenType keeps these tokens apart from all others that are signed by keys
	// of ours, or look like it (RFC 8725, 3.11).
	tokenType = "atoll-app+jwt"
	// maxToken bounds what is parsed, in bytes.
	maxToken = 4096
)

// ErrNotToken says that a token was not signed by this instance.
var ErrNotToken = errors.New("not an app token of this instance")

// errClaims: a token is ours, and not good here and now.
var errClaims = errors.New("app token not accepted")

// tokenClaims are the claims of an app token (RFC 7519; sid of OpenID Connect
// Front-Channel Logout).
type tokenClaims struct {
	jwt.Claims
	SessionID string `json:"sid"`
}

// sign makes a token for an app session and says when it ends.
func (k *TokenKeys) sign(issuer string, did syntax.DID, sessionID string) (keyring.Secret, time.Time, error) {
	set := k.set.Load()
	if set.signer == nil {
		return keyring.Secret{}, time.Time{}, ErrNoUsableKey
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: set.signer, KeyID: set.ids[0]}},
		(&jose.SignerOptions{}).WithType(tokenType))
	if err != nil {
		return keyring.Secret{}, time.Time{}, fmt.Errorf("sign app token: %w", err)
	}
	now := k.now().Truncate(time.Second)
	expires := now.Add(AppTokenLife)
	text, err := jwt.Signed(signer).Claims(tokenClaims{
		Claims: jwt.Claims{
			Issuer: issuer, Audience: jwt.Audience{issuer}, Subject: did.String(), ID: rand.Text(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(expires),
		},
		SessionID: sessionID,
	}).Serialize()
	if err != nil {
		return keyring.Secret{}, time.Time{}, fmt.Errorf("sign app token: %w", err)
	}
	return keyring.NewSecret(text), expires, nil
}

// verify returns the claims of a token that is ours and good now. Only ES256 is
// accepted, and only keys that are published: what the token itself says about
// its key besides the id is not looked at (RFC 8725, 3.1 and 3.10).
func (k *TokenKeys) verify(issuer, token string) (tokenClaims, error) {
	if len(token) > maxToken {
		return tokenClaims{}, ErrNotToken
	}
	parsed, err := jwt.ParseSigned(token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil || len(parsed.Headers) != 1 {
		return tokenClaims{}, errors.Join(ErrNotToken, err)
	}
	header := parsed.Headers[0]
	key, known := k.set.Load().public[header.KeyID]
	if !known || header.ExtraHeaders[jose.HeaderType] != tokenType {
		return tokenClaims{}, fmt.Errorf("%w: key or type", ErrNotToken)
	}
	var claims tokenClaims
	if err := parsed.Claims(key, &claims); err != nil {
		return tokenClaims{}, errors.Join(ErrNotToken, err)
	}
	return claims, k.judge(issuer, claims)
}

// judge looks at what a genuine token says.
func (k *TokenKeys) judge(issuer string, c tokenClaims) error {
	now := k.now()
	switch {
	case c.Issuer != issuer || !slices.Equal(c.Audience, jwt.Audience{issuer}):
		return fmt.Errorf("%w: issuer or audience", errClaims)
	case c.SessionID == "" || c.ID == "" || c.Expiry == nil || c.NotBefore == nil || c.IssuedAt == nil:
		return fmt.Errorf("%w: a claim is missing", errClaims)
	case !now.Before(c.Expiry.Time()):
		return fmt.Errorf("%w: expired", errClaims)
	case now.Add(tokenSkew).Before(c.NotBefore.Time()) || now.Add(tokenSkew).Before(c.IssuedAt.Time()):
		return fmt.Errorf("%w: not yet valid", errClaims)
	case c.Expiry.Time().Sub(c.IssuedAt.Time()) > maxTokenLife:
		return fmt.Errorf("%w: lives too long", errClaims)
	}
	if _, err := syntax.ParseDID(c.Subject); err != nil {
		return fmt.Errorf("%w: subject", errClaims)
	}
	return nil
}
