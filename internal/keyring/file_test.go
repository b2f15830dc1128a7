package keyring_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/keyring"
)

func TestWriteNewFileIsReadBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := keyring.WriteNewFile(path, keyring.NewSecret(keyLine(1)+"\n")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the new file = %v, %v; want 0600", info.Mode(), err)
	}
	r, err := keyring.LoadFile(path)
	if err != nil || r.CurrentID() != mustParse(t, keyLine(1)).CurrentID() {
		t.Errorf("LoadFile = %v, %v; want the key that was written", r, err)
	}
}

func TestWriteNewFileLeavesAnExistingFileAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secret.key")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := keyring.WriteNewFile(path, keyring.NewSecret("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteNewFile over a file = %v, want fs.ErrExist", err)
	}
	dangling := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), dangling); err != nil {
		t.Fatal(err)
	}
	if err := keyring.WriteNewFile(dangling, keyring.NewSecret("x")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("WriteNewFile through a dangling link = %v, want fs.ErrExist", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "precious" {
		t.Errorf("the file is now %q, %v", text, err)
	}
}

func TestLoadFileRefusesWhatOthersCanRead(t *testing.T) {
	t.Parallel()
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644, 0o660, 0o620, 0o777} {
		path := filepath.Join(t.TempDir(), "secret.key")
		if err := os.WriteFile(path, []byte(keyLine(1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		_, err := keyring.LoadFile(path)
		if !errors.Is(err, keyring.ErrExposed) || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("LoadFile of mode %04o = %v, want ErrExposed and the command that mends it", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		path := filepath.Join(t.TempDir(), "secret.key")
		if err := os.WriteFile(path, []byte(keyLine(1)), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keyring.LoadFile(path); err != nil {
			t.Errorf("LoadFile of mode %04o = %v", mode, err)
		}
	}
}

func TestLoadFileNamesTheFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bad, huge := filepath.Join(dir, "bad.key"), filepath.Join(dir, "huge.key")
	if err := errors.Join(os.WriteFile(bad, []byte("\nhunter2hunter2"), 0o600), os.WriteFile(huge, make([]byte, 1<<20), 0o600)); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.key"): "no such file",
		dir:                               "is a directory",
		bad:                               "line 2",
		huge:                              "more than",
	} {
		_, err := keyring.LoadFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("LoadFile(%s) = %v, want the path and %q", path, err, want)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error quotes the file: %v", err)
		}
	}
}

func TestReadFileDropsTheLineEndOnly(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(" hunter 2 \r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := keyring.ReadFile(path)
	if err != nil || got.Reveal() != " hunter 2 " {
		t.Errorf("ReadFile = %q, %v; want \" hunter 2 \"", got.Reveal(), err)
	}
}
