package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

const (
	// AppLife is how long an app session lives that is not renewed.
	AppLife = 90 * 24 * time.Hour
	// appGrace is how long an answer to a refresh can be asked for again.
	appGrace = 30 * time.Second
)

// Kinds of audit rows about apps. They are stored; a name is never reused.
const (
	KindAppSignIn   Kind = "app_sign_in"
	KindAppCollect  Kind = "app_collected" // the app has its secrets
	KindAppEnded    Kind = "app_ended"     // by the member or the app
	KindAppReplayed Kind = "app_replayed"  // a used secret came again; the session was ended
	KindAppRefused  Kind = "app_refused"   // a sign-in that was never approved; Detail says how it ended
)

// ErrAppOver says that an app session is over, or a secret or token none of ours.
var ErrAppOver = fault.New(fault.Unauthenticated, "This sign-in of the app is over, or was never one. Sign in again.").WithCode("AuthRequired")

// AppsConfig is what Apps works with.
type AppsConfig struct {
	Manager *Manager
	Keys    *TokenKeys
	// Issuer is the instance's origin: issuer and audience of its tokens.
	Issuer string
}

// Apps keeps the sessions of applications: each belongs to one member and has an
// OAuth session of its own (S45). It is safe for concurrent use, also by several
// processes on one database; an ended session is refused by all of them at once,
// because every request reads its row.
type Apps struct {
	m      *Manager
	keys   *TokenKeys
	issuer string
}

// NewApps checks cfg and returns Apps. It does no I/O.
func NewApps(cfg AppsConfig) (*Apps, error) {
	if cfg.Manager == nil || cfg.Keys == nil || cfg.Issuer == "" {
		return nil, errors.New("session: apps need Manager, Keys and Issuer")
	}
	return &Apps{m: cfg.Manager, keys: cfg.Keys, issuer: cfg.Issuer}, nil
}

// AppSignIn is a member who has just proven who they are, for an app.
type AppSignIn struct {
	// ID is the app session's, made by NewAppID.
	ID string
	// Session is the new OAuth session. It is stored by SignIn, not before.
	Session *client.SessionData
	// Handle is for display; empty when no handle could be verified.
	Handle syntax.Handle
	// Name is what the app calls itself, Origin the coarse address it asked from.
	Name, Origin string
	// CollectBy is when the app must have its secrets: afterwards the session ends.
	CollectBy time.Time
	// Addr is the member's address; only its Origin is kept.
	Addr netip.Addr
}

// NewAppID returns an id for an app session. It is no secret.
func NewAppID() string { return rand.Text() }

// AppSecret is an app's refresh secret: 16 bytes that name the session and stay,
// and 32 that change with every use.
type AppSecret struct{ family, rest []byte }

const (
	familyBytes = 16
	restBytes   = 32
)

// NewAppSecret returns a secret that nobody has known before.
func NewAppSecret() AppSecret {
	raw := make([]byte, familyBytes+restBytes)
	rand.Read(raw) // never fails
	return AppSecret{raw[:familyBytes], raw[familyBytes:]}
}

// DeriveAppSecret makes a secret from two halves that meet only here: one that
// the app holds, and one that we keep until it has acknowledged the secret.
func DeriveAppSecret(held keyring.Secret, salt []byte) AppSecret {
	family, rest := mac([]byte(held.Reveal()), "family", salt), mac([]byte(held.Reveal()), "rest", salt)
	return AppSecret{family[:familyBytes], rest}
}

// Text is the secret as an app gets it.
func (s AppSecret) Text() keyring.Secret {
	return keyring.NewSecret(base64.RawURLEncoding.EncodeToString(append(append([]byte{}, s.family...), s.rest...)))
}

// Format keeps the secret out of formatted text, whatever the verb.
func (AppSecret) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte("[redacted]")) }

func parseAppSecret(text keyring.Secret) (AppSecret, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(text.Reveal())
	if err != nil || len(raw) != familyBytes+restBytes {
		return AppSecret{}, false
	}
	return AppSecret{raw[:familyBytes], raw[familyBytes:]}, true
}

// next is the secret after s, for those who know the salt.
func (s AppSecret) next(salt []byte) AppSecret {
	return AppSecret{s.family, mac(s.rest, "next", salt)}
}

// familyHash and restHash are what the database keeps: the values are random, so
// that plain hashes cannot be searched.
func (s AppSecret) familyHash() []byte { sum := sha256.Sum256(s.family); return sum[:] }
func (s AppSecret) restHash() []byte   { sum := sha256.Sum256(s.rest); return sum[:] }

