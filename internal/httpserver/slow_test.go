package httpserver

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipeListener hands out one side of an in-memory connection, so that clients
// can be slow without the test being so.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.conns:
		return conn, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.closed); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

// serveSlow serves h inside of a synctest bubble and returns a client's side.
func serveSlow(t *testing.T, h http.Handler) net.Conn {
	t.Helper()
	var handlers sync.WaitGroup
	counted := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handlers.Add(1)
		defer handlers.Done()
		h.ServeHTTP(w, r)
	})
	s, err := New(Config{Handler: counted, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	listener := &pipeListener{make(chan net.Conn), make(chan struct{})}
	srv := s.server(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(listener) }()
	client, server := net.Pipe()
	listener.conns <- server
	t.Cleanup(func() {
		_ = client.Close()
		_ = srv.Close()
		<-done
		handlers.Wait()
	})
	return client
}

// closedAfter returns how long the server kept the connection.
func closedAfter(client net.Conn) time.Duration {
	begun := time.Now()
	_, _ = io.Copy(io.Discard, client)
	return time.Since(begun)
}

func TestSlowHeadersAndIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		client := serveSlow(t, http.NotFoundHandler())
		var writing sync.WaitGroup
		defer writing.Wait()
		writing.Go(func() { // one byte a second
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 100)) {
				if _, err := client.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		})
		if took := closedAfter(client); took > readHeaderTimeout+time.Second {
			t.Errorf("slow headers were read for %s, want %s", took, readHeaderTimeout)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		client := serveSlow(t, http.NotFoundHandler())
		go func() { _, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }()
		if took := closedAfter(client); took != idleTimeout {
			t.Errorf("an idle connection was kept for %s, want %s", took, idleTimeout)
		}
	})
}

func TestTimeoutsEndSlowBodiesAndSpareSlowHandlers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		read := make(chan error, 1)
		client := serveSlow(t, Timeouts(5*time.Second, time.Hour)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, err := io.ReadAll(r.Body)
			read <- err
		})))
		go func() { _, _ = io.WriteString(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc") }()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		begun := time.Now()
		if err := <-read; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begun) != 5*time.Second {
			t.Errorf("reading a slow body = %v after %s, want a timeout after 5s", err, time.Since(begun))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ended := make(chan error, 1)
		client := serveSlow(t, Timeouts(5*time.Second, time.Hour)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadAll(r.Body)
			time.Sleep(time.Minute)
			ended <- r.Context().Err()
		})))
		go func() { _, _ = io.WriteString(client, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc") }()
		go func() { _, _ = io.Copy(io.Discard, client) }()
		if err := <-ended; err != nil {
			t.Errorf("a handler that takes longer than the read timeout was canceled: %v", err)
		}
	})
}

func TestTimeoutsEndEndlessAnswersUnlessLifted(t *testing.T) {
	t.Parallel()
	endless := func(lift bool) http.Handler {
		return Timeouts(time.Second, 30*time.Second)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w, _, _ = observe(w, &http.Request{}) // the deadlines reach through wrappers
			if lift {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
			}
			for {
				if _, err := w.Write(make([]byte, 4096)); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}))
	}
	synctest.Test(t, func(t *testing.T) {
		client := serveSlow(t, endless(false))
		go func() { _, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }()
		if took := closedAfter(client); took < 29*time.Second || took > 31*time.Second {
			t.Errorf("an endless answer lasted %s, want 30s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		client := serveSlow(t, endless(true))
		go func() { _, _ = io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n") }()
		reader := bufio.NewReader(client)
		begun := time.Now()
		for time.Since(begun) < 10*time.Minute {
			if _, err := reader.Discard(4096); err != nil {
				t.Fatalf("a stream that lifted its deadline ended after %s: %v", time.Since(begun), err)
			}
		}
	})
}
