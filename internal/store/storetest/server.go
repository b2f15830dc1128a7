package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/port"
)

// The names of our folders begin with these.
const (
	serverPrefix = "atoll-postgres-"
	sqlitePrefix = "atoll-sqlite-"
)

// abandonedAfter is when a folder of ours counts as left behind.
const abandonedAfter = 24 * time.Hour

// startFor is how long a server may take to answer.
const startFor = 30 * time.Second

// supervisor runs the server until its standard input ends, which is when stop
// is called or when the process that holds the other end is gone, however that
// came about. Then it stops the server and removes the folder. At each line of
// its input before that, the server crashes and starts again.
const supervisor = `
folder=$1; shift
"$@" >"$folder/log" 2>&1 &
server=$!
while read -r line; do
	kill -QUIT "$server" 2>/dev/null
	wait "$server"
	"$@" >>"$folder/log" 2>&1 &
	server=$!
done
kill -QUIT "$server" 2>/dev/null
wait "$server"
cd / && rm -rf "$folder" 2>/dev/null
:
`

// StartPostgres starts a throw-away PostgreSQL server on a free loopback port,
// in a new folder in dir ("" means where it is fastest). It has one user and a
// random password, both in the URL, and doesn't sync to the disk. It ends with
// stop, or when the calling process does. Keep stop: a server whose stop is
// garbage ends, too.
//
// The machine's own binaries are used. As root, the server runs as "postgres"
// or "nobody", who must be able to enter dir.
func StartPostgres(ctx context.Context, dir string) (url string, stop func() error, err error) {
	bin, err := findBinaries(usualPlaces, os.Getenv("PATH"))
	if err != nil {
		return "", nil, err
	}
	if dir == "" {
		dir = fastFolder()
	}
	removeStale(dir)
	var problems []error
	for range 3 { // the free port may be taken before the server gets to it
		url, lifeline, err := start(ctx, bin, dir)
		if err == nil || ctx.Err() != nil {
			return url, lifeline.stop, err
		}
		problems = append(problems, err)
	}
	return "", nil, errors.Join(problems...)
}

// Restartable starts a server of the test's own, which ends with the test.
// restart crashes it and returns when it takes connections again; what was
// committed is there.
func Restartable(t testing.TB) (url string, restart func()) {
	t.Helper()
	bin, err := findBinaries(usualPlaces, os.Getenv("PATH"))
	if err != nil {
		t.Fatal(err)
	}
	url, lifeline, err := start(t.Context(), bin, fastFolder())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lifeline.stop(); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return url, func() {
		t.Helper()
		before, err := startedAt(t.Context(), url)
		if err == nil {
			_, err = io.WriteString(lifeline.input, "restart\n")
		}
		for now := before; err == nil && now == before; {
			if err = answers(t.Context(), url); err == nil {
				now, _ = startedAt(t.Context(), url) // it may be the old one, on its way out
				now = max(now, before)
			}
		}
		if err != nil {
			t.Fatalf("restart PostgreSQL: %v", err)
		}
	}
}

// startedAt is when the server has started, in microseconds.
func startedAt(ctx context.Context, url string) (at int64, err error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	err = db.QueryRowContext(ctx, `SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::BIGINT`).Scan(&at)
	return at, err
}

// lifeline is what a server lives by: it is gone when input is closed.
type lifeline struct {
	input io.WriteCloser
	stop  func() error
}

func start(ctx context.Context, bin, dir string) (address string, l lifeline, err error) {
	owner, err := serverUser()
	if err != nil {
		return "", l, err
	}
	folder, err := os.MkdirTemp(dir, serverPrefix)
	if err != nil {
		return "", l, err
	}
	if owner != nil {
		if err := os.Chown(folder, int(owner.Uid), int(owner.Gid)); err != nil {
			return "", l, errors.Join(err, os.RemoveAll(folder))
		}
	}
	attributes := &syscall.SysProcAttr{Credential: owner, Setsid: true}
	password := rand.Text()
	if err := initialize(ctx, bin, folder, password, attributes); err != nil {
		return "", l, errors.Join(err, os.RemoveAll(folder))
	}
	listen, err := port.Free()
	if err != nil {
		return "", l, errors.Join(err, os.RemoveAll(folder))
	}
	l, err = supervise(bin, folder, listen, attributes)
	if err != nil {
		return "", l, errors.Join(err, os.RemoveAll(folder))
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword("postgres", password),
		Host: fmt.Sprintf("127.0.0.1:%d", listen), Path: "/postgres", RawQuery: "sslmode=disable"}
	if err := answers(ctx, u.String()); err != nil {
		log, _ := os.ReadFile(filepath.Join(folder, "log"))
		return "", l, errors.Join(fmt.Errorf("PostgreSQL does not start: %w\n%s", err, log), l.stop())
	}
	return u.String(), l, nil
}

