package store_test

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/port"
)

func TestOpenMakesAFolderAndFilesForItsOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "new", "data")
	cfg := store.Config{Path: filepath.Join(dir, "atoll.db")}
	db := storetest.Open(t, cfg)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	want := map[string]os.FileMode{
		dir: 0o700, cfg.Path: 0o600, cfg.Path + "-wal": 0o600, cfg.Path + "-shm": 0o600, cfg.Path + ".lock": 0o600,
	}
	for path, mode := range want {
		info, err := os.Stat(path)
		if err != nil {
			t.Errorf("stat %s: %v", path, err)
		} else if got := info.Mode().Perm(); got != mode {
			t.Errorf("mode of %s = %04o, want %04o", path, got, mode)
		}
	}
}

func TestOpenTakesAnyFolderName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "a b?c=1&d#e%20ä")
	db := storetest.Open(t, store.Config{Path: filepath.Join(dir, "at%3foll.db")})
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "at%3foll.db")); err != nil {
		t.Errorf("the database is not at the path that was given: %v", err)
	}
}

// asNobody makes file access of the running goroutine that of an ordinary user,
// where the test runs as root. The goroutine's thread ends with it.
func asNobody(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		if err := syscall.Setfsuid(65534); err != nil {
			t.Fatalf("setfsuid: %v", err)
		}
	}
}

func TestOpenSaysWhyAFolderCannotBeUsed(t *testing.T) {
	t.Parallel()
	base, err := os.MkdirTemp("", "atoll-folder-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	locked, file := filepath.Join(base, "locked"), filepath.Join(base, "file")
	if err := os.Mkdir(locked, 0o555); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(base, 0o755); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ name, path, want string }{
		{"not writable", filepath.Join(locked, "atoll.db"), "is not writable by this user"},
		{"cannot be made", filepath.Join(locked, "data", "atoll.db"), "is not writable by this user"},
		{"is a file", filepath.Join(file, "atoll.db"), "not a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			asNobody(t)
			db, err := store.Open(t.Context(), store.Config{Path: tt.path})
			if err == nil {
				_ = db.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Dir(tt.path)) {
				t.Errorf("Open(%s) = %v, want an error that names the folder and says %q", tt.path, err, tt.want)
			}
		})
	}
}

func TestOpenRefusesAFileThatIsNoDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "atoll.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database\n", 500)), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := store.Open(t.Context(), store.Config{Path: path})
	if err == nil {
		_ = db.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "no SQLite database") {
		t.Errorf("Open(text file) = %v, want an error that says it is no SQLite database", err)
	}
}

func TestOpenNeedsAPathOrAURL(t *testing.T) {
	t.Parallel()
	if _, err := store.Open(t.Context(), store.Config{}); err == nil {
		t.Error("Open(Config{}) succeeded")
	}
}

// closedPort is a loopback address that nobody listens on.
func closedPort(t *testing.T) string {
	t.Helper()
	addr, err := port.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestPostgresErrorsHelpAndHideThePassword(t *testing.T) {
	t.Parallel()
	down := closedPort(t)
	tests := []struct{ name, url, password, want string }{
		{"server down", "postgres://atoll:hunter2@" + down + "/atoll", "hunter2", "is the server running"},
		{"server down, odd password", "postgres://atoll:p%40ss%2Fword@" + down + "/atoll", "p@ss", down},
		{"unescaped percent", "postgres://atoll:hun%zzter2@localhost/atoll", "hun", "percent-encoded"},
		{"unescaped slash", "postgres://atoll:hunter/2@localhost/atoll", "hunter", "percent-encoded"},
		{"unescaped colon and space", "postgres://atoll:hunter 2:x@localhost:x/atoll", "hunter", "percent-encoded"},
		{"other scheme", "mysql://atoll:hunter2@localhost/atoll", "hunter2", "postgres://"},
		{"keywords", "host=localhost password=hunter2", "hunter2", "postgres://"},
		{"bad option", "postgres://atoll:hunter2@localhost/atoll?sslmode=maybe", "hunter2", "sslmode"},
		{"password as option", "postgres://localhost/atoll?password=hunter2&sslmode=hunter2", "hunter2", "not valid"},
		{"missing certificate", "postgres://atoll:hunter2@localhost/atoll?sslmode=verify-full&sslrootcert=/does/not/exist", "hunter2", "/does/not/exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := store.Open(t.Context(), store.Config{URL: tt.url})
			if err == nil {
				t.Fatalf("Open(%s) succeeded", tt.url)
			}
			if strings.Contains(err.Error(), tt.password) {
				t.Errorf("Open(%s): the error holds the password: %v", tt.url, err)
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open(%s) = %q, want %q in it", tt.url, err, tt.want)
			}
		})
	}
}

func TestPostgresDownIsTransient(t *testing.T) {
	t.Parallel()
	_, err := store.Open(t.Context(), store.Config{URL: "postgres://atoll:x@" + closedPort(t) + "/atoll"})
	if !store.IsTransient(err) {
		t.Errorf("IsTransient(%v) = false, want true", err)
	}
}

func TestPostgresRefusesAnotherEncoding(t *testing.T) {
	t.Parallel()
	url := storetest.CreateDatabase(t, "TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
	_, err := store.Open(t.Context(), store.Config{URL: url})
	if err == nil || !strings.Contains(err.Error(), "LATIN1") {
		t.Errorf("Open(database in LATIN1) = %v, want an error that names the encoding", err)
	}
}

func TestMicros(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 21, 8, 30, 0, 123456789, time.FixedZone("", 3600))
	if got, want := store.FromMicros(store.Micros(at)), at.UTC().Truncate(time.Microsecond); !got.Equal(want) || got.Location() != time.UTC {
		t.Errorf("FromMicros(Micros(%v)) = %v, want %v", at, got, want)
	}
	if got := store.Micros(time.Time{}); got != 0 {
		t.Errorf("Micros(zero time) = %d, want 0", got)
	}
	if got := store.FromMicros(0); !got.IsZero() {
		t.Errorf("FromMicros(0) = %v, want the zero time", got)
	}
}

func TestEnginesNameThemselves(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		if want := filepath.Base(t.Name()); string(db.Engine()) != want {
			t.Errorf("Engine() = %s, want %s", db.Engine(), want)
		}
	})
}

func TestOpenHonoursItsContext(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		db, err := store.Open(ctx, cfg)
		if err == nil {
			_ = db.Close()
			t.Error("Open with a cancelled context succeeded")
		}
	})
}
