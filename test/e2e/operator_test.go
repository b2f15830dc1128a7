package e2e

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// atoll runs the program in an empty folder with an environment of its own.
func atoll(t *testing.T, dir string, env []string, args ...string) (output string, code int) {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, envSeams + "=" + plainSeams(t)}, env...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

func TestTheCommandsExplainThemselves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, code := atoll(t, dir, nil, "--help")
	if code != 0 {
		t.Fatalf("atoll --help: code %d\n%s", code, out)
	}
	for _, command := range []string{"serve", "migrate", "config", "keys", "doctor", "version"} {
		if !strings.Contains(out, command) {
			t.Errorf("atoll --help does not list %s", command)
		}
		help, code := atoll(t, dir, nil, command, "--help")
		if code != 0 || !strings.Contains(help, "Usage: atoll "+command) {
			t.Errorf("atoll %s --help: code %d\n%s", command, code, help)
		}
	}
	if out, code := atoll(t, dir, nil, "version"); code != 0 || !strings.HasPrefix(out, "atoll e2e") {
		t.Errorf("atoll version: %d %q", code, out)
	}
	if out, code := atoll(t, dir, nil, "sevre"); code != 2 || !strings.Contains(out, "atoll --help") {
		t.Errorf("an unknown command: %d %q, want code 2 and where the commands are", code, out)
	}
}

// TestMistakesStopTheStart before anything is made (S5).
func TestMistakesStopTheStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out, code := atoll(t, dir, []string{"ATOLL_LISTN=x", "ATOLL_LOG_LEVEL=loud"}, "serve")
	if code != 2 || !strings.Contains(out, "ATOLL_LISTN") || !strings.Contains(out, "log_level") {
		t.Errorf("serve with two mistakes: code %d\n%s\nwant 2 and both named", code, out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the refused start left %v behind (%v)", entries, err)
	}
}

func TestConfigHidesSecrets(t *testing.T) {
	t.Parallel()
	env := []string{"ATOLL_DATABASE_URL=postgres://u:hunter2@127.0.0.1/atoll", "ATOLL_SECRET_KEY=" + newKey(t)}
	out, code := atoll(t, t.TempDir(), env, "config")
	if code != 0 || strings.Contains(out, "hunter2") || strings.Contains(out, env[1][17:]) || !strings.Contains(out, "[hidden]") {
		t.Errorf("atoll config: code %d\n%s", code, out)
	}
}

func newKey(t *testing.T) string {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// TestKeysAreMadeOnlyForEmptyStorage: a missing or wrong key stops the start
// and names the key that is wanted (O10).
func TestKeysAreMadeOnlyForEmptyStorage(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, code := atoll(t, dir, nil, "migrate"); code != 0 {
		t.Fatalf("migrate in an empty folder: %d\n%s", code, out)
	}
	path := filepath.Join(dir, "data", "secret.key")
	ring, err := keyring.LoadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if out, code := atoll(t, dir, nil, "serve"); code != 1 || !strings.Contains(out, ring.CurrentID()) {
		t.Errorf("serve without the key: code %d\n%s\nwant 1 and the id %s", code, out, ring.CurrentID())
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("a new key was made over sealed storage")
	}
	out, code := atoll(t, dir, []string{"ATOLL_SECRET_KEY=" + newKey(t)}, "serve")
	if code != 1 || !strings.Contains(out, ring.CurrentID()) {
		t.Errorf("serve with another key: code %d\n%s\nwant 1 and the id %s", code, out, ring.CurrentID())
	}
}

func TestKeysCommands(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	line, code := inst.command("keys", "generate", "secret")
	if _, err := keyring.Parse(line); code != 0 || err != nil {
		t.Errorf("keys generate: code %d, not a key: %v", code, err)
	}
	before, code := inst.command("keys", "list")
	if code != 0 || !strings.Contains(before, "master key") || strings.Count(before, "client key") != 1 {
		t.Errorf("keys list: code %d\n%s", code, before)
	}
	if out, code := inst.command("keys", "rotate"); code != 0 {
		t.Errorf("keys rotate: code %d\n%s", code, out)
	}
	after, _ := inst.command("keys", "list")
	if strings.Count(after, "client key") != 2 {
		t.Errorf("keys list after rotating:\n%s\nwant two client keys", after)
	}
	b := inst.browser()
	eventually(t, "the running server follows the rotation", func() bool {
		return strings.Count(b.get("/oauth/jwks.json").body, `"kid"`) == 2
	})
}

// TestDoctor looks at a running instance from outside (O5).
func TestDoctor(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	out, code := inst.command("doctor")
	if code != 0 {
		t.Errorf("doctor of a healthy instance: code %d\n%s", code, out)
	}
	for _, check := range []string{"client metadata", "client keys", "instance identity", "clock", "PLC directory", "source", "storage"} {
		if !strings.Contains(out, check) {
			t.Errorf("doctor does not check %q:\n%s", check, out)
		}
	}
	inst.stop()
	if out, code := inst.command("doctor"); code != 1 || !strings.Contains(out, "broken") || !strings.Contains(out, "→") {
		t.Errorf("doctor of a stopped instance: code %d\n%s\nwant 1, and a fix", code, out)
	}
}

// TestHealthReadinessAndMetrics (O4).
func TestHealthReadinessAndMetrics(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	b := inst.browser()
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := b.get(path); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := b.get("/metrics"); a.status != http.StatusNotFound {
		t.Errorf("/metrics on the public port: %d, want 404", a.status)
	}
	inst.scrapeMetrics()
	metrics := inst.seen.kept[len(inst.seen.kept)-1].text
	for _, name := range []string{"go_goroutines", "atoll_http_requests_total", "atoll_ingest_"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("no %s in /metrics", name)
		}
	}
}

