package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// Storage is the database, migrated, and the keys that open what is sealed in
// it. The server and the operator's commands open the same.
type Storage struct {
	DB   *store.DB
	Ring *keyring.Ring
}

// Exists reports whether there is a database to open; a first start makes the
// embedded one.
func Exists(settings *config.Config) bool {
	if !settings.SQLite() {
		return true
	}
	_, err := os.Stat(settings.SQLitePath())
	return !errors.Is(err, fs.ErrNotExist)
}

// OpenStorage opens and migrates the database and proves that the master key
// fits, before anything is changed where there is something already. With an
// embedded database in an empty folder it makes the key first.
func OpenStorage(ctx context.Context, settings *config.Config, logger *slog.Logger) (*Storage, error) {
	return open(ctx, settings, logger, true)
}

// OpenCurrent is OpenStorage for commands beside a server: it never migrates,
// since that would take the schema away from under an older server. A database
// of another version is refused with what to do.
func OpenCurrent(ctx context.Context, settings *config.Config, logger *slog.Logger) (*Storage, error) {
	if !Exists(settings) {
		return nil, fault.New(fault.NotFound, "There is no database yet; `atoll serve` or `atoll migrate` makes it.")
	}
	return open(ctx, settings, logger, false)
}

func open(ctx context.Context, settings *config.Config, logger *slog.Logger, migrate bool) (*Storage, error) {
	db, err := store.Open(ctx, store.Config{
		Path: settings.SQLitePath(), URL: settings.DatabaseURL.Reveal(), Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	s, err := prepare(ctx, db, settings, logger, migrate)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return s, nil
}

func prepare(ctx context.Context, db *store.DB, settings *config.Config, logger *slog.Logger, migrate bool) (*Storage, error) {
	have, want, err := db.SchemaVersion(ctx)
	switch {
	case err != nil:
		return nil, err
	case have != want && !migrate:
		return nil, fault.New(fault.Conflict, fmt.Sprintf(
			"The database is at schema version %d, this program at %d. `atoll migrate`, or the next start of the server, brings an older database up; a newer one needs the program that made it.", have, want))
	case have == 0:
		// Only an empty database is changed before the key is known to fit:
		// there is nothing yet that a key could fit.
		if err := db.Migrate(ctx); err != nil {
			return nil, err
		}
	}
	ring, err := loadRing(ctx, db, settings, logger)
	if err != nil {
		return nil, err
	}
	if err := db.CheckKey(ctx, ring); err != nil {
		return nil, err
	}
	if migrate {
		if err := db.Migrate(ctx); err != nil {
			return nil, err
		}
	}
	return &Storage{DB: db, Ring: ring}, nil
}

// loadRing reads the master keys. A key is made only where nothing can be
// sealed yet (O10).
func loadRing(ctx context.Context, db *store.DB, settings *config.Config, logger *slog.Logger) (*keyring.Ring, error) {
	if !settings.SecretKey.IsZero() {
		ring, err := keyring.Parse(settings.SecretKey.Reveal())
		if err != nil {
			return nil, fmt.Errorf("secret_key: %w", err)
		}
		return ring, nil
	}
	path := settings.SecretKeyPath()
	ring, err := keyring.LoadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return ring, err
	}
	// Without a key only an empty database goes on; the error of any other
	// names the key that it wants.
	if err := db.CheckKey(ctx, nil); !errors.Is(err, store.ErrNoKey) {
		return nil, err
	}
	line, err := keyring.Generate()
	if err != nil {
		return nil, err
	}
	if err := keyring.WriteNewFile(path, keyring.NewSecret(line)); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	logger.InfoContext(ctx, "made the secret key; keep a copy of it apart from the database", "file", path)
	return keyring.LoadFile(path)
}
