package login

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// defaultPending bounds the sign-ins under way, about 40 MB of them.
const defaultPending = 20_000

// maxOpened bounds how many attempts of one place count as opened, give or take
// those that are marked at the same instant: to return a cookie proves a
// browser, but not that a person is in front of it.
const maxOpened = 50

// AttemptsConfig is what Attempts works with.
type AttemptsConfig struct {
	DB   *store.DB
	Ring *keyring.Ring
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// MaxPending bounds the sign-ins under way, give or take a hundredth; zero
	// means 20,000. Of one network (IPv4 /24, IPv6 /48) there can be a tenth of
	// it, so that a flood from one place pushes only itself out.
	MaxPending int
}

// Attempts keeps sign-ins under way for the OAuth client. Newcomers are never
// refused: where there are too many, the places that hold most give way, each
// with those that have waited longest among the ones whose browser has not
// shown itself (S11). State is stored hashed, verifier and proof key sealed
// (S42).
type Attempts struct {
	db       *store.DB
	ring     *keyring.Ring
	now      func() time.Time
	pending  int
	perPlace int
	opened   int // per place
	puts     atomic.Int64
}

var _ client.AttemptStore = (*Attempts)(nil)

// NewAttempts checks cfg and returns Attempts. It does no I/O.
func NewAttempts(cfg AttemptsConfig) (*Attempts, error) {
	if cfg.DB == nil || cfg.Ring == nil || cfg.MaxPending < 0 {
		return nil, errors.New("login: attempts need DB and Ring, and a MaxPending that is not negative")
	}
	s := &Attempts{db: cfg.DB, ring: cfg.Ring, now: cfg.Now, pending: cfg.MaxPending}
	if s.now == nil {
		s.now = time.Now
	}
	if s.pending == 0 {
		s.pending = defaultPending
	}
	s.perPlace = max(1, s.pending/10)
	s.opened = min(maxOpened, s.perPlace/2) // so that there is room for others
	return s, nil
}

// appState is what login keeps with an attempt. The client carries it as
// opaque bytes; the table has columns for it.
type appState struct {
	ReturnTo string `json:"return_to"`
	Binding  []byte `json:"binding"`       // SHA-256 of the binding cookie's value
	Origin   string `json:"origin"`        // coarse address of who started
	App      string `json:"app,omitempty"` // the sign-in of an app that it is for
	// Identifier is what was typed, tidied; empty in attempts of older programs.
	Identifier string `json:"identifier,omitempty"`
}

// params are the parts of an attempt that are neither secret nor asked for.
type params struct {
	RedirectURI        string `json:"redirect_uri"`
	Scope              string `json:"scope"`
	KeyID              string `json:"key_id,omitempty"`
	TokenEndpoint      string `json:"token_endpoint"`
	RevocationEndpoint string `json:"revocation_endpoint,omitempty"`
	Identifier         string `json:"identifier,omitempty"`
	Replaces           string `json:"replaces,omitempty"` // the session that it upgrades
}