func mac(key []byte, label string, salt []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte("atoll app secret " + label + "\x00"))
	h.Write(salt)
	return h.Sum(nil)
}

// AppGrant is what an app holds of its session.
type AppGrant struct {
	SessionID     string
	DID           syntax.DID
	Handle        syntax.Handle // empty when none can be verified
	Access        keyring.Secret
	AccessExpires time.Time
	Refresh       keyring.Secret
}

// SignIn stores a session that nobody has collected so far, together with its
// OAuth session, in one transaction: where one of them is, the other is, too.
func (a *Apps) SignIn(ctx context.Context, in AppSignIn) error {
	row, err := a.m.seal(in.Session)
	if err != nil {
		return fmt.Errorf("sign %s in for an app: %w", in.Session.DID, err)
	}
	err = a.m.change(ctx, func(tx *change) error {
		if err := insertSession(ctx, tx.Tx, row); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `
INSERT INTO app_session (id, did, handle, oauth_session_id, name, origin, once, generation, created_at, rotated_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $8, $9)`,
			in.ID, in.Session.DID.String(), in.Handle.String(), in.Session.ID, in.Name, in.Origin, false,
			store.Micros(tx.now), store.Micros(in.CollectBy)); err != nil {
			return err
		}
		return tx.record(ctx, Entry{Kind: KindAppSignIn, DID: in.Session.DID, SessionID: in.Session.ID,
			Origin: Origin(in.Addr), Detail: in.Session.Issuer})
	})
	if err != nil {
		return fmt.Errorf("sign %s in for an app: %w", in.Session.DID, err)
	}
	in.Session.Version = 1 // as insertSession stored it
	return nil
}

// Collect gives the app its session with this first secret. It can be repeated
// with the same secret until that has been used. Error: ErrAppOver.
func (a *Apps) Collect(ctx context.Context, id string, secret AppSecret) (AppGrant, error) {
	var grant AppGrant
	err := a.m.change(ctx, func(tx *change) (err error) {
		row, err := tx.lockApp(ctx, `id = $1`, id)
		if err != nil {
			return err
		}
		switch {
		case !row.expires.After(tx.now):
			return ErrAppOver
		case row.generation == 0:
			if err := tx.collect(ctx, row, secret, tx.now.Add(AppLife), false); err != nil {
				return err
			}
		case row.generation != 1 || !row.current(secret):
			return ErrAppOver
		}
		grant, err = a.grant(ctx, tx, row, secret)
		return err
	})
	if err != nil {
		return AppGrant{}, fmt.Errorf("collect app session %s: %w", id, err)
	}
	return grant, nil
}

// HandOut gives out the first secret of a session that a browser carries to its
// app: it must be exchanged until by, and works exactly once. Error: ErrAppOver.
func (a *Apps) HandOut(ctx context.Context, id string, by time.Time) (keyring.Secret, error) {
	secret := NewAppSecret()
	err := a.m.change(ctx, func(tx *change) error {
		row, err := tx.lockApp(ctx, `id = $1`, id)
		if err != nil {
			return err
		}
		if row.generation != 0 {
			return ErrAppOver
		}
		return tx.collect(ctx, row, secret, by, true)
	})
	if err != nil {
		return keyring.Secret{}, fmt.Errorf("hand out app session %s: %w", id, err)
	}
	return secret.Text(), nil
}

// collect stores the first secret of a session.
func (tx *change) collect(ctx context.Context, row appRow, secret AppSecret, expires time.Time, once bool) error {
	if _, err := tx.ExecContext(ctx, `
UPDATE app_session SET family_hash = $1, secret_hash = $2, once = $3, generation = 1, rotated_at = $4, expires_at = $5 WHERE id = $6`,
		secret.familyHash(), secret.restHash(), once, store.Micros(tx.now), store.Micros(expires), row.id); err != nil {
		return err
	}
	return tx.record(ctx, Entry{Kind: KindAppCollect, DID: row.did, SessionID: row.oauth})
}

// grant is what the app of row gets, with a new access token, while its OAuth
// session lives.
func (a *Apps) grant(ctx context.Context, tx *change, row appRow, secret AppSecret) (AppGrant, error) {
	if _, err := a.account(ctx, tx, row.id); err != nil {
		return AppGrant{}, err
	}
	access, expires, err := a.keys.sign(a.issuer, row.did, row.id)
	if err != nil {
		return AppGrant{}, err
	}
	return AppGrant{SessionID: row.id, DID: row.did, Handle: row.handle, Access: access, AccessExpires: expires, Refresh: secret.Text()}, nil
}
