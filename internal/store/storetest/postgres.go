package storetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // registers "pgx"

	"github.com/atoll-social/atoll/internal/store"
)

// URLVariable names a PostgreSQL server to use instead of a throw-away one. Its
// user must be allowed to create databases.
const URLVariable = "TEST_POSTGRES_URL"

// templateLock keeps test processes that share a server from making the
// template at the same time ("atolltst" in ASCII).
const templateLock int64 = 0x61746f6c6c747374

// staleAfter is when a test's database that is still there counts as left behind.
const staleAfter = 2 * time.Hour

// server is what all tests of the process share.
type server struct {
	url      string
	admin    *sql.DB
	template string
	strategy string // how to copy the template
	// stop is never called, only kept: the server ends when the pipe that stop
	// holds is closed, which collecting it as garbage would do.
	stop func() error
}

// shared starts or finds the server and makes the template, once.
var shared = sync.OnceValues(func() (_ *server, err error) {
	ctx := context.Background()
	s := &server{url: os.Getenv(URLVariable)}
	if s.url == "" {
		if s.url, s.stop, err = StartPostgres(ctx, ""); err != nil {
			return nil, err
		}
	}
	if s.admin, err = sql.Open("pgx", s.url); err != nil {
		return nil, fmt.Errorf("%s is not a PostgreSQL URL", URLVariable)
	}
	s.admin.SetMaxOpenConns(4)
	var version int64
	if err := s.admin.QueryRowContext(ctx, `SELECT current_setting('server_version_num')::bigint`).Scan(&version); err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if version >= 150000 {
		// A third of the time of the default, which servers have from 15 on.
		s.strategy = " STRATEGY FILE_COPY"
	}
	if err := s.makeTemplate(ctx); err != nil {
		return nil, fmt.Errorf("make the template database: %w", err)
	}
	return s, nil
})

// newPostgres makes a migrated database for a test and returns its URL.
func newPostgres(t testing.TB) string {
	t.Helper()
	s := sharedServer(t)
	return s.create(t, "TEMPLATE "+s.template)
}

// CreateDatabase makes a PostgreSQL database with options of CREATE DATABASE,
// such as "TEMPLATE template0", and returns its URL. It is gone when the test ends.
func CreateDatabase(t testing.TB, options string) (url string) {
	t.Helper()
	return sharedServer(t).create(t, options)
}

func sharedServer(t testing.TB) *server {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	return s
}

func (s *server) create(t testing.TB, options string) (url string) {
	t.Helper()
	name := fmt.Sprintf("atoll_test_%x_%s", time.Now().Unix(), strings.ToLower(rand.Text()[:12]))
	if _, err := s.admin.ExecContext(t.Context(), `CREATE DATABASE `+name+` `+options+s.strategy); err != nil {
		t.Fatalf("create the test's database: %v", err)
	}
	t.Cleanup(func() {
		if _, err := s.admin.Exec(`DROP DATABASE IF EXISTS ` + name + ` WITH (FORCE)`); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return withDatabase(s.url, name)
}

// makeTemplate makes the migrated template unless there is one of the same
// migrations. A template is marked as such only when it is complete.
func (s *server) makeTemplate(ctx context.Context) error {
	hash, err := migrationsHash()
	if err != nil {
		return err
	}
	s.template = "atoll_template_" + hash
	conn, err := s.admin.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, templateLock); err != nil {
		return err
	}
	defer conn.ExecContext(ctx, `SELECT pg_advisory_unlock($1)`, templateLock)
	var complete bool
	err = conn.QueryRowContext(ctx, `SELECT datistemplate FROM pg_database WHERE datname = $1`, s.template).Scan(&complete)
	if complete || err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if err := dropStale(ctx, conn); err != nil {
		return err
	}
	for _, statement := range []string{`DROP DATABASE IF EXISTS ` + s.template, `CREATE DATABASE ` + s.template + ` TEMPLATE template0 ENCODING 'UTF8'` + s.strategy} {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	if err := migrate(store.Config{URL: withDatabase(s.url, s.template)}); err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, `ALTER DATABASE `+s.template+` IS_TEMPLATE true`)
	return err
}

// dropStale drops databases that killed test processes left on a shared server.
func dropStale(ctx context.Context, conn *sql.Conn) error {
	rows, err := conn.QueryContext(ctx, `SELECT datname FROM pg_database WHERE datname LIKE 'atoll\_test\_%'`)
	if err != nil {
		return err
	}
	var names []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return errors.Join(err, rows.Close())
		}
		names = append(names, name)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, name := range names {
		made, _, _ := strings.Cut(strings.TrimPrefix(name, "atoll_test_"), "_")
		seconds, err := strconv.ParseInt(made, 16, 64)
		if err != nil || time.Since(time.Unix(seconds, 0)) < staleAfter {
			continue
		}
		if _, err := conn.ExecContext(ctx, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
			return err
		}
	}
	return nil
}

// migrationsHash names the template by what is in it.
func migrationsHash() (string, error) {
	sum := sha256.New()
	err := fs.WalkDir(store.Migrations(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(store.Migrations(), name)
		fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
		return err
	})
	return hex.EncodeToString(sum.Sum(nil)[:8]), err
}

func migrate(cfg store.Config) error {
	ctx := context.Background()
	db, err := store.Open(ctx, cfg)
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(ctx), db.Close())
}

// withDatabase returns the URL of another database of the same server.
func withDatabase(server, name string) string {
	u, err := url.Parse(server)
	if err != nil {
		panic("storetest: the URL parsed a moment ago")
	}
	u.Path = "/" + name
	return u.String()
}