// Put stores a new attempt and drops what is too many.
func (s *Attempts) Put(ctx context.Context, a *client.Attempt) error {
	var own appState
	if err := json.Unmarshal(a.AppState, &own); err != nil {
		return fmt.Errorf("store sign-in: not one of login's: %w", err)
	}
	hash := hashState(a.State)
	verifier, key, err := s.seal(a, hash)
	if err != nil {
		return fmt.Errorf("store sign-in: %w", err)
	}
	public, err := json.Marshal(params{
		a.RedirectURI, a.Scope, a.KeyID, a.TokenEndpoint, a.RevocationEndpoint, own.Identifier, a.Replaces,
	})
	if err != nil {
		return fmt.Errorf("store sign-in: %w", err)
	}
	sweep := s.puts.Add(1)%int64(max(1, s.pending/100)) == 0
	err = s.db.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `
INSERT INTO login_attempt (state_hash, issuer, did, binding_hash, return_to, origin, opened, params, verifier, dpop_key, created_at, expires_at, app_login_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
			hash, a.Issuer, a.Account.String(), own.Binding, own.ReturnTo, own.Origin, false,
			public, verifier, key, store.Micros(a.CreatedAt), store.Micros(a.ExpiresAt), own.App); err != nil {
			return err
		}
		if err := dropOldest(ctx, tx, hash, s.perPlace, own.Origin); err != nil || !sweep {
			return err
		}
		return dropFromMost(ctx, tx, hash, s.pending)
	})
	if err != nil {
		return fmt.Errorf("store sign-in: %w", err)
	}
	return nil
}

// dropOldest keeps limit attempts of a place, newcomer among them, and drops the
// others: unopened before opened, old before new.
func dropOldest(ctx context.Context, tx *store.Tx, newcomer []byte, limit int, origin string) error {
	_, err := tx.ExecContext(ctx, `
DELETE FROM login_attempt WHERE state_hash IN (
  SELECT state_hash FROM login_attempt WHERE state_hash <> $1 AND origin = $3
  ORDER BY opened DESC, created_at DESC, state_hash LIMIT 1000000 OFFSET $2)`, newcomer, limit-1, origin)
	return err
}

// dropFromMost keeps limit attempts of all places, newcomer among them. Every
// place keeps its best one before any keeps a second, and so on: what goes
// comes from the places that hold most, however many of their browsers have
// shown themselves.
func dropFromMost(ctx context.Context, tx *store.Tx, newcomer []byte, limit int) error {
	_, err := tx.ExecContext(ctx, `
DELETE FROM login_attempt WHERE state_hash IN (
  SELECT state_hash FROM (
    SELECT state_hash, opened, created_at,
           row_number() OVER (PARTITION BY origin ORDER BY opened DESC, created_at DESC, state_hash) AS nth
    FROM login_attempt WHERE state_hash <> $1) AS ranked
  ORDER BY nth, opened DESC, created_at DESC, state_hash LIMIT 1000000 OFFSET $2)`, newcomer, limit-1)
	return err
}

const attemptColumns = `issuer, did, binding_hash, return_to, origin, params, verifier, dpop_key, created_at, expires_at, app_login_id`

// Peek returns an attempt and leaves it; client.ErrNotFound when there is none.
func (s *Attempts) Peek(ctx context.Context, state string) (*client.Attempt, error) {
	a, err := s.scan(state, s.db.Read().QueryRowContext(ctx,
		`SELECT `+attemptColumns+` FROM login_attempt WHERE state_hash = $1`, hashState(state)))
	if err != nil {
		return nil, fmt.Errorf("read sign-in: %w", err)
	}
	return a, nil
}

// Take returns an attempt and removes it: one of any number of callers gets it.
func (s *Attempts) Take(ctx context.Context, state string) (*client.Attempt, error) {
	var a *client.Attempt
	err := s.db.Tx(ctx, func(tx *store.Tx) error {
		var err error
		a, err = s.scan(state, tx.QueryRowContext(ctx,
			`DELETE FROM login_attempt WHERE state_hash = $1 RETURNING `+attemptColumns, hashState(state)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("take sign-in: %w", err)
	}
	return a, nil
}

// markOpened notes that a browser has shown the binding cookies of these
// attempts, as long as their place has not too many of that kind.
func (s *Attempts) markOpened(ctx context.Context, shown []bound) error {
	err := s.db.Tx(ctx, func(tx *store.Tx) error {
		for _, b := range shown {
			if _, err := tx.ExecContext(ctx,
				`UPDATE login_attempt SET opened = $1 WHERE state_hash = $2 AND binding_hash = $3 AND NOT opened
AND (SELECT count(*) FROM login_attempt o WHERE o.origin = login_attempt.origin AND o.opened) < $4`,
				true, b.stateHash, hashBinding(b.value), s.opened); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("mark sign-ins as opened: %w", err)
	}
	return nil
}

// markRefused notes that a browser without the binding cookie came back with
// this attempt, and tells whether it is the first one.
func (s *Attempts) markRefused(ctx context.Context, state string) (first bool, err error) {
	err = s.db.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx,
			`UPDATE login_attempt SET refused = $1 WHERE state_hash = $2 AND NOT refused`, true, hashState(state))
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		first = n > 0
		return err
	})
	if err != nil {
		return false, fmt.Errorf("mark sign-in as refused: %w", err)
	}
	return first, nil
}

// scan reads attemptColumns.
func (s *Attempts) scan(state string, row *sql.Row) (*client.Attempt, error) {
	var (
		a                     = client.Attempt{State: state}
		own                   appState
		public, verifier, key []byte
		created, expires      int64
	)
	err := row.Scan(&a.Issuer, &a.Account, &own.Binding, &own.ReturnTo, &own.Origin, &public, &verifier, &key, &created, &expires, &own.App)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, client.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	var p params
	if err := json.Unmarshal(public, &p); err != nil {
		return nil, fmt.Errorf("params: %w", err)
	}
	own.Identifier = p.Identifier
	a.RedirectURI, a.Scope, a.KeyID, a.Replaces = p.RedirectURI, p.Scope, p.KeyID, p.Replaces
	a.TokenEndpoint, a.RevocationEndpoint = p.TokenEndpoint, p.RevocationEndpoint
	a.CreatedAt, a.ExpiresAt = store.FromMicros(created), store.FromMicros(expires)
	if a.AppState, err = json.Marshal(own); err != nil {
		return nil, err
	}
	return &a, s.open(&a, verifier, key)
}

func hashState(state string) []byte {
	sum := sha256.Sum256([]byte(state))
	return sum[:]
}

// place is where a secret of an attempt is stored, for sealing.
func place(column string, stateHash []byte) keyring.Place {
	return keyring.Place{Table: "login_attempt", Column: column, Key: hex.EncodeToString(stateHash)}
}

func (s *Attempts) seal(a *client.Attempt, hash []byte) (verifier, key []byte, err error) {
	jwk, err := a.DPoPKey.PrivateJWK()
	if err != nil {
		return nil, nil, err
	}
	if key, err = s.ring.Seal(jwk, place("dpop_key", hash)); err != nil {
		return nil, nil, err
	}
	verifier, err = s.ring.Seal([]byte(a.Verifier), place("verifier", hash))
	return verifier, key, err
}

func (s *Attempts) open(a *client.Attempt, verifier, key []byte) error {
	hash := hashState(a.State)
	plain, err := s.ring.Open(verifier, place("verifier", hash))
	if err != nil {
		return fmt.Errorf("open verifier: %w", err)
	}
	jwk, err := s.ring.Open(key, place("dpop_key", hash))
	if err != nil {
		return fmt.Errorf("open dpop_key: %w", err)
	}
	a.Verifier = string(plain)
	a.DPoPKey, err = dpop.ParseKey(jwk)
	return err
}
