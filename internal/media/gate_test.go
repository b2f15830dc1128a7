package media

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
)

// web is many servers with the same files, of which some never answer.
type web struct {
	shelf *shelf
	mu    sync.Mutex
	stuck func(host string) bool
	now   int // requests that are waiting for a server
	most  int // of them at once
}

// Do asks a server without a network, so that no clock but the test's counts.
func (w *web) Do(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	stuck := w.stuck(r.URL.Hostname())
	if stuck {
		w.now++
		w.most = max(w.most, w.now)
	}
	w.mu.Unlock()
	if stuck {
		<-r.Context().Done()
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now--
		return nil, r.Context().Err()
	}
	answer := httptest.NewRecorder()
	w.shelf.ServeHTTP(answer, r)
	return answer.Result(), nil
}

func (w *web) set(stuck func(host string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stuck = stuck
}

// Server says that the account did:web:HOST is at https://HOST.
func (w *web) Server(_ context.Context, did syntax.DID) (string, bool, error) {
	return "https://" + strings.TrimPrefix(did.String(), "did:web:"), true, nil
}

func newWeb(t *testing.T) (*web, *Gallery, syntax.CID) {
	t.Helper()
	w := &web{shelf: &shelf{files: map[string][]byte{}, status: http.StatusOK}}
	g, err := OpenGallery(GalleryConfig{Folder: t.TempDir(), MaxBytes: 1 << 30, HTTP: w, Accounts: w, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return w, g, w.shelf.add(t, jpegFileOf(t, 40, 30, 1))
}

// TestASlowServerHoldsUpItselfOnly holds that pictures of a server which never
// answers, however many are asked for and under however many of its names, delay
// none of another server.
func TestASlowServerHoldsUpItselfOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host string // of the account n
		most int
	}{
		"one server":   {"evil.example.com", fetchesPerServer},
		"one domain":   {"pds%d.evil.example.com", fetchesPerDomain},
		"other ending": {"pds%d.evil.co.uk", fetchesPerDomain},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, g, c1 := newWeb(t)
				w.set(func(host string) bool { return strings.Contains(host, "evil") })
				var wg sync.WaitGroup
				for n := range 100 {
					wg.Go(func() {
						host := c.host
						if strings.Contains(host, "%d") {
							host = fmt.Sprintf(host, n)
						}
						cid := w.shelf.add(t, fmt.Appendf(nil, "picture %d", n))
						if _, err := g.Get(t.Context(), ContentPreview, syntax.DID("did:web:"+host), cid); fault.KindOf(err) != fault.Unavailable {
							t.Errorf("a picture of the slow server: %v, want unavailable", err)
						}
					})
				}
				synctest.Wait()
				began := time.Now()
				if _, err := g.Get(t.Context(), ContentPreview, "did:web:good.example.org", c1); err != nil || time.Since(began) > 0 {
					t.Errorf("a picture of another server: %v after %v, want it at once", err, time.Since(began))
				}
				wg.Wait()
				if w.most != c.most {
					t.Errorf("%d requests at once, want %d", w.most, c.most)
				}
				if n := len(g.gates.open); n != 0 {
					t.Errorf("%d gates are left", n)
				}
			})
		})
	}
}

// TestWhoDidNotGetATurnIsNotAFailure holds that a picture which only waited can
// be had as soon as there is a place, while one that its server did not give is
// left alone for a while.
func TestWhoDidNotGetATurnIsNotAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, g, _ := newWeb(t)
		w.set(func(string) bool { return true })
		var wg sync.WaitGroup
		var mu sync.Mutex
		waited := map[syntax.CID]bool{}
		for n := range 2 * fetchesPerServer {
			c := w.shelf.add(t, jpegFileOf(t, 40, 30+n, 1))
			wg.Go(func() {
				_, err := g.Get(t.Context(), ContentPreview, "did:web:slow.example.com", c)
				mu.Lock()
				defer mu.Unlock()
				waited[c] = errors.Is(err, errBusy)
				if retry := fault.From(err).RetryAfter > 0; retry != waited[c] {
					t.Errorf("%v: says when to come back: %t", err, retry)
				}
			})
		}
		wg.Wait()
		w.set(func(string) bool { return false })
		queued := 0
		for c, only := range waited {
			_, err := g.Get(t.Context(), ContentPreview, "did:web:slow.example.com", c)
			if (err == nil) != only {
				t.Errorf("only waited: %t; afterwards %v", only, err)
			}
			if only {
				queued++
			}
		}
		if queued != fetchesPerServer {
			t.Errorf("%d pictures only waited, want %d", queued, fetchesPerServer)
		}
	})
}

func TestUnfinishedFilesAreRemoved(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	for _, name := range []string{unfinished + "123", unfinished + "456"} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte("half a pict"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before, err := openDisk(folder, 1000)
	if err != nil {
		t.Fatal(err)
	}
	if err := before.put("a", []byte("whole")); err != nil {
		t.Fatal(err)
	}
	d, err := openDisk(folder, 1000)
	if err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if body, ok, _ := d.get("a"); err != nil || len(files) != 1 || !ok || string(body) != "whole" || d.bytes != 5 {
		t.Errorf("%d files, %d bytes, %q, %v; want the whole one only", len(files), d.bytes, body, err)
	}
}
