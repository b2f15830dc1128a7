package network

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"syscall"
)

// The servers' program and its pinned packages are part of this package, so that a test binary finds them wherever it runs.
//
//go:embed servers/*.mjs servers/package.json servers/package-lock.json servers/.npmrc servers/install.sh
var servers embed.FS

// packageFiles decide what is installed. The installation is named after their hash and shared by every checkout.
var packageFiles = []string{"package.json", "package-lock.json", ".npmrc", "install.sh"}

// Install makes sure of the servers' packages in the cache folder of the user (os.UserCacheDir()/atoll/network/HASH) and
// returns that folder. The first time takes a minute or two, is announced on progress, and needs npm and a C++ compiler;
// processes that install at once wait for each other.
func Install(ctx context.Context, progress io.Writer) (dir string, err error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder of the user: %w", err)
	}
	return installInto(ctx, filepath.Join(cache, "atoll", "network"), progress)
}

func installInto(ctx context.Context, root string, progress io.Writer) (string, error) {
	hash, err := contentHash(packageFiles)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, hash)
	if isDir(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return "", fmt.Errorf("make folder for the local network: %w", err)
	}
	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if isDir(dir) { // by whoever held the lock
		return dir, nil
	}
	fmt.Fprintln(progress, "installing the official servers of the local network, once: this takes a minute or two")
	return dir, installFresh(ctx, dir)
}

// installFresh installs beside dir and renames at the end: dir exists only when it is whole.
func installFresh(ctx context.Context, dir string) error {
	partial := dir + ".partial" // a leftover of an installation that was interrupted is ours to remove: we hold the lock
	if err := errors.Join(os.RemoveAll(partial), os.Mkdir(partial, 0o755)); err != nil {
		return fmt.Errorf("prepare installation of the local network: %w", err)
	}
	if err := writeServers(partial, packageFiles); err != nil {
		return err
	}
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, "bash", filepath.Join(partial, "install.sh"), partial)
	cmd.Stdout, cmd.Stderr = &output, &output
	// When ctx ends, npm and the compiler that the script started end as well.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install the local network: %w\n%s", err, bytes.TrimSpace(output.Bytes()))
	}
	if err := os.Rename(partial, dir); err != nil {
		return fmt.Errorf("finish installation of the local network: %w", err)
	}
	return nil
}

// program writes the servers' own modules below the installation, where Node finds the packages by walking up, and
// returns that folder. Every version of the program has its own, named after its content.
func program(installation string) (string, error) {
	names, err := fs.Glob(servers, "servers/*.mjs")
	if err != nil {
		return "", err
	}
	for i, name := range names {
		names[i] = path.Base(name)
	}
	names = append(names, "package.json") // says that .mjs and its neighbours are modules of one private package
	hash, err := contentHash(names)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(installation, "program-"+hash)
	if isDir(dir) {
		return dir, nil
	}
	partial, err := os.MkdirTemp(installation, "partial-")
	if err != nil {
		return "", fmt.Errorf("write program of the local network: %w", err)
	}
	defer func() { _ = os.RemoveAll(partial) }()
	if err := writeServers(partial, names); err != nil {
		return "", err
	}
	// Another process may have been faster: its folder has the same content.
	if err := os.Rename(partial, dir); err != nil && !isDir(dir) {
		return "", fmt.Errorf("write program of the local network: %w", err)
	}
	return dir, nil
}

func writeServers(dir string, names []string) error {
	for _, name := range names {
		content, err := servers.ReadFile(path.Join("servers", name))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return fmt.Errorf("write program of the local network: %w", err)
		}
	}
	return nil
}

func contentHash(names []string) (string, error) {
	sum := sha256.New()
	for _, name := range names {
		content, err := servers.ReadFile(path.Join("servers", name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(sum, "%s %d\n", name, len(content))
		sum.Write(content)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// lockFile waits for the lock, which the system releases when a process dies.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock installation of the local network: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock installation of the local network: %w", err)
	}
	return func() { _ = f.Close() }, nil
}

func isDir(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}
