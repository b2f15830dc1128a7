package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"strings"
)

const (
	// rowsAtOnce is how many rows of a table one SELECT gets.
	rowsAtOnce = 256
	// rowsUnheard is after how many statements a context is asked again.
	rowsUnheard = 64
)

// Parameters of SQLite are "?" here: it looks a numbered one up in a list of
// all of them. Statements run without the caller's context, for which the
// driver would start a goroutine each time; it is asked between them.

// selectRows gives the rows to a few statements, as VALUES.
func (c *sqliteConn) selectRows(ctx context.Context, t Table, query string, scan func(Row) error) error {
	for from, to := range chunks(t.rows(), rowsAtOnce) {
		if err := ctx.Err(); err != nil {
			return err
		}
		text := c.texts.get(textKey{what: "select", names: t.Names, after: query, rows: to - from}, func() string {
			row := "(" + strings.Repeat(", ?", len(t.Types))[2:] + ")"
			return "WITH wanted (" + t.Names + ") AS (VALUES " + strings.Repeat(", "+row, to-from)[2:] + ") " + query
		})
		args, err := c.arguments(t, from, to)
		if err != nil {
			return err
		}
		rows, err := c.QueryContext(context.WithoutCancel(ctx), text, args)
		if err != nil {
			return err
		}
		if err := c.eachRow(rows, scan); err != nil {
			return err
		}
	}
	return nil
}

// eachRow reads an answer to its end.
func (c *sqliteConn) eachRow(rows driver.Rows, scan func(Row) error) (err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	row := make(sqliteRow, len(rows.Columns()))
	for {
		switch err := rows.Next(row); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := scan(row); err != nil {
			return err
		}
	}
}

// insertRows runs a statement for each row: one for many would keep a journal
// of its own, and costs more the more parameters it has.
func (c *sqliteConn) insertRows(ctx context.Context, into string, t Table, tail string) (int64, error) {
	text := c.texts.get(textKey{what: "insert", before: into, names: t.Names, after: tail}, func() string {
		return "INSERT INTO " + into + " (" + t.Names + ") VALUES (" + strings.Repeat(", ?", len(t.Types))[2:] + ") " + tail
	})
	return c.execRows(ctx, text, t)
}

func (c *sqliteConn) updateRows(ctx context.Context, table string, t Table) error {
	text := c.texts.get(textKey{what: "update", before: table, names: t.Names}, func() string {
		set, key := t.names()
		return "UPDATE " + table + " SET " + strings.Join(set, " = ?, ") + " = ? WHERE " + key + " = ?"
	})
	_, err := c.execRows(ctx, text, t)
	return err
}

func (c *sqliteConn) addRows(ctx context.Context, table string, t Table) error {
	text := c.texts.get(textKey{what: "add", before: table, names: t.Names}, func() string {
		set, key := t.names()
		for i, name := range set {
			set[i] = name + " = " + table + "." + name + " + excluded." + name
		}
		return "INSERT INTO " + table + " (" + t.Names + ") VALUES (" + strings.Repeat(", ?", len(t.Types))[2:] +
			") ON CONFLICT (" + key + ") DO UPDATE SET " + strings.Join(set, ", ")
	})
	_, err := c.execRows(ctx, text, t)
	return err
}

func (c *sqliteConn) execRows(ctx context.Context, text string, t Table) (written int64, err error) {
	free := context.WithoutCancel(ctx)
	for i := range t.rows() {
		if i%rowsUnheard == 0 {
			if err := ctx.Err(); err != nil {
				return written, err
			}
		}
		args, err := c.arguments(t, i, i+1)
		if err != nil {
			return written, err
		}
		res, err := c.ExecContext(free, text, args)
		if err != nil {
			return written, err
		}
		n, err := res.RowsAffected()
		if err != nil {
			return written, err
		}
		written += n
	}
	return written, nil
}

// arguments are the values of some rows, one after the other.
func (c *sqliteConn) arguments(t Table, from, to int) ([]driver.NamedValue, error) {
	args := c.args[:0]
	for row := from; row < to; row++ {
		for column := range t.Types {
			v, err := t.value(row, column)
			if err != nil {
				return nil, err
			}
			args = append(args, driver.NamedValue{Ordinal: len(args) + 1, Value: v})
		}
	}
	c.args = args
	return args, nil
}
