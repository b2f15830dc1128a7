package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// advisoryKey is the number of our lock among PostgreSQL's advisory locks of
// the database ("atollmig" in ASCII).
const advisoryKey int64 = 0x61746f6c6c6d6967

// lockMigrations waits until no other process migrates. The lock goes with the
// process that holds it, however that ends.
func (db *DB) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if db.engine == Postgres {
		return db.lockAdvisory(ctx)
	}
	return lockFile(ctx, lockPath(db.path))
}

func (db *DB) lockAdvisory(ctx context.Context) (unlock func(), err error) {
	conn, err := db.acquire(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, advisoryKey); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, advisoryKey); err != nil {
			// The lock ends with the connection, so that must not go on living.
			db.logger.WarnContext(ctx, "release migration lock", "error", err)
			_ = conn.Raw(func(any) error { return driver.ErrBadConn })
		}
		_ = conn.Close()
	}, nil
}

// lockFile holds an exclusive lock (flock) on a file that is never removed: who
// removes it would let two in.
func lockFile(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // closing unlocks
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another process holds %s: %w", path, ctx.Err()), f.Close())
		case <-tick.C:
		}
	}
}
