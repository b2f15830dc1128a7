package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Querier runs statements, with the methods of database/sql.
//
// To keep in mind: CAST parameters whose type the engine cannot see from a
// column; empty bytes come back as nil from SQLite; finish reading rows before
// the next statement of a transaction.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// ErrBadText refuses text that not both engines can store: U+0000 or bytes that
// are not UTF-8.
var ErrBadText = errors.New("text holds U+0000 or is not UTF-8")

// reader is the Querier of Read.
type reader struct{ db *DB }

// Read returns a Querier on the connections for reading. Writing through it
// fails on SQLite. It sees what was committed before each statement began.
func (db *DB) Read() Querier { return reader{db} }

// ExecContext is sql.DB's. It is here to complete Querier; statements that write
// belong into Tx.
func (r reader) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	args, err := arguments(args)
	if err != nil {
		return nil, err
	}
	r.db.queried(query)
	return r.db.readers.ExecContext(ctx, query, args...)
}

// QueryContext is sql.DB's.
func (r reader) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	args, err := arguments(args)
	if err != nil {
		return nil, err
	}
	r.db.queried(query)
	return r.db.readers.QueryContext(ctx, query, args...)
}

// QueryRowContext is sql.DB's.
func (r reader) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	args, err := arguments(args)
	if err != nil {
		return failedRow(err)
	}
	r.db.queried(query)
	return r.db.readers.QueryRowContext(ctx, query, args...)
}

// arguments converts args to the few types that both drivers treat alike, so
// that what one accepts and the other refuses is found at once.
func arguments(args []any) ([]any, error) {
	out := make([]any, len(args))
	for i, arg := range args {
		v, err := argument(arg)
		if err != nil {
			return nil, fmt.Errorf("parameter $%d: %w", i+1, err)
		}
		out[i] = v
	}
	return out, nil
}

func argument(arg any) (driver.Value, error) {
	switch arg.(type) {
	case int64, bool, []byte, nil:
		return arg, nil
	}
	v, err := driver.DefaultParameterConverter.ConvertValue(arg)
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) || strings.IndexByte(v, 0) >= 0 {
			return nil, ErrBadText
		}
	case time.Time:
		return nil, errors.New("times are stored as Micros, not as time.Time")
	}
	return v, nil
}

// failedRow is a row whose Scan returns err. database/sql makes such rows only
// itself, so it is asked to, through a database that cannot be connected to.
func failedRow(err error) *sql.Row {
	db := sql.OpenDB(failing{err})
	defer db.Close()
	return db.QueryRowContext(context.Background(), "")
}

type failing struct{ err error }

// Connect fails.
func (f failing) Connect(context.Context) (driver.Conn, error) { return nil, f.err }

// Driver returns nil: nothing asks for it.
func (f failing) Driver() driver.Driver { return nil }
