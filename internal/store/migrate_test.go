package store_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// schema describes all tables, columns and indexes, as text that is equal for
// equal schemas of one engine.
func schema(t *testing.T, db *store.DB) []string {
	t.Helper()
	if db.Engine() == store.SQLite {
		return column(t, db.Read(), `SELECT coalesce(sql, name) FROM sqlite_master ORDER BY 1`)
	}
	return column(t, db.Read(), `SELECT table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable
			|| ' ' || coalesce(column_default, '') || ' ' || coalesce(collation_name, '')
		FROM information_schema.columns WHERE table_schema = 'public'
		UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1`)
}

// programFiles are the migrations of this program.
func programFiles(t *testing.T) fstest.MapFS {
	t.Helper()
	names, err := fs.Glob(store.Migrations(), "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, name := range names {
		text, err := fs.ReadFile(store.Migrations(), name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: text}
	}
	return files
}

// upTo keeps the first n files.
func upTo(files fstest.MapFS, n int) fstest.MapFS {
	kept := fstest.MapFS{}
	for _, name := range slices.Sorted(maps.Keys(files))[:n] {
		kept[name] = files[name]
	}
	return kept
}

func mustMigrate(t *testing.T, db *store.DB, files fs.FS) {
	t.Helper()
	if err := db.MigrateFiles(t.Context(), files); err != nil {
		t.Fatalf("migrate: %v", err)
	}
}

func wantVersion(t *testing.T, db *store.DB, want int64) {
	t.Helper()
	got, _, err := db.SchemaVersion(t.Context())
	if err != nil || got != want {
		t.Errorf("schema version = %d, %v; want %d", got, err, want)
	}
}

func TestMigrateReachesTheSameSchemaFromEveryEarlierVersion(t *testing.T) {
	t.Parallel()
	files := programFiles(t)
	storetest.Each(t, func(t *testing.T, reference *store.DB) {
		want := schema(t, reference)
		_, program, err := reference.SchemaVersion(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(files) + 1 {
			db := storetest.Open(t, emptyConfig(t, reference.Engine()))
			wantVersion(t, db, 0)
			if n > 0 {
				mustMigrate(t, db, upTo(files, n))
			}
			for range 2 { // the second time there is nothing to do
				if err := db.Migrate(t.Context()); err != nil {
					t.Fatalf("migrate after the first %d files: %v", n, err)
				}
			}
			wantVersion(t, db, program)
			if diff := cmp.Diff(want, schema(t, db)); diff != "" {
				t.Errorf("schema after the first %d files, then all (-want +got):\n%s", n, diff)
			}
		}
	})
}

func emptyConfig(t *testing.T, engine store.Engine) store.Config {
	t.Helper()
	if engine == store.Postgres {
		return store.Config{URL: storetest.CreateDatabase(t, "TEMPLATE template0")}
	}
	return store.Config{Path: filepath.Join(t.TempDir(), "atoll.db")}
}

// smallFiles are two migrations; the second has data and several statements.
func smallFiles(second string) fstest.MapFS {
	return fstest.MapFS{
		"0001_one.sql": {Data: []byte("-- +goose Up\nCREATE TABLE one (id BIGINT NOT NULL PRIMARY KEY);\n")},
		"0002_two.sql": {Data: []byte("-- +goose Up\n" + second)},
	}
}

const goodSecond = `
-- A comment with a semicolon; and 'quotes'.
CREATE TABLE two (id BIGINT NOT NULL PRIMARY KEY, word TEXT COLLATE "C" NOT NULL DEFAULT 'a;b');
INSERT INTO two (id, word) VALUES (1, 'x; -- no comment'), (2, 'it''s');
CREATE INDEX two_word ON two (word) WHERE word <> ';';
ALTER TABLE one ADD COLUMN flag BOOLEAN NOT NULL DEFAULT false;
INSERT INTO one (id) VALUES (1);
`

func TestOneMigrationTextRunsOnBothEngines(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		mustMigrate(t, db, smallFiles(goodSecond))
		got := column(t, db.Read(), `SELECT word FROM two UNION ALL SELECT 'one' FROM one WHERE NOT flag ORDER BY 1`)
		if diff := cmp.Diff([]string{"it's", "one", "x; -- no comment"}, got); diff != "" {
			t.Errorf("rows (-want +got):\n%s", diff)
		}
	})
}

