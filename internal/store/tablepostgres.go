package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/stdlib"
)

// bulk finds out what a connection of database/sql is.
func bulk(conn any) (bulkConn, error) {
	switch c := conn.(type) {
	case *sqliteConn:
		return c, nil
	case *stdlib.Conn:
		return postgresConn{c.Conn()}, nil
	}
	return nil, fmt.Errorf("store: a connection of type %T takes no tables", conn)
}

// postgresConn takes a table as one array for each column: one statement and one
// round trip, however many rows there are.
type postgresConn struct{ *pgx.Conn }

func (c postgresConn) selectRows(ctx context.Context, t Table, query string, scan func(Row) error) error {
	arrays, err := t.arrays()
	if err != nil {
		return err
	}
	rows, err := c.Query(ctx, "WITH wanted ("+t.Names+") AS (SELECT * FROM "+t.unnest()+") "+query, arrays...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (c postgresConn) insertRows(ctx context.Context, into string, t Table, tail string) (int64, error) {
	if tail == "" && t.rows() >= copiedFrom {
		if written, done, err := c.copyRows(ctx, into, t); done {
			return written, err
		}
	}
	arrays, err := t.arrays()
	if err != nil {
		return 0, err
	}
	tag, err := c.Exec(ctx, "INSERT INTO "+into+" ("+t.Names+") SELECT * FROM "+t.unnest()+" "+tail, arrays...)
	return tag.RowsAffected(), err
}

func (c postgresConn) updateRows(ctx context.Context, table string, t Table) error {
	arrays, err := t.arrays()
	if err != nil {
		return err
	}
	set, key := t.names()
	for i, name := range set {
		set[i] = name + " = wanted." + name
	}
	_, err = c.Exec(ctx, "UPDATE "+table+" SET "+strings.Join(set, ", ")+
		" FROM "+t.unnest()+" AS wanted ("+t.Names+") WHERE "+table+"."+key+" = wanted."+key, arrays...)
	return err
}

// addRows updates the rows that are there and inserts the others, which costs
// half of what ON CONFLICT does: that locks each row before it updates it.
func (c postgresConn) addRows(ctx context.Context, table string, t Table) error {
	arrays, err := t.arrays()
	if err != nil {
		return err
	}
	set, key := t.names()
	for i, name := range set {
		set[i] = name + " = " + table + "." + name + " + wanted." + name
	}
	_, err = c.Exec(ctx, "WITH wanted ("+t.Names+") AS (SELECT * FROM "+t.unnest()+"), there AS (UPDATE "+table+" SET "+
		strings.Join(set, ", ")+" FROM wanted WHERE "+table+"."+key+" = wanted."+key+" RETURNING "+table+"."+key+
		") INSERT INTO "+table+" ("+t.Names+") SELECT * FROM wanted WHERE "+key+" NOT IN (SELECT "+key+" FROM there)", arrays...)
	return err
}

// unnest is the relation that arrays make. Small numbers travel as big ones.
func (t Table) unnest() string {
	arrays := make([]string, len(t.Types))
	for i, typ := range t.Types {
		if typ == "SMALLINT" {
			typ = "BIGINT"
		}
		arrays[i] = "CAST($" + strconv.Itoa(i+1) + " AS " + typ + "[])"
	}
	return "unnest(" + strings.Join(arrays, ", ") + ")"
}

// arrays are the columns of t.
func (t Table) arrays() ([]any, error) {
	out := make([]any, len(t.Types))
	for column, typ := range t.Types {
		if t.Numbers != nil {
			out[column] = t.numbers(column)
			continue
		}
		var err error
		switch typ {
		case "BIGINT", "SMALLINT":
			out[column], err = array(t, column, func(v int64) pgtype.Int8 { return pgtype.Int8{Int64: v, Valid: true} })
			if plain, ok := out[column].([]int64); ok {
				out[column] = longs(plain)
			}
		case "BOOLEAN":
			out[column], err = array(t, column, func(v bool) pgtype.Bool { return pgtype.Bool{Bool: v, Valid: true} })
		case "TEXT":
			out[column], err = array(t, column, func(v string) pgtype.Text { return pgtype.Text{String: v, Valid: true} })
		case "BYTEA":
			out[column], err = array(t, column, func(v []byte) []byte { return v })
		default:
			err = errors.New("store: a table has no columns of type " + typ)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// numbers is a column of Numbers.
func (t Table) numbers(column int) any {
	plain := make(longs, t.rows())
	var withNull []pgtype.Int8
	for row := range plain {
		n, ok := t.number(row, column)
		if plain[row] = n; !ok {
			withNull = make([]pgtype.Int8, len(plain))
			break
		}
	}
	if withNull == nil {
		return plain
	}
	for row := range withNull {
		n, ok := t.number(row, column)
		withNull[row] = pgtype.Int8{Int64: n, Valid: ok}
	}
	return withNull
}

// array is a column: of plain values where none is NULL, which is quicker.
func array[T, N any](t Table, column int, nullable func(T) N) (any, error) {
	plain := make([]T, len(t.Rows))
	var withNull []N
	for row := range t.Rows {
		v, err := t.value(row, column)
		if err != nil {
			return nil, err
		}
		is, ok := v.(T)
		if !ok && v != nil {
			return nil, fmt.Errorf("row %d, column %d of (%s) is a %T", row, column, t.Names, v)
		}
		if !ok && withNull == nil {
			withNull = make([]N, len(t.Rows))
			for i := range row {
				withNull[i] = nullable(plain[i])
			}
		}
		plain[row] = is
		if withNull != nil && ok {
			withNull[row] = nullable(is)
		}
	}
	if withNull != nil {
		return withNull, nil
	}
	return plain, nil
}
