package keyring

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ErrExposed says that a file with secrets can be read by others than its owner.
var ErrExposed = errors.New("readable by other users")

// LoadFile reads a key list from a file. A file that its group or the world can
// read is refused (ErrExposed), with the command that mends it.
func LoadFile(path string) (*Ring, error) {
	text, err := ReadFile(path)
	if err != nil {
		return nil, err
	}
	ring, err := Parse(text.Reveal())
	if err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	return ring, nil
}

// ReadFile reads one secret from a file, without the line end that editors
// leave behind. It refuses what LoadFile refuses, and more than 64 KiB.
func ReadFile(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("secret file: %w", err)
	}
	defer f.Close()
	// The open file is examined, not the path: it cannot be exchanged in between.
	info, err := f.Stat()
	if err != nil {
		return Secret{}, fmt.Errorf("secret file: %w", err)
	}
	if info.IsDir() {
		return Secret{}, fmt.Errorf("secret file %s: is a directory", path)
	}
	if open := info.Mode().Perm() & 0o077; open != 0 {
		return Secret{}, fmt.Errorf("secret file %s: %w (mode %04o); mend it with: chmod 600 %s",
			path, ErrExposed, info.Mode().Perm(), path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err != nil {
		return Secret{}, fmt.Errorf("secret file: %w", err)
	}
	if len(text) > maxText {
		return Secret{}, fmt.Errorf("secret file %s: more than %d bytes", path, maxText)
	}
	return NewSecret(strings.TrimRight(string(text), "\r\n")), nil
}

// WriteNewFile writes a file that did not exist before, for its owner only
// (0600), and returns once it is on the disk: what gets sealed with a key must
// not outlive it. An existing file is left alone; the error wraps fs.ErrExist.
func WriteNewFile(path string, text Secret) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("new secret file: %w", err)
	}
	defer func() {
		if err != nil {
			// A half-written key file would be taken for a broken key later.
			err = errors.Join(err, ignoreMissing(os.Remove(path)))
		}
	}()
	if _, err := f.WriteString(text.Reveal()); err != nil {
		return errors.Join(fmt.Errorf("new secret file: %w", err), f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(fmt.Errorf("new secret file: %w", err), f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("new secret file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncDir makes a new directory entry survive a loss of power.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("new secret file: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("new secret file: %w", err)
	}
	return nil
}
