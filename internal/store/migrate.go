package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var embedded embed.FS

// versionTable is where goose keeps which files were applied.
const versionTable = "goose_db_version"

// ErrNewerSchema says that a newer version of the program has migrated the
// database. The error is a *NewerSchemaError, which has both versions.
var ErrNewerSchema = errors.New("the database is newer than this program")

// NewerSchemaError is ErrNewerSchema with the schema versions of both.
type NewerSchemaError struct{ Database, Program int64 }

// Error says what to do.
func (e *NewerSchemaError) Error() string {
	return fmt.Sprintf("%v: its schema is version %d, this program knows up to %d; start the newer program again, or restore a backup from before the upgrade",
		ErrNewerSchema, e.Database, e.Program)
}

// Is makes errors.Is(err, ErrNewerSchema) true.
func (e *NewerSchemaError) Is(target error) bool { return target == ErrNewerSchema }

// Migrations returns the migration files, NNNN_name.sql, in the root of the FS.
func Migrations() fs.FS {
	sub, err := fs.Sub(embedded, "migrations")
	if err != nil {
		panic(fmt.Sprintf("store: embedded migrations: %v", err)) // the name is a constant
	}
	return sub
}

// Migrate brings the schema to the version of this program: each file in a
// transaction, under a lock between processes, from any earlier version and
// from any point at which an earlier run stopped. It never goes back: a newer
// schema is refused with ErrNewerSchema and left as it is.
func (db *DB) Migrate(ctx context.Context) error { return db.migrate(ctx, Migrations()) }

func (db *DB) migrate(ctx context.Context, files fs.FS) error {
	unlock, err := db.lockMigrations(ctx)
	if err != nil {
		return fmt.Errorf("lock for migration: %w", err)
	}
	defer unlock()
	known, err := latest(files)
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	current, err := db.version(ctx)
	if err != nil {
		return err
	}
	if current > known {
		return &NewerSchemaError{Database: current, Program: known}
	}
	dialect := goose.DialectSQLite3
	if db.engine == Postgres {
		dialect = goose.DialectPostgres
	}
	provider, err := goose.NewProvider(dialect, db.writer, files,
		goose.WithDisableGlobalRegistry(true), goose.WithSlog(db.logger))
	if err != nil {
		return fmt.Errorf("read migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate from version %d to %d: %w", current, known, err)
	}
	if current != known {
		db.logger.InfoContext(ctx, "database migrated", "from", current, "to", known)
	}
	return nil
}

// SchemaVersion returns the schema version of the database, 0 when it is empty,
// and the one that this program has.
func (db *DB) SchemaVersion(ctx context.Context) (database, program int64, err error) {
	if program, err = latest(Migrations()); err != nil {
		return 0, 0, fmt.Errorf("read migrations: %w", err)
	}
	database, err = db.version(ctx)
	return database, program, err
}

// version asks the table directly: goose would make it, and asking must not write.
func (db *DB) version(ctx context.Context) (int64, error) {
	exists := `SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = $1`
	if db.engine == Postgres {
		exists = `SELECT count(*) FROM pg_class WHERE oid = to_regclass($1)`
	}
	var tables int64
	if err := db.readers.QueryRowContext(ctx, exists, versionTable).Scan(&tables); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	if tables == 0 {
		return 0, nil
	}
	var version sql.NullInt64
	query := `SELECT max(version_id) FROM ` + versionTable + ` WHERE is_applied`
	if err := db.readers.QueryRowContext(ctx, query).Scan(&version); err != nil {
		return 0, fmt.Errorf("read schema version: %w", err)
	}
	return version.Int64, nil
}

// latest is the highest number of a migration file.
func latest(files fs.FS) (int64, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return 0, err
	}
	highest := int64(0)
	for _, name := range names {
		number, _, _ := strings.Cut(path.Base(name), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("%s does not begin with a number", name)
		}
		highest = max(highest, n)
	}
	return highest, nil
}