func TestAMigrationThatFailsHalfwayLeavesNothingAndIsRepeated(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		err := db.MigrateFiles(t.Context(), smallFiles(goodSecond+"INSERT INTO missing (id) VALUES (1);\n"))
		if err == nil || !strings.Contains(err.Error(), "from version 0 to 2") {
			t.Fatalf("a file whose last statement fails: %v, want an error that names the versions", err)
		}
		wantVersion(t, db, 1)
		if n := column(t, db.Read(), `SELECT count(*) FROM one`); n[0] != "0" {
			t.Errorf("the failed file left %s rows", n[0])
		}
		mustMigrate(t, db, smallFiles(goodSecond))
		wantVersion(t, db, 2)
	})
}

// A process that is killed in the middle of a file is a connection that ends in
// the middle of a transaction.
func TestAMigrationThatIsKilledHalfwayIsRepeated(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		first := childCommand(t, "migrate-and-hang", cfg)
		first.wait(t, "half")
		first.kill(t)
		db := storetest.Open(t, cfg)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := db.MigrateFiles(ctx, smallFiles(goodSecond)); err != nil {
			t.Fatalf("migrate after the killed process: %v", err)
		}
		wantVersion(t, db, 2)
		if n := column(t, db.Read(), `SELECT count(*) FROM two`); n[0] != "2" {
			t.Errorf("table two has %s rows, want 2", n[0])
		}
	})
}

func TestOnlyOneProcessMigrates(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		var group sync.WaitGroup
		for range 4 {
			db := storetest.Open(t, cfg)
			group.Go(func() {
				if err := db.MigrateFiles(t.Context(), smallFiles(goodSecond)); err != nil {
					t.Errorf("migrate beside others: %v", err)
				}
			})
		}
		group.Wait()
		db := storetest.Open(t, cfg)
		if n := column(t, db.Read(), `SELECT count(*) FROM two`); n[0] != "2" {
			t.Errorf("table two has %s rows, want 2", n[0])
		}
	})
}

func TestMigrateWaitsForTheLockAndItsContext(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		holder, db := storetest.Open(t, cfg), storetest.Open(t, cfg)
		unlock, err := holder.LockMigrations(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := db.MigrateFiles(ctx, smallFiles(goodSecond)); err == nil {
			t.Error("migrated while another process held the lock")
		}
		wantVersion(t, db, 0)
		unlock()
		mustMigrate(t, db, smallFiles(goodSecond))
	})
}

func TestAnOlderProgramRefusesANewerDatabase(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		mustMigrate(t, db, smallFiles(goodSecond))
		before := schema(t, db)
		err := db.MigrateFiles(t.Context(), upTo(smallFiles(goodSecond), 1))
		var newer *store.NewerSchemaError
		if !errors.Is(err, store.ErrNewerSchema) || !errors.As(err, &newer) {
			t.Fatalf("migrate with an older program = %v, want ErrNewerSchema", err)
		}
		if diff := cmp.Diff(&store.NewerSchemaError{Database: 2, Program: 1}, newer); diff != "" {
			t.Errorf("versions (-want +got):\n%s", diff)
		}
		for _, part := range []string{"version 2", "up to 1", "start the newer program", "backup"} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("the error lacks %q: %v", part, err)
			}
		}
		if diff := cmp.Diff(before, schema(t, db)); diff != "" {
			t.Errorf("the refusal changed the schema (-before +after):\n%s", diff)
		}
	})
}

func TestAskingForTheVersionWritesNothing(t *testing.T) {
	t.Parallel()
	storetest.EachEmpty(t, func(t *testing.T, cfg store.Config) {
		db := storetest.Open(t, cfg)
		before := schema(t, db)
		database, program, err := db.SchemaVersion(t.Context())
		if err != nil || database != 0 || program < 1 {
			t.Errorf("SchemaVersion of an empty database = %d, %d, %v; want 0, at least 1", database, program, err)
		}
		if diff := cmp.Diff(before, schema(t, db)); diff != "" {
			t.Errorf("asking changed the schema (-before +after):\n%s", diff)
		}
	})
}

// Migrations are named NNNN_name.sql without gaps, go forward only, and mark
// text that is a key as ordered by bytes.
func TestMigrationFilesKeepTheRules(t *testing.T) {
	t.Parallel()
	files := programFiles(t)
	for i, name := range slices.Sorted(maps.Keys(files)) {
		if want := fmt.Sprintf("%04d_", i+1); !strings.HasPrefix(name, want) {
			t.Errorf("%s: its name should begin with %s", name, want)
		}
		text := string(files[name].Data)
		if !strings.HasPrefix(text, "-- +goose Up\n") || strings.Contains(text, "+goose Down") || strings.Contains(text, "NO TRANSACTION") {
			t.Errorf("%s: it should begin with \"-- +goose Up\", have no Down, and run in a transaction", name)
		}
	}
}
