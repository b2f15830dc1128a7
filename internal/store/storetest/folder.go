package storetest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// memory is where Linux keeps files in memory.
const memory = "/dev/shm"

// enough is how much must be free there, in bytes.
const enough = 1 << 30

// fastFolder is where databases for tests live: in memory where that is
// possible, because making a database is making hundreds of files, and a disk
// that others use as well takes three times as long. TMPDIR overrides it.
func fastFolder() string {
	if os.Getenv("TMPDIR") != "" {
		return os.TempDir()
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(memory, &fs) != nil || uint64(fs.Bavail)*uint64(fs.Bsize) < enough {
		return os.TempDir()
	}
	probe, err := os.MkdirTemp(memory, "atoll-probe-")
	if err != nil {
		return os.TempDir()
	}
	_ = os.Remove(probe)
	return memory
}

// folder makes a folder for one test.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(fastFolder(), sqlitePrefix)
	if err != nil {
		t.Fatalf("make a folder for the test's database: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove the test's database: %v", err)
		}
	})
	return dir
}

// newPath is where a test's SQLite file goes.
func newPath(t testing.TB) string { return filepath.Join(folder(t), "atoll.db") }
