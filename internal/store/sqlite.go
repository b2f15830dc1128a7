package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// busyTimeout is how long SQLite itself waits for another process that writes.
// It is short because nothing can interrupt that wait; Tx goes on trying, and
// listens to its context, between the waits. Readers wait for nothing but the
// moment in which a crashed process's log is recovered.
const busyTimeout = 250 * time.Millisecond

// writerPragmas hold for the one connection that writes.
//
//   - synchronous FULL: a commit returns when the write-ahead log is on the disk.
//     NORMAL would survive kill -9 as well, but lose the last commits with the
//     power, and with them a rotated refresh token whose predecessor is already
//     dead: a member signed out, a family of tokens revoked. One sync a commit
//     is the price; batching is how it stays small.
//   - fullfsync: on macOS plain fsync stops at the drive's cache. No effect elsewhere.
//   - wal_autocheckpoint is a safety net for programs that don't call Run, which
//     checkpoints on a timer and off the committer's path.
//   - journal_size_limit gives the disk back after a long read held the log up.
var writerPragmas = []string{
	"journal_mode(WAL)",
	"synchronous(FULL)",
	"fullfsync(1)",
	"checkpoint_fullfsync(1)",
	"foreign_keys(1)",
	"wal_autocheckpoint(8000)",
	"journal_size_limit(67108864)",
	"cache_size(-32000)",
	"temp_store(MEMORY)",
}

// readerPragmas hold for connections that read.
var readerPragmas = []string{
	"query_only(1)",
	"foreign_keys(1)",
	"cache_size(-8000)",
	"temp_store(MEMORY)",
}

// openSQLite makes the folder when it is missing and opens the file twice: one
// connection that writes, a few that read.
func openSQLite(ctx context.Context, cfg Config) (*DB, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil {
		return nil, fmt.Errorf("open SQLite %s: %w", cfg.Path, err)
	}
	if err := prepareFolder(path); err != nil {
		return nil, err
	}
	db := &DB{engine: SQLite, path: path, logger: cfg.Logger, queried: cfg.Queried, acquireFor: acquireFor}
	db.writer = openWriter(path)
	db.readers = sql.OpenDB(connector{sqliteDSN(path, "deferred", 5*time.Second, readerPragmas)})
	limit := cfg.MaxReaders
	if limit <= 0 {
		limit = max(4, runtime.GOMAXPROCS(0))
	}
	db.readers.SetMaxOpenConns(limit)
	db.readers.SetMaxIdleConns(limit)
	if err := db.probeSQLite(ctx); err != nil {
		return nil, errors.Join(explainSQLite(path, err), db.Close())
	}
	return db, nil
}

// probeSQLite makes both sorts of connections once: the writer first, which
// makes the file and turns on the write-ahead log that readers rely on.
func (db *DB) probeSQLite(ctx context.Context) error {
	var mode string
	err := db.retry(ctx, func() error {
		return db.writer.QueryRowContext(ctx, "PRAGMA journal_mode").Scan(&mode)
	})
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %q, not WAL: the folder must be on a local disk, not on a network share", mode)
	}
	return db.retry(ctx, func() error { return db.readers.PingContext(ctx) })
}

func openWriter(path string) *sql.DB {
	pool := sql.OpenDB(connector{sqliteDSN(path, "immediate", busyTimeout, writerPragmas)})
	pool.SetMaxOpenConns(1)
	return pool
}

func sqliteDSN(path, lock string, busy time.Duration, pragmas []string) string {
	q := url.Values{}
	q.Add("_busy_timeout", strconv.FormatInt(busy.Milliseconds(), 10))
	for _, p := range pragmas {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", lock)
	// "x" is a name, never a string, as on PostgreSQL.
	q.Set("_dqs", "0")
	q.Set("_defensive", "1")
	q.Set("_error_rc", "1")
	// SQLite makes the database and its side files with the mode of this file.
	q.Set("modeof", lockPath(path))
	// SQLite reads a plus as a plus, not as a space.
	query := strings.ReplaceAll(q.Encode(), "+", "%20")
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(path), RawQuery: query}
	return u.String()
}

// lockPath is the file beside the database that says who migrates and whose
// mode the database's files get.
func lockPath(path string) string { return path + ".lock" }

// prepareFolder makes the data folder (0700) and the lock file (0600) in it.
func prepareFolder(path string) error {
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return explainFolder(dir, err)
	}
	f, err := os.OpenFile(lockPath(path), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return explainFolder(dir, err)
	}
	return f.Close()
}

func makeFolder(dir string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	// The new folder must survive a loss of power like what will be in it.
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		return nil //nolint:nilerr // not ours to read; most file systems need no help here
	}
	return errors.Join(parent.Sync(), parent.Close())
}

func explainFolder(dir string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("data folder %s is not writable by this user (uid %d); give it to them with chown, or choose another data_dir: %w",
			dir, os.Getuid(), err)
	}
	return fmt.Errorf("data folder %s cannot be used: %w", dir, err)
}
