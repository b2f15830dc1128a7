package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/atoll-social/atoll/test/usage"
)

// dial opens a connection to the process itself, which ends with the test.
func (i *instance) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", i.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// memory is what the process has in memory, in bytes.
func (i *instance) memory(t *testing.T) int64 {
	t.Helper()
	n, err := usage.Memory(i.cmd.Process.Pid, usage.Resident)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestDifficultClients: with the settings that an operator gets without choosing
// any, those who send too much, too slowly or nothing at all are sent away, and
// everybody else is served meanwhile.
func TestDifficultClients(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{env: map[string]string{"ATOLL_LIMITS_REQUESTS_PER_MINUTE": unset, "ATOLL_LOG_LEVEL": "info"}})
	before := inst.memory(t)
	for range 1000 {
		inst.dial(t) // and never says a word
	}
	var slow sync.WaitGroup
	slow.Go(func() {
		c := inst.dial(t)
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-A: ") // a header that does not end
		begun := time.Now()
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(begun); took > 20*time.Second {
			t.Errorf("a header that does not end was waited for %s, want 10 s", took)
		}
	})
	slow.Go(func() {
		c := inst.dial(t)
		_, _ = fmt.Fprintf(c, "POST /votes HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nSec-Fetch-Site: same-origin\r\n"+
			"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nabc", inst.addr, inst.origin())
		begun := time.Now()
		_, _ = io.Copy(io.Discard, c)
		if took := time.Since(begun); took < 20*time.Second || took > 50*time.Second {
			t.Errorf("a body that does not end was waited for %s, want 30 s", took)
		}
	})
	inst.refuses(t)
	if a := inst.browser().get("/discover"); a.status != http.StatusOK {
		t.Errorf("beside all of them: %d, want 200", a.status)
	}
	if grown := inst.memory(t) - before; grown > 60<<20 {
		t.Errorf("a thousand silent connections take %d bytes", grown)
	}
	inst.limits(t)
	slow.Wait()
}

// refuses wants requests that are none to be answered so.
func (i *instance) refuses(t *testing.T) {
	t.Helper()
	for name, tt := range map[string]struct {
		text string
		want int
	}{
		"a header of 64 KB":  {"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 64<<10) + "\r\n\r\n", 431},
		"many small headers": {"GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-A: b\r\n", 10_000) + "\r\n", 431},
		"a long address":     {"GET /" + strings.Repeat("a", 64<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"noise":              {strings.Repeat("\x00\xff", 100) + "\r\n\r\n", 400},
		"no host":            {"GET / HTTP/1.1\r\n\r\n", 400},
		"two lengths":        {"POST /votes HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", 400},
		"a declared flood":   {"POST /xrpc/social.coves.feed.vote.create HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n", 401},
	} {
		c := i.dial(t)
		_, _ = io.WriteString(c, tt.text) // it may hang up meanwhile
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != tt.want {
			t.Errorf("%s: %s, want %d", name, resp.Status, tt.want)
		}
	}
}

// limits wants one address to be told to wait, in the manner of what it asked
// for, and health checks to be answered all the same (O7).
func (i *instance) limits(t *testing.T) {
	t.Helper()
	b := i.browser()
	var refused answer
	for range 5000 { // time goes on, and ten a second are granted
		if refused = b.get("/discover"); refused.status != http.StatusOK {
			break
		}
	}
	if refused.status != http.StatusTooManyRequests || refused.header.Get("Retry-After") == "" || !strings.Contains(refused.body, "Too many requests") {
		t.Errorf("hundreds of pages at once: %d, Retry-After %q", refused.status, refused.header.Get("Retry-After"))
	}
	a := answer{status: http.StatusOK}
	for range 100 { // time goes on, and a request or two are granted
		if a = b.get("/xrpc/social.coves.feed.getDiscover"); a.status != http.StatusOK {
			break
		}
	}
	if a.status != http.StatusTooManyRequests || !strings.Contains(a.body, `"error":"RateLimitExceeded"`) {
		t.Errorf("the API then: %d %s", a.status, a.body)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := b.get(path); a.status != http.StatusOK {
			t.Errorf("GET %s then: %d, want 200", path, a.status)
		}
	}
}
