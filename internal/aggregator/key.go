package aggregator

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// keyPrefix begins every key, so that it is found where it does not belong.
	keyPrefix = "ckapi_"
	keyBytes  = 32 // of the random part, which is written in hex
	// shownPrefix is how much of a key its owner is shown to know it by.
	shownPrefix = len(keyPrefix) + 6
	// useEvery is how exactly the last use is kept.
	useEvery = time.Hour
)

// Key is a key that was just made: the only time it is shown.
type Key struct {
	Text      keyring.Secret
	Prefix    string
	CreatedAt time.Time
}

// KeyInfo is what is known of a key. It holds no secret.
type KeyInfo struct {
	Prefix    string
	CreatedAt time.Time
	UsedAt    time.Time // exact to the hour; zero when it never was
	RevokedAt time.Time // zero while it is good
}

// IsKey reports that a token has the form of a key. It proves nothing.
func IsKey(token string) bool { return strings.HasPrefix(token, keyPrefix) }

func hash(key string) []byte {
	sum := sha256.Sum256([]byte(key)) // 256 random bits cannot be searched
	return sum[:]
}

// CreateKey makes the key of a registered aggregator, in place of an earlier one,
// which is revoked. Error for people: Forbidden with Forbidden when the account
// is not registered.
func (s *Service) CreateKey(ctx context.Context, did syntax.DID) (Key, error) {
	if _, ok, err := s.Registration(ctx, did); err != nil || !ok {
		if err == nil {
			err = fault.New(fault.Forbidden, "This account is not registered as an aggregator. Register it with its domain first.").WithCode("Forbidden")
		}
		return Key{}, err
	}
	raw := make([]byte, keyBytes)
	rand.Read(raw) // never fails
	text := keyPrefix + hex.EncodeToString(raw)
	key := Key{Text: keyring.NewSecret(text), Prefix: text[:shownPrefix], CreatedAt: s.cfg.Now()}
	err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		// Who makes a key holds the aggregator's row until it is there.
		if _, err := tx.ExecContext(ctx, `UPDATE aggregator SET created_at = created_at WHERE did = $1`, did); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, `UPDATE aggregator_key SET revoked_at = $1 WHERE did = $2 AND revoked_at = 0`,
			store.Micros(key.CreatedAt), did); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO aggregator_key (key_hash, did, prefix, created_at, used_at, revoked_at)
			VALUES ($1, $2, $3, $4, 0, 0)`, hash(text), did, key.Prefix, store.Micros(key.CreatedAt))
		return err
	})
	if err != nil {
		return Key{}, fmt.Errorf("make key of aggregator %s: %w", did, err)
	}
	return key, s.cfg.Trail.Record(ctx, session.Entry{Kind: KindKeyMade, DID: did, Detail: key.Prefix})
}

// Key returns the newest key of an account, revoked or not; ok is false when it
// never had one.
func (s *Service) Key(ctx context.Context, did syntax.DID) (info KeyInfo, ok bool, err error) {
	var created, used, revoked int64
	err = s.cfg.DB.Read().QueryRowContext(ctx, `SELECT prefix, created_at, used_at, revoked_at FROM aggregator_key
		WHERE did = $1 ORDER BY revoked_at = 0 DESC, created_at DESC LIMIT 1`, did).Scan(&info.Prefix, &created, &used, &revoked)
	if errors.Is(err, sql.ErrNoRows) {
		return KeyInfo{}, false, nil
	}
	if err != nil {
		return KeyInfo{}, false, fmt.Errorf("look up key of aggregator %s: %w", did, err)
	}
	info.CreatedAt, info.UsedAt, info.RevokedAt = store.FromMicros(created), store.FromMicros(used), store.FromMicros(revoked)
	return info, true, nil
}

// RevokeKey takes the account's key back, at once for all processes. Error for
// people: NotFound when there is none.
func (s *Service) RevokeKey(ctx context.Context, did syntax.DID) (at time.Time, err error) {
	at = s.cfg.Now()
	var prefix string
	err = s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		return tx.QueryRowContext(ctx, `UPDATE aggregator_key SET revoked_at = $1 WHERE did = $2 AND revoked_at = 0 RETURNING prefix`,
			store.Micros(at), did).Scan(&prefix)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fault.Wrap(fault.NotFound, err, "This account has no key.").WithCode("NotFound")
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("revoke key of aggregator %s: %w", did, err)
	}
	return at, s.cfg.Trail.Record(ctx, session.Entry{Kind: KindKeyRevoked, DID: did, Detail: prefix})
}

// Authenticate says whose key this is. Error for people: Unauthenticated with
// AuthRequired, the same for whatever is no good key.
func (s *Service) Authenticate(ctx context.Context, key string) (syntax.DID, error) {
	if !wellFormed(key) {
		return "", errNoKey()
	}
	var did syntax.DID
	var used int64
	err := s.cfg.DB.Read().QueryRowContext(ctx, `SELECT k.did, k.used_at FROM aggregator_key k JOIN aggregator a ON a.did = k.did
		WHERE k.key_hash = $1 AND k.revoked_at = 0`, hash(key)).Scan(&did, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return "", errNoKey()
	}
	if err != nil {
		return "", fmt.Errorf("look up a key: %w", err)
	}
	if now := s.cfg.Now(); now.Sub(store.FromMicros(used)) >= useEvery {
		s.use(ctx, did, key, now)
	}
	return did, nil
}

// use keeps when a key was last used. That it cannot be written does not make the
// key a bad one.
func (s *Service) use(ctx context.Context, did syntax.DID, key string, now time.Time) {
	err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE aggregator_key SET used_at = $1 WHERE key_hash = $2 AND used_at < $1`, store.Micros(now), hash(key))
		return err
	})
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "last use of a key cannot be written", "did", did, "error", err)
	}
}

func wellFormed(key string) bool {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	return ok && len(rest) == 2*keyBytes && strings.Trim(rest, "0123456789abcdef") == ""
}

func errNoKey() error {
	return fault.New(fault.Unauthenticated, "This key is not good, or not any more.").WithCode("AuthRequired")
}
