package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// Attempt is one sign-in under way, from Start to Callback. It holds secrets:
// in fmt and slog it shows State's beginning and Issuer only, and encoding/json
// refuses it. MarshalBinary writes all of it for a store that seals.
type Attempt struct {
	// State is the attempt's key: 256 random bits, base64url, 43 characters.
	State string
	// Issuer is the authorization server's identifier, an origin.
	Issuer string
	// Account is the DID that must come back; empty when the sign-in was
	// started from a server.
	Account syntax.DID
	// RedirectURI is where the browser comes back to.
	RedirectURI string
	// Scope is what was asked for, as text.
	Scope string
	// KeyID is the client key that the session will be pinned to; empty for a
	// public client.
	KeyID string
	// Verifier is the PKCE secret (RFC 7636).
	Verifier string
	// DPoPKey will sign the session's proofs.
	DPoPKey *dpop.Key
	// TokenEndpoint and RevocationEndpoint are the server's, as discovered when
	// the attempt began; the latter may be empty.
	TokenEndpoint      string
	RevocationEndpoint string
	// AppState is the caller's own, returned as it was given.
	AppState []byte
	// Replaces is the id of the session that this sign-in upgrades; see Upgrade.
	Replaces string
	// CreatedAt and ExpiresAt bound the attempt's life, 30 minutes. The client
	// refuses an expired attempt whether or not it was swept.
	CreatedAt time.Time
	ExpiresAt time.Time
}

// SessionData is everything that a session consists of. It holds secrets: in
// fmt and slog it shows ID, DID, Issuer and Version only, and encoding/json
// refuses it. MarshalBinary writes all of it for a store that seals; a store
// with columns seals DPoPKey, AccessToken and RefreshToken. Times are UTC; a
// zero time means unknown or not at all.
type SessionData struct {
	// ID is the session's key: 130 random bits, base32, made at
	// sign-in. It can stand on a command line: it does not begin with a hyphen.
	ID string
	// DID is whose session it is.
	DID syntax.DID
	// Issuer is the authorization server that gave the tokens, and PDS the
	// server that they are for; both are origins.
	Issuer string
	PDS    string
	// ClientID is the client that the tokens were given to. KeyID is the client
	// key the session is pinned to (empty for a public client): it must stay
	// published as long as the session lives.
	ClientID string
	KeyID    string
	// DPoPKey signs the session's proofs; it is the session's own.
	DPoPKey *dpop.Key
	// AccessToken and RefreshToken are opaque. RefreshToken may be empty.
	AccessToken  string
	RefreshToken string
	// Scope is what was granted, as the server wrote it; perhaps less than what
	// was asked for.
	Scope string
	// TokenEndpoint and RevocationEndpoint are the issuer's; the latter may be
	// empty.
	TokenEndpoint      string
	RevocationEndpoint string
	// Version is compared and raised by every save; see SessionStore.
	Version int64
	// LeaseOwner is who may refresh the session until LeaseUntil, by wall
	// clock. SentUntil is when the answer to a refresh request that was sent
	// under the lease arrives at the latest. All are empty in a session at rest.
	LeaseOwner string
	LeaseUntil time.Time
	SentUntil  time.Time
	// CreatedAt is when the member signed in, RefreshedAt when the tokens were
	// issued. UsedAt belongs to the store, which may keep it coarse: using a
	// session saves nothing.
	CreatedAt   time.Time
	UsedAt      time.Time
	RefreshedAt time.Time
	// AccessExpiresAt and RefreshExpiresAt are ends by our own clock, as far as
	// the server named them.
	AccessExpiresAt  time.Time
	RefreshExpiresAt time.Time
}

// Scopes returns what was granted as parsed values.
func (d *SessionData) Scopes() oauth.Scopes { return oauth.GrantedScopes(d.Scope) }

// Clone returns a copy that shares nothing that can change.
func (d *SessionData) Clone() *SessionData { c := *d; return &c }

// Clone returns a copy that shares nothing that can change.
func (a *Attempt) Clone() *Attempt {
	c := *a
	c.AppState = slices.Clone(a.AppState)
	return &c
}

