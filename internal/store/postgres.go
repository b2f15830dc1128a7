package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"runtime"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// oldestPostgres is the oldest server that the project is tested for, as
// server_version_num.
const oldestPostgres = 140000

func openPostgres(ctx context.Context, cfg Config) (*DB, error) {
	config, err := postgresConfig(cfg.URL)
	if err != nil {
		return nil, err
	}
	pool := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(teachLongs))
	limit := cfg.MaxReaders
	if limit <= 0 {
		limit = max(8, 4*runtime.GOMAXPROCS(0))
	}
	limit = max(2, limit) // migrating takes one for the lock and one for the work
	pool.SetMaxOpenConns(limit)
	pool.SetMaxIdleConns(limit)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	db := &DB{engine: Postgres, config: config, readers: pool, writer: pool, logger: cfg.Logger, queried: cfg.Queried, acquireFor: acquireFor}
	if err := db.probePostgres(ctx); err != nil {
		where := fmt.Sprintf("PostgreSQL at %s:%d, database %q, user %q", config.Host, config.Port, config.Database, config.User)
		return nil, errors.Join(fmt.Errorf("open %s: %w", where, err), db.Close())
	}
	return db, nil
}

// postgresConfig parses the URL. None of its errors quotes the URL: where it is
// malformed, nobody can say which part of it is the password.
func postgresConfig(raw string) (*pgx.ConnConfig, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("the PostgreSQL URL cannot be parsed; special characters of the password must be percent-encoded (postgres://user:password@host:5432/database)")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, errors.New("the database URL must begin with postgres:// or postgresql://")
	}
	config, err := pgx.ParseConfig(raw)
	if err != nil {
		return nil, fmt.Errorf("the PostgreSQL URL is not valid%s", reason(err, u))
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	for name, value := range map[string]string{
		"application_name":              "atoll",
		"client_encoding":               "UTF8",
		"default_transaction_isolation": "read committed",
		// A process that hangs in the middle of a transaction must not hold its
		// locks for ever.
		"idle_in_transaction_session_timeout": "60000",
	} {
		if _, set := config.RuntimeParams[name]; !set {
			config.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// reason is what the driver says about the URL, without the URL that it quotes,
// or nothing when a secret might be in it.
func reason(err error, u *url.URL) string {
	_, text, found := strings.Cut(err.Error(), "`: ")
	if !found {
		return ""
	}
	password, _ := u.User.Password()
	q := u.Query()
	for _, secret := range []string{password, q.Get("password"), q.Get("sslpassword")} {
		if secret != "" && strings.Contains(err.Error(), secret) {
			return ""
		}
	}
	return ": " + text
}

// probePostgres connects once and checks what the SQL relies on.
func (db *DB) probePostgres(ctx context.Context) error {
	var version int64
	var encoding, name, commit string
	err := db.readers.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::bigint,
		current_setting('server_encoding'), current_database(), current_setting('synchronous_commit')`).
		Scan(&version, &encoding, &name, &commit)
	if err != nil {
		return fmt.Errorf("no connection; is the server running, and do host, database, user and password fit? %w", err)
	}
	if version < oldestPostgres {
		return fmt.Errorf("the server is version %d, at least %d is needed", version/10000, oldestPostgres/10000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database's encoding is %s; make one with: CREATE DATABASE %s ENCODING 'UTF8' TEMPLATE template0", encoding, name)
	}
	if commit == "off" {
		db.logger.WarnContext(ctx, "synchronous_commit is off: what was acknowledged may be lost when the server stops")
	}
	return nil
}
