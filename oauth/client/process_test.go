package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
	"github.com/atoll-social/atoll/oauth/client/memstore"
	"github.com/atoll-social/atoll/test/network"
)

// processVariable holds the plan of a process of its own: this test binary,
// executed again, with a store of its own over the same database.
const processVariable = "TEST_OAUTH_PROCESS"

// plan is what such a process is made of and what it does.
type plan struct {
	Database store.Config
	Ring     string // of the database
	ClientID string
	Redirect string
	Key      []byte // of a confidential client
	Strict   string // address of the strict servers, or else
	Official string // the official ones, as network.Parse reads them
	Session  string
	Callers  int
	KillAt   string // where the process kills itself: before, sent, received, saved
}

// report is what it says.
type report struct {
	Failures  []string
	Refreshes int64 // that the server granted
}

// TestProcess is the other process. Without a plan it does nothing.
func TestProcess(t *testing.T) {
	t.Parallel()
	text := os.Getenv(processVariable)
	if text == "" {
		return
	}
	var p plan
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		t.Fatal(err)
	}
	c, refreshes := p.client(t)
	fmt.Println("ready")
	_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
	var r report
	for _, err := range stormOf(look, []*client.Client{c}, p.Callers, p.Session) {
		r.Failures = append(r.Failures, err.Error())
	}
	r.Refreshes = refreshes.Load()
	out, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println("report " + string(out))
}

// look is a call that costs the server little.
func look(ctx context.Context, c *client.Client, id string) error {
	s, err := c.Session(ctx, id)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.Data().PDS+"/xrpc/com.atproto.server.getSession", nil)
	if err != nil {
		return err
	}
	resp, err := s.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("answer %d", resp.StatusCode)
	}
	return nil
}

// client opens the database and makes a client of the plan.
func (p *plan) client(t *testing.T) (*client.Client, *atomic.Int64) {
	t.Helper()
	p.Database.Logger = slog.New(slog.DiscardHandler)
	db, err := store.Open(t.Context(), p.Database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ring, err := keyring.Parse(p.Ring)
	if err != nil {
		t.Fatal(err)
	}
	manager, err := session.New(session.Config{DB: db, Ring: ring, Logger: p.Database.Logger})
	if err != nil {
		t.Fatal(err)
	}
	cfg := client.Config{
		ClientID: p.ClientID, RedirectURIs: []string{p.Redirect}, Scope: postScope,
		Attempts: memstore.NewAttempts(10, nil), Sessions: &deadlyStore{manager, p.KillAt}, Timeout: 15 * time.Second,
	}
	if p.Key != nil {
		key, err := client.ParseSigningKey(p.Key)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.Keys, err = client.NewKeySet(key); err != nil {
			t.Fatal(err)
		}
	}
	refreshes := p.connect(t, &cfg)
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c, refreshes
}

// connect leads the client to the servers of the plan and counts the refreshes
// that they grant.
func (p *plan) connect(t *testing.T, cfg *client.Config) *atomic.Int64 {
	t.Helper()
	if p.Strict != "" {
		cfg.HTTP, cfg.Directory = hostile.ClientOf(p.Strict), atPDS{}
	} else {
		n, err := network.Parse(p.Official)
		if err != nil {
			t.Fatal(err)
		}
		cfg.HTTP = &http.Client{Transport: n.Transport()}
		cfg.Directory = &identity.BaseDirectory{
			PLCURL: n.PLC, HTTPClient: *n.Client(), SkipDNSDomainSuffixes: []string{".atoll-tests.net", ".test"},
		}
	}
	counter := &deadlyTransport{RoundTripper: cfg.HTTP.Transport, killAt: p.KillAt}
	cfg.HTTP.Transport = counter
	return &counter.granted
}

// atPDS is the directory of the strict servers.
type atPDS struct{}

func (atPDS) Lookup(_ context.Context, account syntax.AtIdentifier) (*identity.Identity, error) {
	return &identity.Identity{DID: hostile.Alice, Handle: "alice.test", Services: map[string]identity.ServiceEndpoint{
		"atproto_pds": {Type: "AtprotoPersonalDataServer", URL: hostile.PDS},
	}}, nil
}

// die is kill -9.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// deadlyTransport counts refreshes, and kills its process around one.
type deadlyTransport struct {
	http.RoundTripper
	killAt  string
	granted atomic.Int64
}

func (d *deadlyTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	refresh := false
	if req.GetBody != nil && strings.HasSuffix(req.URL.Path, "/token") {
		if body, err := req.GetBody(); err == nil {
			text, _ := io.ReadAll(body)
			refresh = strings.Contains(string(text), "grant_type=refresh_token")
		}
	}
	if refresh && d.killAt == "before" {
		die()
	}
	resp, err := d.RoundTripper.RoundTrip(req)
	if refresh && err == nil && resp.StatusCode == http.StatusOK {
		d.granted.Add(1)
		if d.killAt == "sent" {
			die()
		}
	}
	return resp, err
}

// deadlyStore kills its process around the save of rotated tokens.
type deadlyStore struct {
	client.SessionStore
	killAt string
}

func (d *deadlyStore) Save(ctx context.Context, s *client.SessionData) error {
	rotated := s.Version > 0 && s.LeaseOwner == "" && s.SentUntil.IsZero() && time.Since(s.RefreshedAt) < time.Minute
	if rotated && d.killAt == "received" {
		die()
	}
	err := d.SessionStore.Save(ctx, s)
	if rotated && err == nil && d.killAt == "saved" {
		die()
	}
	return err
}

// process is one that was started.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

// launch starts a process and waits until it is ready.
func launch(t *testing.T, p plan) *process {
	t.Helper()
	p.Database.Logger = nil
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProcess$", "-test.count=1")
	cmd.Env = append(os.Environ(), processVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &process{cmd, in, bufio.NewScanner(out)}
	r.out.Buffer(nil, 1<<20)
	if _, ok := r.line("ready"); !ok {
		t.Fatal("the other process did not get ready")
	}
	return r
}

// line reads up to a line that begins like this.
func (r *process) line(begin string) (string, bool) {
	for r.out.Scan() {
		if rest, ok := strings.CutPrefix(r.out.Text(), begin); ok {
			return rest, true
		}
	}
	return "", false
}

func (r *process) start() { _, _ = io.WriteString(r.in, "\n") }

// report waits for the end; ok is false for a process that was killed.
func (r *process) report(t *testing.T) (out report, ok bool) {
	t.Helper()
	text, ok := r.line("report ")
	if ok && json.Unmarshal([]byte(text), &out) != nil {
		t.Fatalf("report of the other process: %s", text)
	}
	err := r.cmd.Wait()
	var exit *exec.ExitError
	if !ok && !(errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL) {
		t.Fatalf("the other process ended with %v, want it killed", err)
	}
	return out, ok
}