// Expired reports whether the attempt's life is over at now.
func (a *Attempt) Expired(now time.Time) bool { return !now.Before(a.ExpiresAt) }

// ErrHoldsSecrets is what encoding/json gets instead of an Attempt or a
// SessionData.
var ErrHoldsSecrets = errors.New("client: holds secrets; write it with MarshalBinary and seal it")

// Format shows what is not secret, whatever the verb.
func (d SessionData) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "session %s of %s at %s, version %d", d.ID, d.DID, d.Issuer, d.Version)
}

// LogValue shows what is not secret.
func (d SessionData) LogValue() slog.Value {
	return slog.GroupValue(slog.String("id", d.ID), slog.String("did", d.DID.String()),
		slog.String("issuer", d.Issuer), slog.Int64("version", d.Version))
}

// MarshalJSON always fails with ErrHoldsSecrets.
func (d SessionData) MarshalJSON() ([]byte, error) { return nil, ErrHoldsSecrets }

// Format shows what is not secret, whatever the verb.
func (a Attempt) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "sign-in %.6s… at %s", a.State, a.Issuer)
}

// LogValue shows what is not secret.
func (a Attempt) LogValue() slog.Value {
	return slog.GroupValue(slog.String("issuer", a.Issuer), slog.String("account", a.Account.String()))
}

// MarshalJSON always fails with ErrHoldsSecrets.
func (a Attempt) MarshalJSON() ([]byte, error) { return nil, ErrHoldsSecrets }

// The stored forms carry the key as a JWK and the DID as text (it may be empty)
// beside the fields, and a format number, so that a later release can read
// what this one wrote.
type (
	plainSession  SessionData
	plainAttempt  Attempt
	storedSession struct {
		Format int
		plainSession
		DID     string
		DPoPKey json.RawMessage
	}
	storedAttempt struct {
		Format int
		plainAttempt
		Account string
		DPoPKey json.RawMessage
	}
)

const storedFormat = 1

// MarshalBinary writes the session with its secrets: seal it.
func (d *SessionData) MarshalBinary() ([]byte, error) {
	key, err := marshalKey(d.DPoPKey)
	if err != nil {
		return nil, err
	}
	return json.Marshal(storedSession{storedFormat, plainSession(*d), d.DID.String(), key})
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (d *SessionData) UnmarshalBinary(data []byte) error {
	var s storedSession
	key, err := unmarshal(data, &s, &s.Format, &s.DPoPKey)
	if err != nil {
		return fmt.Errorf("read stored session: %w", err)
	}
	*d = SessionData(s.plainSession)
	d.DID, d.DPoPKey = syntax.DID(s.DID), key
	return nil
}

// MarshalBinary writes the attempt with its secrets: seal it.
func (a *Attempt) MarshalBinary() ([]byte, error) {
	key, err := marshalKey(a.DPoPKey)
	if err != nil {
		return nil, err
	}
	return json.Marshal(storedAttempt{storedFormat, plainAttempt(*a), a.Account.String(), key})
}

// UnmarshalBinary reads what MarshalBinary wrote.
func (a *Attempt) UnmarshalBinary(data []byte) error {
	var s storedAttempt
	key, err := unmarshal(data, &s, &s.Format, &s.DPoPKey)
	if err != nil {
		return fmt.Errorf("read stored sign-in: %w", err)
	}
	*a = Attempt(s.plainAttempt)
	a.Account, a.DPoPKey = syntax.DID(s.Account), key
	return nil
}

func marshalKey(k *dpop.Key) (json.RawMessage, error) {
	if k == nil {
		return nil, errors.New("no proof key to write")
	}
	return k.PrivateJWK()
}

// unmarshal decodes into v, whose fields format and jwk point to.
func unmarshal(data []byte, v any, format *int, jwk *json.RawMessage) (*dpop.Key, error) {
	if err := json.Unmarshal(data, v); err != nil {
		return nil, errors.New("not in a known form") // the cause could quote secrets
	}
	if *format != storedFormat {
		return nil, fmt.Errorf("unknown format %d", *format)
	}
	return dpop.ParseKey(*jwk)
}