// initialize makes the server's data folder.
func initialize(ctx context.Context, bin, folder, password string, attributes *syscall.SysProcAttr) error {
	secret := filepath.Join(folder, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if owner := attributes.Credential; owner != nil {
		if err := os.Chown(secret, int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), "-D", filepath.Join(folder, "data"),
		"-U", "postgres", "-A", "password", "--pwfile", secret, "-E", "UTF8", "--locale", "C",
		"--no-sync", "--no-instructions")
	initdb.Dir = folder
	initdb.SysProcAttr = attributes
	initdb.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	var output bytes.Buffer
	initdb.Stdout, initdb.Stderr = &output, &output
	if err := initdb.Run(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output.String())
	}
	return nil
}

// supervise starts the server under the supervisor. Neither inherits our output,
// which whoever runs us waits to see closed, nor our terminal's signals.
func supervise(bin, folder string, listen int, attributes *syscall.SysProcAttr) (lifeline, error) {
	settings := []string{
		"listen_addresses=127.0.0.1", fmt.Sprint("port=", listen), "unix_socket_directories=",
		"fsync=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0",
		"max_connections=200", "deadlock_timeout=100ms", "shared_buffers=64MB", "max_wal_size=2GB", "checkpoint_timeout=1h",
		"log_min_messages=fatal", "log_min_error_statement=panic",
	}
	args := []string{"-c", supervisor, "supervisor", folder,
		filepath.Join(bin, "postgres"), "-D", filepath.Join(folder, "data")}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command("/bin/sh", args...)
	cmd.Dir = folder
	cmd.SysProcAttr = attributes
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
	input, err := cmd.StdinPipe()
	if err != nil {
		return lifeline{}, err
	}
	if err := cmd.Start(); err != nil {
		return lifeline{}, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return lifeline{input, func() error {
		_ = input.Close()
		return errors.Join(cmd.Wait(), os.RemoveAll(folder))
	}}, nil
}

// answers waits until the server takes connections.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startFor)
	defer cancel()
	db, err := sql.Open("pgx", address)
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// serverUser is whom the server runs as: nobody else, except that it refuses
// to run as root.
func serverUser() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, errors.New("PostgreSQL refuses to run as root, and there is no user postgres or nobody to run it as")
}

// usualPlaces are where systems put PostgreSQL's binaries.
var usualPlaces = []string{
	"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin", "/usr/local/opt/postgresql@*/bin",
}

// findBinaries returns the folder with initdb and postgres: of the patterns'
// the one with the newest version, otherwise the first of the search path.
func findBinaries(patterns []string, searchPath string) (string, error) {
	var folders []string
	for _, pattern := range patterns {
		found, _ := filepath.Glob(pattern)
		slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
		folders = append(folders, found...)
	}
	folders = append(folders, filepath.SplitList(searchPath)...)
	for _, folder := range folders {
		if executable(filepath.Join(folder, "initdb")) && executable(filepath.Join(folder, "postgres")) {
			return folder, nil
		}
	}
	return "", fmt.Errorf("no PostgreSQL binaries (initdb, postgres) in /usr/lib/postgresql/*/bin or PATH: "+
		"install them (Debian: apt-get install postgresql; macOS: brew install postgresql@16), or name a server in %s", URLVariable)
}

// version is the last number in a path, 0 without one.
func version(path string) int {
	isDigit := func(r rune) bool { return r >= '0' && r <= '9' }
	numbers := strings.FieldsFunc(path, func(r rune) bool { return !isDigit(r) })
	if len(numbers) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(numbers[len(numbers)-1])
	return n
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir() && info.Mode().Perm()&0o111 != 0
}

// removeStale removes what killed tests left behind: old folders of SQLite
// files, and of servers that don't run. Anything doubtful stays.
func removeStale(dir string) {
	servers, _ := filepath.Glob(filepath.Join(dir, serverPrefix+"*"))
	files, _ := filepath.Glob(filepath.Join(dir, sqlitePrefix+"*"))
	for _, folder := range append(servers, files...) {
		info, err := os.Stat(folder)
		if err != nil || time.Since(info.ModTime()) < abandonedAfter {
			continue
		}
		text, err := os.ReadFile(filepath.Join(folder, "data", "postmaster.pid"))
		if err == nil {
			line, _, _ := strings.Cut(string(text), "\n")
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil || !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				continue
			}
		}
		_ = os.RemoveAll(folder)
	}
}
