package storetest

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// childVariable makes the test binary a process that can be killed.
const childVariable = "STORETEST_CHILD"

func TestMain(m *testing.M) {
	switch do, dir, _ := strings.Cut(os.Getenv(childVariable), " "); do {
	case "start":
		address, _, err := StartPostgres(context.Background(), dir)
		fmt.Println(address, err)
		select {}
	case "template":
		s, err := shared()
		if err == nil {
			_, err = s.admin.Exec(`CREATE DATABASE ` + dir + ` TEMPLATE ` + s.template)
		}
		fmt.Println(err)
	default:
		os.Exit(m.Run())
	}
}

// child starts this test binary as another process and returns a function that
// reads the first line it prints.
func child(t *testing.T, do string, env ...string) (cmd *exec.Cmd, firstLine func() string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), childVariable+"="+do), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, func() string {
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Errorf("read from the child: %v", err)
		}
		return strings.TrimSpace(line)
	}
}

// openFolder is a folder that the server's user may enter.
func openFolder(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp(fastFolder(), "atoll-storetest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, mode); err != nil {
		t.Fatal(err)
	}
	return dir
}

// gone waits until nothing is left of a server: no folder, no listener.
func gone(t *testing.T, dir, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		left, _ := filepath.Glob(filepath.Join(dir, "*"))
		conn, err := net.Dial("tcp", u.Host)
		if err != nil && len(left) == 0 {
			return
		}
		if err == nil {
			_ = conn.Close()
		}
		select {
		case <-deadline:
			t.Fatalf("after 20s: listening: %t, folders: %v", err == nil, left)
		case <-tick.C:
		}
	}
}

func TestStoppingRemovesTheServer(t *testing.T) {
	t.Parallel()
	dir := openFolder(t, 0o711)
	address, stop, err := StartPostgres(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	gone(t, dir, address)
}

func TestKillingTheTestsRemovesTheServer(t *testing.T) {
	t.Parallel()
	dir := openFolder(t, 0o777|os.ModeSticky) // as /tmp is
	cmd, firstLine := child(t, "start "+dir)
	address, problem, _ := strings.Cut(firstLine(), " ")
	if problem != "<nil>" {
		t.Fatalf("start in another process: %s", problem)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	gone(t, dir, address)
}

func TestTheServerTakesTheRightPasswordOnly(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(sharedServer(t).url)
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv(URLVariable) != "" {
		return // not our server
	}
	u.User = url.UserPassword("postgres", "wrong")
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.PingContext(t.Context()); err == nil {
		t.Error("connected with a wrong password")
	}
}

// Packages are tested by processes that run at the same time and may share a server.
func TestProcessesThatShareAServerMakeOneTemplate(t *testing.T) {
	t.Parallel()
	address, stop, err := StartPostgres(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = stop() })
	var results []func() string
	for i := range 3 {
		_, firstLine := child(t, fmt.Sprintf("template x%d", i), URLVariable+"="+address)
		results = append(results, firstLine)
	}
	for i, result := range results {
		if got := result(); got != "<nil>" {
			t.Errorf("process %d: %s", i, got)
		}
	}
}

func TestDatabasesOfKilledTestsAreDropped(t *testing.T) {
	t.Parallel()
	s := sharedServer(t)
	old := fmt.Sprintf("atoll_test_%x_old", time.Now().Add(-2*staleAfter).Unix())
	young := fmt.Sprintf("atoll_test_%x_young", time.Now().Unix())
	for _, name := range []string{old, young} {
		if _, err := s.admin.ExecContext(t.Context(), `CREATE DATABASE `+name); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := s.admin.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := dropStale(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{old: 0, young: 1} {
		var got int
		if err := conn.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_database WHERE datname = $1`, name).Scan(&got); err != nil || got != want {
			t.Errorf("databases named %s: %d, %v; want %d", name, got, err, want)
		}
	}
	if _, err := conn.ExecContext(t.Context(), `DROP DATABASE `+young); err != nil {
		t.Error(err)
	}
}

func TestEachGivesEveryTestItsOwnMigratedDatabase(t *testing.T) {
	t.Parallel()
	for range 2 {
		Each(t, func(t *testing.T, db *store.DB) {
			database, program, err := db.SchemaVersion(t.Context())
			if err != nil || database != program {
				t.Errorf("schema version = %d, %v; want %d", database, err, program)
			}
			var rows int
			if err := db.Read().QueryRowContext(t.Context(), `SELECT count(*) FROM write_check`).Scan(&rows); err != nil || rows != 0 {
				t.Errorf("rows of another test: %d, %v", rows, err)
			}
			if err := db.Writable(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestMissingBinariesAreNamedWithTheirPackage(t *testing.T) {
	t.Parallel()
	_, err := findBinaries([]string{filepath.Join(t.TempDir(), "*")}, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "apt-get install postgresql") || !strings.Contains(err.Error(), URLVariable) {
		t.Errorf("findBinaries of empty folders = %v, want what to install", err)
	}
}

func TestTheNewestBinariesAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, folder := range []string{"postgresql/9/bin", "postgresql/16/bin", "postgresql/15/bin", "other"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"initdb", "postgres"} {
			if err := os.WriteFile(filepath.Join(dir, folder, name), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Half an installation is none.
	if err := os.MkdirAll(filepath.Join(dir, "postgresql/17/bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	got, err := findBinaries([]string{filepath.Join(dir, "postgresql/*/bin")}, filepath.Join(dir, "other"))
	if want := filepath.Join(dir, "postgresql/16/bin"); err != nil || got != want {
		t.Errorf("findBinaries = %s, %v; want %s", got, err, want)
	}
	if got, err := findBinaries(nil, filepath.Join(dir, "other")); err != nil || got != filepath.Join(dir, "other") {
		t.Errorf("findBinaries in PATH = %s, %v", got, err)
	}
}

func TestAbandonedFoldersAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	long := time.Now().Add(-2 * abandonedAfter)
	for name, pid := range map[string]string{
		serverPrefix + "dead": "999999999\n", serverPrefix + "running": fmt.Sprintln(os.Getpid()),
		serverPrefix + "young": "", sqlitePrefix + "old": "", "somebody-else": "",
	} {
		folder := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(folder, "data"), 0o700); err != nil {
			t.Fatal(err)
		}
		if pid != "" {
			if err := os.WriteFile(filepath.Join(folder, "data", "postmaster.pid"), []byte(pid), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if !strings.HasSuffix(name, "young") {
			if err := os.Chtimes(folder, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	removeStale(dir)
	for name, want := range map[string]bool{
		serverPrefix + "dead": false, serverPrefix + "running": true, serverPrefix + "young": true,
		sqlitePrefix + "old": false, "somebody-else": true,
	} {
		_, err := os.Stat(filepath.Join(dir, name))
		if got := !errors.Is(err, fs.ErrNotExist); got != want {
			t.Errorf("%s is there: %t, want %t", name, got, want)
		}
	}
}
