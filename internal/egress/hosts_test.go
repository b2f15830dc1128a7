package egress_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/atoll-social/atoll/internal/egress"
)

// silent accepts connections and never says a word.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	return l.Addr().String()
}

// A host that accepts and hangs, and one that refuses, fail fast after a few
// tries; meanwhile another host answers as quickly as ever.
func TestADeadHostFailsFastAndSlowsNobody(t *testing.T) {
	t.Parallel()
	good := tlsServer(t, func(http.ResponseWriter, *http.Request) {})
	hanging := "https://" + silent(t)
	refusing := "https://127.0.0.1:1"
	g := newGuard(t, egress.Config{
		Dev: true, RootCAs: rootsOf(good), PerHost: egress.HostLimits{Failures: 3, InFlight: 4, Wait: 50 * time.Millisecond},
	})
	slow := g.Client(egress.Limits{Timeout: 300 * time.Millisecond, MaxBytes: 1})
	var load sync.WaitGroup
	for range 40 {
		load.Go(func() {
			for _, address := range []string{hanging, refusing} {
				if _, err := get(t, slow, address); err == nil {
					t.Errorf("GET %s = nil", address)
				}
			}
		})
	}
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), ordinary.Timeout)
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, good.URL, nil)
		resp, err := g.Client(ordinary).Do(req)
		if err != nil {
			t.Fatalf("GET of the good host beside dead ones = %v", err)
		}
		_ = resp.Body.Close()
		cancel()
	}
	load.Wait()
	for _, address := range []string{hanging, refusing} {
		var down *egress.DownError
		if _, err := get(t, slow, address); !errors.As(err, &down) || !errors.Is(err, egress.ErrHostDown) {
			t.Errorf("GET %s after many failures = %v, want a DownError", address, err)
		}
	}
}

// A host that says 503, or too much, is not down.
func TestErrorStatusesAndLargeBodiesAreAnswers(t *testing.T) {
	t.Parallel()
	server := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(make([]byte, 2000))
	})
	client := guardFor(t, server).Client(ordinary)
	for range 20 {
		resp, err := get(t, client, server.URL)
		if err != nil || resp.StatusCode != http.StatusServiceUnavailable {
			t.Fatalf("GET = %v, %v; want 503 every time", resp, err)
		}
		if _, err := io.ReadAll(resp.Body); !errors.Is(err, egress.ErrTooLarge) {
			t.Fatalf("reading = %v, want ErrTooLarge", err)
		}
		_ = resp.Body.Close()
	}
}

// Cancelling requests says nothing about the host.
func TestCanceledRequestsAreNoFailures(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	server := tlsServer(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hang" {
			entered <- struct{}{}
			<-r.Context().Done()
		}
	})
	client := guardFor(t, server).Client(ordinary)
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/hang", nil)
		go func() { <-entered; cancel() }()
		if _, err := client.Do(req); !errors.Is(err, context.Canceled) {
			t.Fatalf("canceled GET = %v", err)
		}
	}
	if _, err := get(t, client, server.URL); err != nil {
		t.Errorf("GET after canceled ones = %v, want success", err)
	}
}

// Connections are reused, and neither errors nor forgotten rests of bodies
// leave goroutines behind.
func TestConnectionsAndGoroutinesStayFlat(t *testing.T) {
	// Not parallel: it counts goroutines.
	server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/big" {
			_, _ = w.Write(make([]byte, 5000))
		}
	})
	g := guardFor(t, server)
	client := g.Client(ordinary)
	one := func(path string) {
		resp, err := client.Get(server.URL + path)
		if err != nil {
			t.Fatalf("GET %s = %v", path, err)
		}
		_, _ = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	one("/")
	before := runtime.NumGoroutine()
	for range 200 {
		one("/")
		one("/big")
	}
	g.Close()
	for range 3000 { // the server's side of a closed connection ends soon
		if runtime.NumGoroutine() <= before {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines after 400 requests, %d before", runtime.NumGoroutine(), before)
}

// Streams pass: no timeout, no cap, and a WebSocket can be written to. They
// do not hold one of the host's places.
func TestStreamsPassTheGuard(t *testing.T) {
	t.Parallel()
	server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, message, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, message) != nil {
				return
			}
		}
	})
	g := newGuard(t, egress.Config{Dev: true, RootCAs: rootsOf(server), PerHost: egress.HostLimits{InFlight: 1}})
	stream := g.Client(egress.Limits{})
	for _, client := range []*http.Client{stream, stream, g.Client(ordinary), stream} {
		conn, resp, err := websocket.Dial(t.Context(), server.URL, &websocket.DialOptions{HTTPClient: client})
		if err != nil {
			t.Fatalf("dial = %v", err)
		}
		if resp.Body != nil {
			defer resp.Body.Close()
		}
		defer conn.CloseNow()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatalf("write = %v", err)
		}
		if _, got, err := conn.Read(t.Context()); err != nil || string(got) != "hello" {
			t.Fatalf("read = %q, %v", got, err)
		}
	}
	_, _, err := websocket.Dial(t.Context(), "wss://10.0.0.1/", &websocket.DialOptions{HTTPClient: stream})
	wantBlocked(t, "WebSocket to 10.0.0.1", err, "10.0.0.1")
}
