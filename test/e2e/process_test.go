package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/port"
)

// shape says how an instance presents itself.
type shape struct {
	// confidential: https://app-….atoll-tests.net, production rules. Otherwise
	// a development client on http://127.0.0.1:PORT (dev = true).
	confidential bool
	database     string            // postgres URL; empty is SQLite
	env          map[string]string // more settings
	clockOffset  time.Duration
	signInScope  string // what members are asked for at first; empty is everything
}

// instance is one Atoll with its data, across restarts of its process.
type instance struct {
	t       *testing.T
	network *network.Network
	shape   shape
	host    string            // public host name; empty for a development client
	addr    string            // 127.0.0.1:PORT
	metrics string            // 127.0.0.1:PORT
	hosts   map[string]string // more https hosts that the process knows
	dir     string
	log     *lockedBuffer
	seen    *recorder
	known   map[string]string // secrets, by what they are

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// origin is what members have in their address bar.
func (i *instance) origin() string {
	if i.host != "" {
		return "https://" + i.host
	}
	return "http://" + i.addr
}

// start runs an instance until the test ends. Everything it ever answered,
// logged or measured is then searched for secrets (S24).
func start(t *testing.T, s shape) *instance {
	t.Helper()
	i := &instance{
		t: t, network: network.Shared(t), shape: s, dir: t.TempDir(),
		addr: freeAddr(t), metrics: freeAddr(t), log: &lockedBuffer{}, seen: &recorder{}, known: map[string]string{}, hosts: map[string]string{},
	}
	i.hosts[communityHost(i.network)] = serveHost(t, communityHost(i.network))
	if s.confidential {
		i.host = network.AppHost()
		if err := i.network.MapHost(t.Context(), i.host, i.addr); err != nil {
			t.Fatal(err)
		}
	}
	i.launch()
	t.Cleanup(func() {
		i.scrapeMetrics()
		i.stop()
		i.scanForSecrets()
		if t.Failed() {
			t.Logf("log of the instance:\n%s", i.log.String())
		}
	})
	return i
}

// freeAddr finds a loopback port that nobody uses now.
func freeAddr(t *testing.T) string {
	t.Helper()
	addr, err := port.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// environment is the process's whole environment: nothing of the test's own
// leaks in but what programs need.
func (i *instance) environment() []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + i.dir, envSeams + "=" + i.seams()}
	settings := map[string]string{
		"ATOLL_LISTEN": i.addr, "ATOLL_METRICS_LISTEN": i.metrics, "ATOLL_DATA_DIR": filepath.Join(i.dir, "data"),
		"ATOLL_LOG_LEVEL": "debug", "ATOLL_LOG_FORMAT": "json",
		"ATOLL_LIMITS_SIGN_INS_PER_MINUTE": "1000", "ATOLL_LIMITS_REQUESTS_PER_MINUTE": "100000",
	}
	if i.host != "" {
		settings["ATOLL_PUBLIC_URL"] = i.origin()
		settings["ATOLL_PLC_URL"] = "https://" + plcHost
		settings["ATOLL_TRUSTED_PROXIES"] = "127.0.0.1"
	} else {
		settings["ATOLL_DEV"] = "true"
		settings["ATOLL_PLC_URL"] = i.network.PLC
	}
	home := i.network.PDS[0] // where its communities get their accounts
	settings["ATOLL_HOSTING_PDS_URL"], settings["ATOLL_HOSTING_PDS_ADMIN_PASSWORD"] = home.URL, i.network.AdminPassword
	settings["ATOLL_HOSTING_HANDLE_DOMAIN"] = home.HandleDomain
	var sources []string
	for _, pds := range i.network.PDS {
		sources = append(sources, "repos="+pds.URL)
	}
	settings["ATOLL_SOURCE"] = strings.Join(sources, ",")
	if i.shape.database != "" {
		settings["ATOLL_DATABASE_URL"] = i.shape.database
	}
	for key, value := range i.shape.env {
		settings[key] = value
	}
	for key, value := range settings {
		if value != unset {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// unset, as a value in shape.env, takes a setting away.
const unset = "\x00"

func (i *instance) seams() string {
	s := seams{Network: i.network.Env(), Hosts: maps.Clone(i.hosts), ClockOffset: i.shape.clockOffset, SignInScope: i.shape.signInScope}
	if _, mapped := s.Hosts[i.host]; i.host != "" && !mapped {
		s.Hosts[i.host] = i.addr
	}
	text, err := json.Marshal(s)
	if err != nil {
		i.t.Fatal(err)
	}
	return string(text)
}

// launch starts the process and waits until it is ready.
func (i *instance) launch() {
	i.t.Helper()
	i.cmd = exec.Command(os.Args[0], "serve")
	i.cmd.Env = i.environment()
	i.cmd.Dir = i.dir
	i.cmd.Stdout, i.cmd.Stderr = i.log, i.log
	if err := i.cmd.Start(); err != nil {
		i.t.Fatal(err)
	}
	i.done = make(chan struct{})
	go func(cmd *exec.Cmd, done chan struct{}) {
		_ = cmd.Wait() // the exit code is judged by whoever stops it
		close(done)
	}(i.cmd, i.done)
	if err := i.awaitReady(); err != nil {
		i.t.Fatalf("start: %v\n%s", err, i.log.String())
	}
}

func (i *instance) awaitReady() error {
	ctx, cancel := context.WithTimeout(i.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+i.addr+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-i.done:
			return errStopped
		case <-ctx.Done():
			return fmt.Errorf("not ready after %s", patience)
		case <-tick.C:
		}
	}
}

// stop ends the process as an operator does and wants it to end well.
func (i *instance) stop() {
	i.t.Helper()
	if i.cmd == nil {
		return
	}
	_ = i.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself: the exit code tells
	select {
	case <-i.done:
		if code := i.cmd.ProcessState.ExitCode(); code != 0 {
			i.t.Errorf("the process ended with code %d\n%s", code, i.log.String())
		}
	case <-time.After(patience):
		i.t.Errorf("SIGTERM did not end the process within %s\n%s", patience, i.log.String())
		_ = i.cmd.Process.Kill()
		<-i.done
	}
	i.cmd = nil
}

// kill ends the process with no chance to clean up.
func (i *instance) kill() {
	i.t.Helper()
	if err := i.cmd.Process.Kill(); err != nil {
		i.t.Fatal(err)
	}
	<-i.done
	i.cmd = nil
}

func (i *instance) restart() {
	i.t.Helper()
	i.stop()
	i.launch()
}

// command runs another command of the program against the same storage.
func (i *instance) command(args ...string) (output string, code int) {
	i.t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = i.environment()
	cmd.Dir = i.dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		i.t.Fatal(err)
	}
	i.seen.text("output of atoll "+strings.Join(args, " "), string(out))
	return string(out), cmd.ProcessState.ExitCode()
}

func (i *instance) scrapeMetrics() {
	if i.cmd == nil {
		return
	}
	resp, err := http.Get("http://" + i.metrics + "/metrics")
	if err != nil {
		return // stopped on purpose
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Errorf("read metrics: %v", err)
	}
	i.seen.text("metrics", string(body))
}

// lockedBuffer takes the output of a process while a test reads it.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// plainSeams are those of a program that meets the network but no instance.
func plainSeams(t *testing.T) string {
	t.Helper()
	text, err := json.Marshal(seams{Network: network.Shared(t).Env()})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// ready asks the process itself, past any proxy.
func (i *instance) ready(t *testing.T) (status int) {
	t.Helper()
	resp, err := http.Get("http://" + i.addr + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}
