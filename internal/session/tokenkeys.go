package session

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// purposeToken marks the keys that sign app tokens.
const purposeToken = "app_token"

const (
	// TokenKeyLife is how long a key signs before the next one takes over.
	TokenKeyLife = 30 * 24 * time.Hour
	// tokenKeyKept is how long a key is published after it has signed last:
	// longer than any token lives.
	tokenKeyKept = 25 * time.Hour
)

// TokenKeys keeps the instance's own private keys, which sign app tokens: sealed
// in the database, shared by all processes, and none of them ever used by the
// OAuth client (N5). They rotate by themselves. It is safe for concurrent use.
type TokenKeys struct {
	db   *store.DB
	ring *keyring.Ring
	log  *slog.Logger
	now  func() time.Time
	set  atomic.Pointer[tokenSet]
}

// tokenSet is what is published at a moment, and what signs.
type tokenSet struct {
	ids    []string // as they were read; the first one signs
	signer *ecdsa.PrivateKey
	public map[string]*ecdsa.PublicKey
	jwks   []byte
}

// NewTokenKeys checks cfg and returns TokenKeys without a key. It does no I/O.
func NewTokenKeys(cfg KeysConfig) (*TokenKeys, error) {
	if cfg.DB == nil || cfg.Ring == nil || cfg.Logger == nil {
		return nil, errors.New("session: token keys need DB, Ring and Logger")
	}
	k := &TokenKeys{db: cfg.DB, ring: cfg.Ring, log: cfg.Logger.With("component", "token_keys"), now: cfg.Now}
	if k.now == nil {
		k.now = time.Now
	}
	k.set.Store(&tokenSet{jwks: []byte(`{"keys":[]}`)})
	return k, nil
}

// Ensure reads the keys and makes the first one where there is none: of several
// processes that start at once one makes it and all use it.
func (k *TokenKeys) Ensure(ctx context.Context) error {
	if err := k.follow(ctx); err != nil {
		return fmt.Errorf("token keys: %w", err)
	}
	return nil
}

// Run follows changes by other processes and makes the next key in time, until
// ctx ends. Trouble is logged and leaves the keys as they are.
func (k *TokenKeys) Run(ctx context.Context) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := k.follow(ctx); err != nil && ctx.Err() == nil {
				k.log.ErrorContext(ctx, "token keys not followed", "error", err)
			}
		}
	}
}

// PublicJWKS is the JWK set (RFC 7517, 5) to publish: public members only.
func (k *TokenKeys) PublicJWKS() []byte { return k.set.Load().jwks }

// tokenKeyRow is a row of signing_key.
type tokenKeyRow struct {
	id     string
	seq    int64
	from   time.Time // signs from then on
	sealed []byte
}

// follow brings the set to what is stored, after a step of the rotation.
func (k *TokenKeys) follow(ctx context.Context) error {
	rows, err := k.rows(ctx)
	if err != nil {
		return err
	}
	changed, err := k.rotate(ctx, rows)
	if err != nil {
		return err
	}
	if changed {
		if rows, err = k.rows(ctx); err != nil {
			return err
		}
	}
	return k.load(rows)
}

// rows reads the published keys, last made first.
func (k *TokenKeys) rows(ctx context.Context) ([]tokenKeyRow, error) {
	rows, err := k.db.Read().QueryContext(ctx, `
SELECT kid, seq, signs_from, private_key FROM signing_key WHERE purpose = $1 AND withdrawn_at = 0 ORDER BY seq DESC`, purposeToken)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []tokenKeyRow
	for rows.Next() {
		var r tokenKeyRow
		var from int64
		if err := rows.Scan(&r.id, &r.seq, &from, &r.sealed); err != nil {
			return nil, err
		}
		r.from = store.FromMicros(from)
		all = append(all, r)
	}
	return all, rows.Err()
}

// rotate makes the next key when it is time, and withdraws those whose tokens
// are all over. Processes that do it at once agree by the key's number.
func (k *TokenKeys) rotate(ctx context.Context, rows []tokenKeyRow) (changed bool, err error) {
	now := k.now()
	if len(rows) == 0 {
		return true, k.insert(ctx, 0, now)
	}
	if !rows[0].from.Add(TokenKeyLife).After(now) {
		// Published before it signs: others keep copies of the key set.
		return true, k.insert(ctx, rows[0].seq, now.Add(KeyLead))
	}
	for i := 1; i < len(rows); i++ {
		if rows[i-1].from.Add(tokenKeyKept).After(now) {
			continue
		}
		if err := k.withdraw(ctx, rows[i].id, now); err != nil {
			return changed, err
		}
		changed = true
	}
	return changed, nil
}

