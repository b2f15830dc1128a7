package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// How long Tx goes on.
const (
	retryFor      = 15 * time.Second       // from the first attempt to the last
	acquireFor    = 15 * time.Second       // waiting for a connection
	commitFor     = 30 * time.Second       // a COMMIT that gets no answer
	retryPauseMin = 2 * time.Millisecond   // doubles with every attempt
	retryPauseMax = 250 * time.Millisecond // and is spread by half
	maxBroken     = 50                     // connections that broke while idle; the pool may be full of them
)

// Tx is a running transaction. As on PostgreSQL, on both engines: after a
// statement failed, every later one fails with the same error, and so does the
// transaction. It must not be used by several goroutines.
type Tx struct {
	db        *DB
	tx        *sql.Tx
	conn      *sql.Conn
	failed    error
	queue     queue
	committed []func()
}

// AfterCommit calls fn once the transaction has been committed, before Tx
// returns. It is never called for what was rolled back. fn must not block.
func (tx *Tx) AfterCommit(fn func()) { tx.committed = append(tx.committed, fn) }

// Tx runs fn in a transaction and commits it when fn returns nil; otherwise, and
// when fn panics, nothing remains. SQLite runs one at a time and locks at the
// start (BEGIN IMMEDIATE); PostgreSQL runs READ COMMITTED.
//
// When the engine asks for it (SQLITE_BUSY, serialization failure, deadlock), fn
// runs again, for 15 s at most: it must have no effect but through its Tx. A
// context that ends before the commit begins rolls back; a commit that began is
// finished, so that its outcome is known. fn must not call Tx of the same DB.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	return db.retry(ctx, func() error { return db.once(ctx, fn) })
}

// retry calls attempt until it succeeds, fails for good, or time is up.
func (db *DB) retry(ctx context.Context, attempt func() error) error {
	deadline := time.Now().Add(retryFor)
	pause := retryPauseMin
	broken := 0
	for {
		err := attempt()
		if err == nil || !shouldRetry(err) {
			return err
		}
		if errors.Is(err, errIdleBroken) {
			if broken++; broken == maxBroken {
				return err
			}
			continue // the next one may be good; waiting makes none better
		}
		wait := pause/2 + rand.N(pause)
		if time.Now().Add(wait).After(deadline) {
			return fmt.Errorf("still locked after %v: %w", retryFor, err)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-timer.C:
		}
		pause = min(2*pause, retryPauseMax)
	}
}

// once is one attempt at a transaction.
func (db *DB) once(ctx context.Context, fn func(tx *Tx) error) error {
	conn, err := db.acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The transaction has a context of its own: the caller's may end at any
	// moment, and a COMMIT that is cut off would leave its outcome unknown.
	// Statements still carry the caller's.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	beginning := context.AfterFunc(ctx, cancel)
	sqlTx, err := conn.BeginTx(own, &sql.TxOptions{Isolation: db.isolation()})
	// Also runs when fn panics; after a commit it does nothing.
	defer rollback(sqlTx)
	switch {
	case !beginning():
		err = ctx.Err()
	case err != nil && brokeWhileIdle(err):
		err = fmt.Errorf("%w: %w", errIdleBroken, err)
	}
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tx := &Tx{db: db, tx: sqlTx, conn: conn}
	defer tx.wait() // before the rollback, whatever happens
	if err := fn(tx); err != nil {
		return err
	}
	tx.wait()
	if err := errors.Join(tx.failed, ctx.Err()); err != nil {
		return fmt.Errorf("commit refused: %w", err)
	}
	stuck := time.AfterFunc(commitFor, cancel)
	defer stuck.Stop()
	began := time.Now()
	err = sqlTx.Commit()
	db.worked(began)
	if err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	for _, fn := range tx.committed {
		fn()
	}
	return nil
}

// acquire takes a connection for writing. The wait is bounded so that a
// transaction inside a transaction ends with an error instead of never.
func (db *DB) acquire(ctx context.Context) (*sql.Conn, error) {
	bounded, cancel := context.WithTimeout(ctx, db.acquireFor)
	defer cancel()
	conn, err := db.writer.Conn(bounded)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		return nil, fmt.Errorf("%w in %v", errNoConnection, db.acquireFor)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to database: %w", err)
	}
	return conn, nil
}

var errNoConnection = errors.New("no database connection became free (too much load, or a transaction inside a transaction)")

// isolation is stated rather than left to the server's default. SQLite knows
// only one, which is stronger.
func (db *DB) isolation() sql.IsolationLevel {
	if db.engine == Postgres {
		return sql.LevelReadCommitted
	}
	return sql.LevelDefault
}

// rollback rolls back a transaction that began.
func rollback(tx *sql.Tx) {
	if tx != nil {
		_ = tx.Rollback()
	}
}

// ExecContext is sql.Tx's.
func (tx *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	args, err := tx.begin(args)
	if err != nil {
		return nil, err
	}
	defer tx.db.worked(time.Now())
	res, err := tx.tx.ExecContext(ctx, query, args...)
	return res, tx.note(err)
}

// QueryContext is sql.Tx's. Close the rows before the next statement.
func (tx *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	args, err := tx.begin(args)
	if err != nil {
		return nil, err
	}
	defer tx.db.worked(time.Now())
	rows, err := tx.tx.QueryContext(ctx, query, args...) //nolint:sqlclosecheck // the caller closes them
	return rows, tx.note(err)
}

// QueryRowContext is sql.Tx's.
func (tx *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	args, err := tx.begin(args)
	if err != nil {
		return failedRow(err)
	}
	defer tx.db.worked(time.Now())
	row := tx.tx.QueryRowContext(ctx, query, args...)
	_ = tx.note(row.Err())
	return row
}

// begin refuses statements after a failure and converts arguments. Bad
// arguments fail the transaction too: PostgreSQL would have found them itself.
func (tx *Tx) begin(args []any) ([]any, error) {
	tx.wait()
	if tx.failed != nil {
		return nil, tx.failed
	}
	args, err := arguments(args)
	return args, tx.note(err)
}

// note remembers the first failure. SQLite leaves a transaction usable after
// most errors and rolls it back by itself after others, upon which later
// statements would be on their own; here neither happens.
func (tx *Tx) note(err error) error {
	if err != nil && tx.failed == nil {
		tx.failed = err
	}
	return err
}
