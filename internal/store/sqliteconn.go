package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"modernc.org/sqlite"
)

// maxStatements bounds the prepared statements of a connection. The program has
// a few hundred texts; a text more often than not is one of the last used.
const maxStatements = 512

// errRowsOpen is what PostgreSQL's driver says, too, about a second statement
// on a connection whose rows are still being read.
var errRowsOpen = errors.New("rows of an earlier statement of this transaction are still open")

// What SQLite calls differently. COLLATE "C" orders by bytes, which is its
// BINARY: as fast as no collation at all, and the file stays readable for
// SQLite's own shell, which a collation registered here would not allow. A
// cast to BYTEA is one to BLOB; left alone it would mean a number. A table for
// which a fillfactor is stated is one that is written often: its key becomes
// the order of the table itself, without a second tree.
var (
	collateC   = regexp.MustCompile(`(?i)\bCOLLATE\s+"C"`)
	castBytea  = regexp.MustCompile(`(?i)\bAS\s+BYTEA\b`)
	fillfactor = regexp.MustCompile(`(?i)\)\s*WITH\s*\(\s*fillfactor\s*=\s*\d+\s*\)`)
	oneKey     = regexp.MustCompile(`(?i)\bBIGINT(\s+NOT\s+NULL\s+(?:CONSTRAINT\s+\w+\s+)?PRIMARY\s+KEY)\b`)
)

func inSQLite(query string) string {
	query = castBytea.ReplaceAllString(collateC.ReplaceAllString(query, `COLLATE BINARY`), `AS BLOB`)
	switch {
	case !fillfactor.MatchString(query):
		return query
	case oneKey.MatchString(query):
		return fillfactor.ReplaceAllString(oneKey.ReplaceAllString(query, `INTEGER$1`), `)`)
	}
	return fillfactor.ReplaceAllString(query, `) WITHOUT ROWID`)
}

// connector opens connections of one data source name.
type connector struct{ dsn string }

// Connect opens a connection. The file is local: there is nothing to wait for.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	conn, err := new(sqlite.Driver).Open(c.dsn)
	if err != nil {
		return nil, err
	}
	inner, ok := conn.(innerConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the SQLite driver's %T lacks methods that store needs", conn), conn.Close())
	}
	return &sqliteConn{innerConn: inner, prepared: map[string]innerStmt{}, texts: texts{}}, nil
}

// Driver returns the driver.
func (c connector) Driver() driver.Driver { return new(sqlite.Driver) }

// innerConn is what the driver's connections are.
type innerConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type innerStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// sqliteConn is a connection that keeps its prepared statements by text, as
// pgx does: compiling costs more than most of our queries take. It also refuses
// a statement while rows are open, as pgx does. database/sql uses a connection
// from one goroutine at a time.
type sqliteConn struct {
	innerConn
	prepared map[string]innerStmt
	open     bool // rows are being read
	texts    texts
	args     []driver.NamedValue // of one statement after the other
}

// ExecContext runs a statement that returns no rows.
func (c *sqliteConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if c.open {
		return nil, errRowsOpen
	}
	stmt, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if stmt == nil {
		return c.innerConn.ExecContext(ctx, inSQLite(query), args)
	}
	return stmt.ExecContext(ctx, args)
}

// QueryContext runs a statement that returns rows.
func (c *sqliteConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if c.open {
		return nil, errRowsOpen
	}
	stmt, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	var rows driver.Rows
	if stmt == nil {
		rows, err = c.innerConn.QueryContext(ctx, inSQLite(query), args)
	} else {
		rows, err = stmt.QueryContext(ctx, args)
	}
	if err != nil {
		return nil, err
	}
	c.open = true
	return &sqliteRows{Rows: rows, conn: c}, nil
}

// statement returns the prepared form of a query, nil for what is better run
// as it is: schema changes, pragmas, maintenance.
func (c *sqliteConn) statement(ctx context.Context, query string) (innerStmt, error) {
	if stmt := c.prepared[query]; stmt != nil {
		return stmt, nil
	}
	if !worthKeeping(query) {
		return nil, nil //nolint:nilnil // documented: nil means "run it as it is"
	}
	prepared, err := c.innerConn.PrepareContext(ctx, inSQLite(query))
	if err != nil {
		return nil, err
	}
	stmt, ok := prepared.(innerStmt)
	if !ok {
		return nil, prepared.Close()
	}
	if len(c.prepared) >= maxStatements {
		c.dropOne()
	}
	c.prepared[query] = stmt
	return stmt, nil
}

// dropOne makes room. Which one goes doesn't matter: being here means that
// texts are being made up, and the constant ones come back at once.
func (c *sqliteConn) dropOne() {
	for query, stmt := range c.prepared {
		_ = stmt.Close()
		delete(c.prepared, query)
		return
	}
}

func worthKeeping(query string) bool {
	word := strings.TrimLeft(query, " \t\r\n")
	for _, start := range []string{"SELECT", "INSERT", "UPDATE", "DELETE", "WITH"} {
		if len(word) > len(start) && strings.EqualFold(word[:len(start)], start) {
			return true
		}
	}
	return false
}

// Close closes the connection and its statements.
func (c *sqliteConn) Close() error {
	for query, stmt := range c.prepared {
		_ = stmt.Close()
		delete(c.prepared, query)
	}
	return c.innerConn.Close()
}

// sqliteRows tell their connection when they are closed.
type sqliteRows struct {
	driver.Rows
	conn *sqliteConn
}

// Close ends reading.
func (r *sqliteRows) Close() error {
	r.conn.open = false
	return r.Rows.Close()
}
