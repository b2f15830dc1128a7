package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
)

// KeyLead is how long a new client key should be published before it signs:
// servers keep a fetched key set for ten minutes and refuse a key that is not
// in their copy.
const KeyLead = 15 * time.Minute

// followEvery is how often Keys looks for changes by other processes, which
// are to be followed within ten seconds.
const followEvery = 5 * time.Second

// purposeClient marks the keys of the OAuth client. Keys of one purpose are
// never used for another.
const purposeClient = "oauth_client"

// KeysConfig is what Keys works with.
type KeysConfig struct {
	DB     *store.DB
	Ring   *keyring.Ring
	Logger *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Keys keeps the private keys of the confidential client: sealed in the
// database, shared by all processes, published together by the set that signs
// (S3). It is safe for concurrent use.
type Keys struct {
	db   *store.DB
	ring *keyring.Ring
	log  *slog.Logger
	now  func() time.Time
	set  *client.KeySet
}

// NewKeys checks cfg and returns Keys with an empty set. It does no I/O.
func NewKeys(cfg KeysConfig) (*Keys, error) {
	if cfg.DB == nil || cfg.Ring == nil || cfg.Logger == nil {
		return nil, errors.New("session: keys need DB, Ring and Logger")
	}
	k := &Keys{db: cfg.DB, ring: cfg.Ring, log: cfg.Logger.With("component", "keys"), now: cfg.Now, set: &client.KeySet{}}
	if k.now == nil {
		k.now = time.Now
	}
	return k, nil
}

// Set returns the set to give to the OAuth client. It stays the same and is
// filled by Ensure and Run.
func (k *Keys) Set() *client.KeySet { return k.set }

// Ensure fills the set, making the first key when there has never been one: of
// several processes that start at once one makes it and all use it. It fails
// with ErrNoUsableKey when none of the keys may be used, and with keyring's
// errors when one does not open; then the instance must not start (S2).
func (k *Keys) Ensure(ctx context.Context) error {
	now := k.now()
	fresh, err := client.NewSigningKey()
	if err != nil {
		return fmt.Errorf("make the first client key: %w", err)
	}
	err = k.db.Tx(ctx, func(tx *store.Tx) error {
		var count int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM signing_key WHERE purpose = $1`, purposeClient).Scan(&count); err != nil || count > 0 {
			return err
		}
		_, err := k.insert(ctx, tx, fresh, 1, now, now)
		return err
	})
	if err != nil {
		return fmt.Errorf("make the first client key: %w", err)
	}
	if err := k.load(ctx); err != nil {
		return fmt.Errorf("load client keys: %w", err)
	}
	return nil
}

// Run follows changes by other processes, and keys whose time to sign comes,
// until ctx ends. Trouble is logged and leaves the set as it is.
func (k *Keys) Run(ctx context.Context) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := k.load(ctx); err != nil && ctx.Err() == nil {
				k.log.ErrorContext(ctx, "client keys not followed", "error", err)
			}
		}
	}
}

// Generate makes a key that is published from now on and signs nothing until
// Rotate picks it.
func (k *Keys) Generate(ctx context.Context) (KeyInfo, error) {
	info, err := k.add(ctx, func(ctx context.Context, tx *store.Tx, now time.Time) (string, error) {
		id, err := k.insertNext(ctx, tx, now)
		if err != nil {
			return "", err
		}
		return id, record(ctx, tx, Entry{Kind: KindKeyMade, Detail: id}, now)
	})
	if err != nil {
		return KeyInfo{}, fmt.Errorf("generate client key: %w", err)
	}
	return info, nil
}

// Rotate lets the newest key that does not sign yet sign for new sessions, and
// makes one where there is none. It begins as soon as the key has been
// published for lead (KeyLead; zero means at once, at the price of sign-ins
// that fail while servers hold an old copy of the key set). The keys before it
// stay published for the sessions that are pinned to them.
func (k *Keys) Rotate(ctx context.Context, lead time.Duration) (KeyInfo, error) {
	info, err := k.add(ctx, func(ctx context.Context, tx *store.Tx, now time.Time) (string, error) {
		id, made, err := k.waiting(ctx, tx, now)
		if err != nil {
			return "", err
		}
		from := made.Add(lead)
		if from.Before(now) {
			from = now
		}
		if _, err := tx.ExecContext(ctx, `UPDATE signing_key SET signs_from = $1 WHERE kid = $2`, store.Micros(from), id); err != nil {
			return "", err
		}
		return id, record(ctx, tx, Entry{Kind: KindKeyRotated, Detail: id}, now)
	})
	if err != nil {
		return KeyInfo{}, fmt.Errorf("rotate client key: %w", err)
	}
	return info, nil
}

// add runs change, loads the result and describes the key it was about.
func (k *Keys) add(ctx context.Context, change func(ctx context.Context, tx *store.Tx, now time.Time) (string, error)) (KeyInfo, error) {
	now := k.now()
	var id string
	err := k.db.Tx(ctx, func(tx *store.Tx) (err error) {
		id, err = change(ctx, tx, now)
		return err
	})
	if err != nil {
		return KeyInfo{}, err
	}
	if err := k.load(ctx); err != nil {
		return KeyInfo{}, err
	}
	all, err := k.List(ctx)
	if err != nil {
		return KeyInfo{}, err
	}
	i := slices.IndexFunc(all, func(info KeyInfo) bool { return info.ID == id })
	if i < 0 {
		return KeyInfo{}, fmt.Errorf("client key %s is gone", id)
	}
	return all[i], nil
}

// waiting returns the newest key that does not sign yet, making one if needed.
func (k *Keys) waiting(ctx context.Context, tx *store.Tx, now time.Time) (id string, made time.Time, err error) {
	var created int64
	err = tx.QueryRowContext(ctx, `
SELECT kid, created_at FROM signing_key
WHERE purpose = $1 AND withdrawn_at = 0 AND (signs_from = 0 OR signs_from > $2)
ORDER BY seq DESC LIMIT 1`, purposeClient, store.Micros(now)).Scan(&id, &created)
	if isNoRows(err) {
		id, err = k.insertNext(ctx, tx, now)
		return id, now, err
	}
	return id, store.FromMicros(created), err
}

// insertNext makes the next key. When another process has just made one, that
// one is taken: its number in the sequence was the same.
func (k *Keys) insertNext(ctx context.Context, tx *store.Tx, now time.Time) (string, error) {
	fresh, err := client.NewSigningKey()
	if err != nil {
		return "", err
	}
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT COALESCE(max(seq), 0) FROM signing_key WHERE purpose = $1`, purposeClient).Scan(&last); err != nil {
		return "", err
	}
	return k.insert(ctx, tx, fresh, last+1, now, time.Time{})
}

// insert adds a key under its number and returns the id of the key that has the
// number afterwards.
func (k *Keys) insert(ctx context.Context, tx *store.Tx, key *client.SigningKey, seq int64, now, signsFrom time.Time) (id string, err error) {
	jwk, err := key.PrivateJWK()
	if err != nil {
		return "", err
	}
	sealed, err := k.ring.Seal(jwk, keyPlace(key.ID()))
	if err != nil {
		return "", err
	}
	if _, err := tx.ExecContext(ctx, `
INSERT INTO signing_key (kid, purpose, seq, private_key, created_at, signs_from, withdrawn_at)
VALUES ($1, $2, $3, $4, $5, $6, 0) ON CONFLICT (purpose, seq) DO NOTHING`,
		key.ID(), purposeClient, seq, sealed, store.Micros(now), store.Micros(signsFrom)); err != nil {
		return "", err
	}
	err = tx.QueryRowContext(ctx, `SELECT kid FROM signing_key WHERE purpose = $1 AND seq = $2`, purposeClient, seq).Scan(&id)
	return id, err
}

func keyPlace(kid string) keyring.Place {
	return keyring.Place{Table: "signing_key", Column: "private_key", Key: kid}
}
