package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
)

// ErrNoKey says that the database is empty and no key was given: one may be made.
var ErrNoKey = errors.New("the database is empty and there is no secret key yet")

// KeyError says that the given keys are not the ones that this database's
// secrets are sealed with. Nothing may be written with them.
type KeyError struct {
	Want string   // the id of the key that is wanted
	Have []string // the ids of the keys that were given, newest first
}

// Error names both by id and says what to do.
func (e *KeyError) Error() string {
	have := "no secret key was given"
	if len(e.Have) > 0 {
		have = "the secret keys given are " + strings.Join(e.Have, ", ")
	}
	return fmt.Sprintf("the secrets in this database are sealed with key %s, but %s; give that key in secret_key (a newer one may stand above it)", e.Want, have)
}

const keyCheckID int64 = 1

var keyCheckPlace = keyring.Place{Table: "key_check", Column: "sealed", Key: "1"}

const keyCheckText = "atoll key check"

// CheckKey compares the ring with the check value that the database keeps
// sealed; an empty database gets one with the newest key. A ring that lacks the
// key is refused with *KeyError, a value that was altered with
// keyring.ErrTampered. With a nil ring the error is *KeyError or, when there is
// no check value yet, ErrNoKey. The database must be migrated.
func (db *DB) CheckKey(ctx context.Context, ring *keyring.Ring) error {
	sealed, err := db.keyCheck(ctx, ring)
	if err != nil {
		return fmt.Errorf("check secret key: %w", err)
	}
	want, err := keyring.SealedWith(sealed)
	if err != nil {
		return fmt.Errorf("check secret key: %w", err)
	}
	if ring == nil || !ring.Has(want) {
		e := &KeyError{Want: want}
		if ring != nil {
			e.Have = ring.IDs()
		}
		return e
	}
	text, err := ring.Open(sealed, keyCheckPlace)
	if err != nil {
		return fmt.Errorf("check secret key: %w", err)
	}
	if string(text) != keyCheckText {
		return fmt.Errorf("check secret key: %w", keyring.ErrTampered)
	}
	return nil
}

// keyCheck returns the check value, and makes it when there is none.
func (db *DB) keyCheck(ctx context.Context, ring *keyring.Ring) (sealed []byte, err error) {
	const query = `SELECT sealed FROM key_check WHERE id = $1`
	err = db.Read().QueryRowContext(ctx, query, keyCheckID).Scan(&sealed)
	if !errors.Is(err, sql.ErrNoRows) {
		return sealed, err
	}
	if ring == nil {
		return nil, ErrNoKey
	}
	fresh, err := ring.Seal([]byte(keyCheckText), keyCheckPlace)
	if err != nil {
		return nil, err
	}
	err = db.Tx(ctx, func(tx *Tx) error {
		// Another process may be first; then its value counts.
		if _, err := tx.ExecContext(ctx, `INSERT INTO key_check (id, sealed, created_at)
			VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING`, keyCheckID, fresh, Micros(time.Now())); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, query, keyCheckID).Scan(&sealed)
	})
	return sealed, err
}

// ResealKeyCheck seals the check value with the ring's newest key. It must be
// the last thing that resealing does: from then on the older keys look
// dispensable.
func (db *DB) ResealKeyCheck(ctx context.Context, ring *keyring.Ring) error {
	if err := db.CheckKey(ctx, ring); err != nil {
		return err
	}
	sealed, err := ring.Seal([]byte(keyCheckText), keyCheckPlace)
	if err != nil {
		return fmt.Errorf("reseal key check: %w", err)
	}
	err = db.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE key_check SET sealed = $1 WHERE id = $2`, sealed, keyCheckID)
		return err
	})
	if err != nil {
		return fmt.Errorf("reseal key check: %w", err)
	}
	return nil
}
