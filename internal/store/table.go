package store

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
)

// Table is rows that a statement of a transaction reads or writes, however many
// they are. What is done with it is the same on both engines; how it gets there
// is not: PostgreSQL takes an array for each column, SQLite the fewer columns
// at once, the quicker it is.
type Table struct {
	// Names are the columns, separated by commas.
	Names string
	// Types are theirs: BIGINT, SMALLINT, BOOLEAN, TEXT or BYTEA.
	Types []string
	// Rows have a value for each column; nil is NULL.
	Rows [][]any
	// Numbers are instead of Rows where all columns are numbers: one row after
	// the other. 0 is NULL in the columns that NullZero names by their places.
	Numbers  []int64
	NullZero []int
}

// rows is how many there are.
func (t Table) rows() int {
	if t.Numbers != nil {
		return len(t.Numbers) / len(t.Types)
	}
	return len(t.Rows)
}

// number is a value of Numbers; ok is false for NULL.
func (t Table) number(row, column int) (n int64, ok bool) {
	n = t.Numbers[row*len(t.Types)+column]
	return n, n != 0 || !slices.Contains(t.NullZero, column)
}

// Row is a row of an answer. Scan is database/sql's.
type Row interface{ Scan(dest ...any) error }

// Select runs a query that reads t under the name wanted, once or several times
// with a part of its rows: the query must treat each row on its own. scan gets
// each row of the answer, in no particular order; it must not use the transaction.
func (tx *Tx) Select(ctx context.Context, t Table, query string, scan func(Row) error) error {
	return tx.withRows(ctx, t, func(c bulkConn) error { return c.selectRows(ctx, t, query, scan) })
}

// Select is Tx's, on the connections for reading.
func (db *DB) Select(ctx context.Context, t Table, query string, scan func(Row) error) error {
	if t.rows() == 0 {
		return nil
	}
	conn, err := db.readers.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to database: %w", err)
	}
	defer conn.Close()
	return conn.Raw(func(conn any) error {
		c, err := bulk(conn)
		if err != nil {
			return err
		}
		return c.selectRows(ctx, t, query, scan)
	})
}

// Insert inserts the rows of t into a table; tail is what follows: ON CONFLICT ….
// It returns how many rows were written.
func (tx *Tx) Insert(ctx context.Context, into string, t Table, tail string) (written int64, err error) {
	err = tx.withRows(ctx, t, func(c bulkConn) (err error) {
		written, err = c.insertRows(ctx, into, t, tail)
		return err
	})
	return written, err
}

// Update sets columns of rows that are there: the last column of t is the key
// that names the row, the others are set.
func (tx *Tx) Update(ctx context.Context, table string, t Table) error {
	return tx.withRows(ctx, t, func(c bulkConn) error { return c.updateRows(ctx, table, t) })
}

// Add adds to columns of rows: the last column of t is the key that names the row,
// what the others hold is added to what is there. A row that is not there begins
// with it. No key may be there twice, and nobody else may be inserting into table.
func (tx *Tx) Add(ctx context.Context, table string, t Table) error {
	return tx.withRows(ctx, t, func(c bulkConn) error { return c.addRows(ctx, table, t) })
}

// bulkConn is a connection that takes many rows.
type bulkConn interface {
	selectRows(ctx context.Context, t Table, query string, scan func(Row) error) error
	insertRows(ctx context.Context, into string, t Table, tail string) (written int64, err error)
	updateRows(ctx context.Context, table string, t Table) error
	addRows(ctx context.Context, table string, t Table) error
}

// withRows runs fn on the transaction's own connection.
func (tx *Tx) withRows(ctx context.Context, t Table, fn func(bulkConn) error) error {
	tx.wait()
	if tx.failed != nil || t.rows() == 0 {
		return tx.failed
	}
	return tx.note(tx.raw(ctx, fn))
}

// raw runs fn on the transaction's own connection, which nobody else may be using.
func (tx *Tx) raw(ctx context.Context, fn func(bulkConn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	defer tx.db.worked(time.Now())
	return tx.conn.Raw(func(conn any) error {
		c, err := bulk(conn)
		if err != nil {
			return err
		}
		return fn(c)
	})
}

// value is what a driver gets of a row.
func (t Table) value(row, column int) (any, error) {
	if t.Numbers != nil {
		n, ok := t.number(row, column)
		if !ok {
			return nil, nil //nolint:nilnil // NULL
		}
		return n, nil
	}
	v, err := argument(t.Rows[row][column])
	if err != nil {
		return nil, fmt.Errorf("row %d, column %d of (%s): %w", row, column, t.Names, err)
	}
	return v, nil
}

// names are the columns that Update sets, and the key.
func (t Table) names() (set []string, key string) {
	set = strings.Split(strings.ReplaceAll(t.Names, " ", ""), ",")
	return set[:len(set)-1], set[len(set)-1]
}

// chunks cuts n rows into pieces whose lengths are powers of two, at most size,
// so that the engine sees few different statements however many rows there are.
func chunks(n, size int) iter.Seq2[int, int] {
	return func(yield func(from, to int) bool) {
		from := 0
		for ; size > 0; size /= 2 {
			for n-from >= size {
				if !yield(from, from+size) {
					return
				}
				from += size
			}
		}
	}
}

// texts remembers the statements made for tables: there are few, and writing
// one takes as long as running it for a few rows.
type texts map[textKey]string

type textKey struct {
	what, before, names, after string
	rows                       int
}

func (t texts) get(key textKey, write func() string) string {
	text, ok := t[key]
	if !ok {
		text = write()
		t[key] = text
	}
	return text
}