func (k *TokenKeys) withdraw(ctx context.Context, id string, now time.Time) error {
	return k.db.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx,
			`UPDATE signing_key SET withdrawn_at = $1 WHERE kid = $2 AND withdrawn_at = 0`, store.Micros(now), id)
		if err := oneRow(res, err, errNothing); errors.Is(err, errNothing) {
			return nil // another process was first
		} else if err != nil {
			return err
		}
		return record(ctx, tx, Entry{Kind: KindKeyWithdrawn, Detail: id}, now)
	})
}

// errNothing: a statement changed nothing.
var errNothing = errors.New("nothing changed")

// insert makes the key after number last, unless another process has just made it.
func (k *TokenKeys) insert(ctx context.Context, last int64, from time.Time) error {
	id, jwk, err := newTokenKey()
	if err != nil {
		return err
	}
	sealed, err := k.ring.Seal(jwk, keyPlace(id))
	if err != nil {
		return err
	}
	now := k.now()
	return k.db.Tx(ctx, func(tx *store.Tx) error {
		// A number is never used again, also when its key is withdrawn.
		var newest int64
		if err := tx.QueryRowContext(ctx, `SELECT COALESCE(max(seq), 0) FROM signing_key WHERE purpose = $1`, purposeToken).Scan(&newest); err != nil {
			return err
		}
		if last != 0 && newest != last {
			return nil
		}
		res, err := tx.ExecContext(ctx, `
INSERT INTO signing_key (kid, purpose, seq, private_key, created_at, signs_from, withdrawn_at)
VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (purpose, seq) DO NOTHING`,
			id, purposeToken, newest+1, sealed, store.Micros(now), store.Micros(from))
		if err := oneRow(res, err, errNothing); errors.Is(err, errNothing) {
			return nil
		} else if err != nil {
			return err
		}
		return record(ctx, tx, Entry{Kind: KindKeyMade, Detail: id}, now)
	})
}

// newTokenKey makes an ES256 key; its id is its thumbprint (RFC 7638).
func newTokenKey() (id string, jwk []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", nil, err
	}
	key := jose.JSONWebKey{Key: private}
	sum, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", nil, err
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(sum)
	jwk, err = json.Marshal(key)
	return key.KeyID, jwk, err
}

// load replaces the set, if the keys have changed.
func (k *TokenKeys) load(rows []tokenKeyRow) error {
	now := k.now()
	first := 0
	for first < len(rows) && rows[first].from.After(now) {
		first++ // published only, so far
	}
	if first == len(rows) {
		if len(rows) == 0 {
			return ErrNoUsableKey
		}
		first = len(rows) - 1 // a clock went back: better an early key than none
	}
	ids := []string{rows[first].id}
	for _, r := range rows {
		ids = append(ids, r.id)
	}
	if old := k.set.Load(); slices.Equal(old.ids, ids) {
		return nil
	}
	set := &tokenSet{ids: ids, public: map[string]*ecdsa.PublicKey{}}
	published := jose.JSONWebKeySet{}
	for i, r := range rows {
		private, err := k.open(r)
		if err != nil {
			return fmt.Errorf("token key %s: %w", r.id, err)
		}
		if i == first {
			set.signer = private
		}
		set.public[r.id] = &private.PublicKey
		published.Keys = append(published.Keys, jose.JSONWebKey{Key: &private.PublicKey, KeyID: r.id, Algorithm: string(jose.ES256), Use: "sig"})
	}
	var err error
	if set.jwks, err = json.Marshal(published); err != nil {
		return err
	}
	k.set.Store(set)
	return nil
}

func (k *TokenKeys) open(r tokenKeyRow) (*ecdsa.PrivateKey, error) {
	plain, err := k.ring.Open(r.sealed, keyPlace(r.id))
	if err != nil {
		return nil, err
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal(plain, &jwk); err != nil {
		return nil, errUnreadable // without what was read
	}
	private, ok := jwk.Key.(*ecdsa.PrivateKey)
	if !ok || jwk.KeyID != r.id || private.Curve != elliptic.P256() {
		return nil, errUnreadable
	}
	return private, nil
}
