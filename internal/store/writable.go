package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	sqlite3 "modernc.org/sqlite/lib"
)

// What Writable finds out about a database that cannot be written.
var (
	ErrReadOnly = errors.New("the database is read-only")
	ErrDiskFull = errors.New("the disk of the database is full")
)

// Writable proves that the database can be written, by committing a row. The
// error wraps ErrReadOnly or ErrDiskFull where that is why. The database must
// be migrated.
func (db *DB) Writable(ctx context.Context) error {
	err := db.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO write_check (id, written_at) VALUES (1, $1)
			ON CONFLICT (id) DO UPDATE SET written_at = excluded.written_at`, Micros(time.Now()))
		return err
	})
	if err == nil {
		return nil
	}
	if known := writeTrouble(err); known != nil {
		err = fmt.Errorf("%w: %w", known, err)
	}
	return fmt.Errorf("write to database: %w", err)
}

func writeTrouble(err error) error {
	if code, ok := postgresCode(err); ok {
		switch code {
		case "25006":
			return ErrReadOnly
		case "53100":
			return ErrDiskFull
		}
		return nil
	}
	switch code, _ := sqliteCode(err); code & 0xff {
	case sqlite3.SQLITE_READONLY:
		return ErrReadOnly
	case sqlite3.SQLITE_FULL:
		return ErrDiskFull
	}
	return nil
}
