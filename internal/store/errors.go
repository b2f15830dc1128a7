package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// IsUnique reports whether a row was refused because its key exists already.
func IsUnique(err error) bool {
	if code, ok := postgresCode(err); ok {
		return code == "23505"
	}
	switch code, _ := sqliteCode(err); code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return true
	}
	return false
}

// IsBadData reports whether the error lies in the values that were written, so
// that the same values will fail again: SQLSTATE classes 22 (data exception), 23
// (integrity) and 54 (limits); SQLite's CONSTRAINT, MISMATCH and TOOBIG; ErrBadText.
func IsBadData(err error) bool {
	if errors.Is(err, ErrBadText) {
		return true
	}
	if code, ok := postgresCode(err); ok {
		return hasClass(code, "22", "23", "54")
	}
	switch code, _ := sqliteCode(err); code & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return true
	}
	return false
}

// IsTransient reports whether the same statement may well succeed later: the
// connection, a lock, the disk, or a deadline. A cancelled context is not among
// them; whoever cancelled knows.
func IsTransient(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code, ok := postgresCode(err); ok {
		// connection, rollback, resources, operator, system; read-only standby
		return hasClass(code, "08", "40", "53", "57", "58") || code == "55P03" || code == "25006"
	}
	if code, ok := sqliteCode(err); ok {
		switch code & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM,
			sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT:
			return true
		}
		return false
	}
	var connect *pgconn.ConnectError
	var network net.Error
	return errors.As(err, &connect) || errors.As(err, &network) || pgconn.Timeout(err) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, errNoConnection) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// shouldRetry reports whether nothing happened and the engine asks to begin
// again: another process has SQLite's lock, PostgreSQL chose a victim, columns
// have changed, or the connection turned out to be broken before the transaction
// began.
func shouldRetry(err error) bool {
	if errors.Is(err, errIdleBroken) || errors.Is(err, errColumnsChanged) {
		return true
	}
	if code, ok := postgresCode(err); ok {
		return code == "40001" || code == "40P01"
	}
	code, _ := sqliteCode(err)
	return code&0xff == sqlite3.SQLITE_BUSY
}

// errIdleBroken marks the failure to begin on a connection from the pool.
var errIdleBroken = errors.New("the connection broke while it was idle")

// brokeWhileIdle reports whether a failed BEGIN says that the server has ended
// the connection since it was used last, as every restart does.
func brokeWhileIdle(err error) bool {
	if code, ok := postgresCode(err); ok {
		return hasClass(code, "57P")
	}
	return errors.Is(err, driver.ErrBadConn)
}

// postgresCode returns the SQLSTATE of what the server said.
func postgresCode(err error) (code string, ok bool) {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code, true
	}
	return "", false
}

// sqliteCode returns SQLite's extended result code.
func sqliteCode(err error) (code int, ok bool) {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code(), true
	}
	return 0, false
}

func hasClass(code string, classes ...string) bool {
	for _, class := range classes {
		if strings.HasPrefix(code, class) {
			return true
		}
	}
	return false
}

// explainSQLite says what to do about an error of opening or writing the file.
func explainSQLite(path string, err error) error {
	code, _ := sqliteCode(err)
	hint := ""
	switch code & 0xff {
	case sqlite3.SQLITE_NOTADB:
		hint = "the file is no SQLite database"
	case sqlite3.SQLITE_CORRUPT:
		hint = "the file is damaged; restore it from a backup"
	case sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
		hint = "the file or its folder cannot be read and written by this user"
	case sqlite3.SQLITE_READONLY:
		hint = "the file, its folder or the disk is read-only"
	case sqlite3.SQLITE_FULL:
		hint = "the disk is full"
	case sqlite3.SQLITE_BUSY:
		hint = "another process holds it locked"
	}
	if hint == "" {
		return fmt.Errorf("SQLite %s: %w", path, err)
	}
	return fmt.Errorf("SQLite %s: %s: %w", path, hint, err)
}