// TestASecondSignalStopsAtOnce, the first one in good order.
func TestASecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	for range 2 {
		if err := inst.cmd.Process.Signal(syscall.SIGTERM); err != nil && !strings.Contains(err.Error(), "finished") {
			t.Fatal(err)
		}
	}
	select {
	case <-inst.done:
	case <-time.After(5 * time.Second):
		t.Error("two signals did not end the process within 5 s")
	}
	inst.cmd = nil
}

// TestTwoStartsOnOnePort: the second says which port, and changes nothing.
func TestTwoStartsOnOnePort(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	other := t.TempDir()
	out, code := atoll(t, other, []string{"ATOLL_LISTEN=" + inst.addr}, "serve")
	if code != 1 || !strings.Contains(out, inst.addr) || !strings.Contains(out, "in use") {
		t.Errorf("serve on a taken port: code %d\n%s", code, out)
	}
}

// TestWhatIsSaidAtTheStart: a development client says that it is one, and an
// instance whose documents others cannot fetch is warned, but serves (S1, S4).
func TestWhatIsSaidAtTheStart(t *testing.T) {
	t.Parallel()
	if log := start(t, shape{}).log.String(); !strings.Contains(log, "development client") || !strings.Contains(log, "http://localhost") {
		t.Errorf("the log of a development client does not say what it is:\n%s", log)
	}
	inst := start(t, shape{confidential: true})
	elsewhere := httptest.NewServer(http.RedirectHandler("https://www.example.org/", http.StatusMovedPermanently))
	t.Cleanup(elsewhere.Close)
	mapHost(t, inst, inst.host, strings.TrimPrefix(elsewhere.URL, "http://"))
	inst.restart()
	eventually(t, "a warning that names the redirect and the fix", func() bool {
		log := inst.log.String()
		return strings.Contains(log, "published document is wrong") && strings.Contains(log, "redirects to https://www.example.org/") && strings.Contains(log, "reverse proxy")
	})
	if status := inst.ready(t); status != http.StatusOK {
		t.Errorf("/readyz with wrong documents: %d, want 200", status)
	}
}

// TestASourceThatIsDownDegrades: ready all the same, and named (O4).
func TestASourceThatIsDownDegrades(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, env: map[string]string{"ATOLL_SOURCE": "repos=https://down.atoll-tests.net"}})
	a := inst.browser().get("/readyz")
	if a.status != http.StatusOK || !strings.Contains(a.body, `"degraded":["sources"]`) {
		t.Errorf("/readyz with a source that is down: %d %s, want 200 and sources degraded", a.status, a.body)
	}
}

// TestHealthIsOutsideOfLimits: visitors behind one address cannot make the
// probe fail.
func TestHealthIsOutsideOfLimits(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true, env: map[string]string{"ATOLL_LIMITS_REQUESTS_PER_MINUTE": "2"}})
	b := inst.browser()
	for range 5 {
		if a := b.get("/readyz"); a.status != http.StatusOK {
			t.Fatalf("/readyz: %d, want 200", a.status)
		}
	}
	b.get("/")
	b.get("/")
	if a := b.get("/"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") == "" {
		t.Errorf("the third page within a minute: %d, Retry-After %q; want 429 and when", a.status, a.header.Get("Retry-After"))
	}
}

// TestAWrongKeyMigratesNothing: an upgrade with the wrong key leaves the
// database to the version that it belongs to (O3, O10).
func TestAWrongKeyMigratesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, code := atoll(t, dir, nil, "migrate"); code != 0 {
		t.Fatalf("migrate: %d\n%s", code, out)
	}
	db, err := store.Open(t.Context(), store.Config{Path: filepath.Join(dir, "data", "atoll.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	version, _, err := db.SchemaVersion(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// As an older version left it: the newest migration has not run.
	err = db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DELETE FROM goose_db_version WHERE version_id = $1`, version)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"serve"}, {"migrate"}, {"doctor"}, {"keys", "list"}} {
		if out, code := atoll(t, dir, []string{"ATOLL_SECRET_KEY=" + newKey(t)}, args...); code == 0 {
			t.Errorf("atoll %v with a wrong key on an older schema: code 0\n%s", args, out)
		}
	}
	if out, code := atoll(t, dir, nil, "keys", "list"); code != 1 || !strings.Contains(out, "atoll migrate") {
		t.Errorf("keys list on an older schema: %d\n%s\nwant 1, and what brings it up", code, out)
	}
	if now, _, err := db.SchemaVersion(t.Context()); err != nil || now != version-1 {
		t.Errorf("the schema went from version %d to %d (%v)", version-1, now, err)
	}
}
