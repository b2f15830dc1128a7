package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/port"
)

// sdkModule has the relay that others have written, at the version in go.mod.
const sdkModule = "github.com/bluesky-social/indigo"

// openGuard takes the place of the relay's address guard, which would not let it ask a PDS on loopback what it is. Nothing
// else of the relay is another than it is.
const openGuard = `package ssrf

import (
	"net"
	"net/http"
)

func PublicOnlyDialer() *net.Dialer { return &net.Dialer{} }

func PublicOnlyTransport() *http.Transport { return &http.Transport{} }
`

// relayBudget bounds starting the relay.
const relayBudget = 2 * time.Minute

// StartRelay runs a real relay that follows all PDSes, which must be of the plain shape, until the test ends, and returns
// its origin. Go builds it, which takes a minute or two the first time on a machine.
func (n *Network) StartRelay(t testing.TB) (origin string) {
	t.Helper()
	dir := t.TempDir()
	program, err := buildRelay(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	addresses := make([]string, 2)
	for i := range addresses {
		if addresses[i], err = port.FreeAddress(); err != nil {
			t.Fatal(err)
		}
	}
	password := rand.Text()
	cmd := exec.Command(program, "--admin-password", password, "--plc-host", n.PLC, "--log-level", "warn", "serve",
		"--bind", addresses[0], "--metrics-listen", addresses[1], "--allow-insecure-hosts", "--default-account-limit", "100000",
		"--db-url", "sqlite://"+filepath.Join(dir, "relay.sqlite"), "--persist-dir", filepath.Join(dir, "persist"))
	cmd.Dir, cmd.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	log := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the relay: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("log of the relay:\n%s", log)
		}
	})
	origin = "http://" + addresses[0]
	for _, pds := range n.PDS {
		if err := n.crawl(t.Context(), origin, password, pds.URL); err != nil {
			t.Fatalf("have the relay follow %s: %v", pds.URL, err)
		}
	}
	return origin
}

// buildRelay returns the program, which is built once and kept in the user's cache folder.
func buildRelay(ctx context.Context, dir string) (program string, err error) {
	found, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", sdkModule).Output()
	version, folder, ok := strings.Cut(strings.TrimSpace(string(found)), " ")
	if err != nil || !ok {
		return "", fmt.Errorf("find the relay's source: %q, %w", found, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(version + openGuard))
	program = filepath.Join(cache, "atoll", fmt.Sprintf("relay-%x", sum[:8]))
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	source := filepath.Join(dir, "source")
	if err := os.CopyFS(source, os.DirFS(folder)); err != nil {
		return "", fmt.Errorf("copy the relay's source: %w", err)
	}
	guard := filepath.Join(source, "util", "ssrf", "ssrf.go")
	if err := errors.Join(os.Remove(guard), os.WriteFile(guard, []byte(openGuard), 0o600), os.MkdirAll(filepath.Dir(program), 0o755)); err != nil {
		return "", err
	}
	unfinished := fmt.Sprintf("%s.%d", program, os.Getpid())
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", unfinished, "./cmd/relay")
	build.Env, build.Dir = append(os.Environ(), "GOFLAGS=-mod=mod"), source
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the relay: %w\n%s", err, out)
	}
	return program, errors.Join(os.Rename(unfinished, program), os.RemoveAll(source))
}

// crawl asks the relay to follow a host, as its operator does, until it is up and has taken it.
func (n *Network) crawl(ctx context.Context, origin, password, host string) error {
	ctx, cancel := context.WithTimeout(ctx, relayBudget)
	defer cancel()
	body, err := json.Marshal(map[string]string{"hostname": host})
	if err != nil {
		return err
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var last error // that is not the end of our patience
	for {
		err := n.crawlOnce(ctx, origin, password, string(body))
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return last
		case <-tick.C:
		}
	}
}

func (n *Network) crawlOnce(ctx context.Context, origin, password, body string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+"/admin/pds/requestCrawl", strings.NewReader(body))
	if err != nil {
		return err
	}
	req.SetBasicAuth("admin", password)
	req.Header.Set("Content-Type", "application/json")
	res, err := n.Client().Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 4096))
		return fmt.Errorf("status %d: %s", res.StatusCode, text)
	}
	return nil
}
