package bench

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const (
	refreshHost = "https://pds.atoll-tests.net"
	refreshDID  = syntax.DID("did:plc:ewvi7nxzyoun6zhxrhs64oiz")
)

// grantingServer is a PDS that grants every refresh, without sockets, and counts
// them.
type grantingServer struct {
	refreshes atomic.Int64
}

func (s *grantingServer) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		_, _ = io.Copy(io.Discard, req.Body)
		_ = req.Body.Close()
	}
	answer := map[string]any{}
	switch {
	case strings.HasSuffix(req.URL.Path, "/oauth-protected-resource"):
		answer["authorization_servers"] = []string{refreshHost}
	case strings.HasSuffix(req.URL.Path, "/token"):
		s.refreshes.Add(1)
		time.Sleep(20 * time.Millisecond) // as official servers take
		answer = map[string]any{
			"access_token": rand.Text(), "refresh_token": rand.Text(), "token_type": "DPoP",
			"expires_in": 3600, "scope": "atproto", "sub": refreshDID.String(),
		}
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
	resp := w.Result()
	resp.Request = req
	return resp, nil
}

// Lookup is the directory.
func (s *grantingServer) Lookup(context.Context, syntax.AtIdentifier) (*identity.Identity, error) {
	return &identity.Identity{DID: refreshDID, Services: map[string]identity.ServiceEndpoint{
		"atproto_pds": {Type: "AtprotoPersonalDataServer", URL: refreshHost},
	}}, nil
}

// countedStore counts what a client asks of its store.
type countedStore struct {
	client.SessionStore
	reads, writes atomic.Int64
}

func (c *countedStore) Get(ctx context.Context, id string) (*client.SessionData, error) {
	c.reads.Add(1)
	return c.SessionStore.Get(ctx, id)
}

func (c *countedStore) Save(ctx context.Context, d *client.SessionData) error {
	c.writes.Add(1)
	return c.SessionStore.Save(ctx, d)
}

// refreshing is a client on a database, and one session in it.
type refreshing struct {
	*client.Client
	server *grantingServer
	store  *countedStore
	data   *client.SessionData
}

func newRefreshing(b *testing.B, db *store.DB) *refreshing {
	b.Helper()
	line, err := keyring.Generate()
	if err != nil {
		b.Fatal(err)
	}
	ring, err := keyring.Parse(line)
	if err != nil {
		b.Fatal(err)
	}
	manager, err := session.New(session.Config{DB: db, Ring: ring, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	r := &refreshing{server: &grantingServer{}, store: &countedStore{SessionStore: manager}, data: sessionData(b, refreshDID)}
	r.data.ClientID, r.data.RefreshToken = client.LoopbackID, rand.Text()
	r.data.RefreshedAt, r.data.AccessExpiresAt = time.Now(), time.Now().Add(time.Hour)
	r.data.CreatedAt = time.Now()
	if r.Client, err = client.New(client.Config{
		RedirectURIs: []string{"http://127.0.0.1/callback"}, Scope: "atproto", HTTP: &http.Client{Transport: r.server},
		Directory: r.server, Sessions: r.store,
	}); err != nil {
		b.Fatal(err)
	}
	if err := manager.Save(b.Context(), r.data); err != nil {
		b.Fatal(err)
	}
	return r
}

func (r *refreshing) call(ctx context.Context) error {
	s, err := r.Session(ctx, r.data.ID)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, refreshHost+"/xrpc/com.atproto.server.getSession", nil)
	if err != nil {
		return err
	}
	resp, err := s.Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// BenchmarkSessionUse is a call with a live session, from its id to the answer of
// a server that takes no time: one read, no write, one signature. The baseline
// is the signature alone.
func BenchmarkSessionUse(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			r := newRefreshing(b, storetest.New(b, engine))
			b.Run("baseline_signature", func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					_, err := r.data.DPoPKey.Sign(dpop.Proof{Method: "GET", URL: refreshHost, Time: time.Now(), AccessToken: "x", Nonce: "y"})
					if err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("call", func(b *testing.B) {
				b.ReportAllocs()
				r.store.reads.Store(0)
				r.store.writes.Store(0)
				for b.Loop() {
					if err := r.call(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(r.store.reads.Load())/float64(b.N), "reads/op")
				b.ReportMetric(float64(r.store.writes.Load())/float64(b.N), "writes/op")
				if r.store.writes.Load() > 0 || r.store.reads.Load() > int64(b.N) || r.server.refreshes.Load() > 0 {
					b.Fatalf("%d calls cost %d reads, %d writes, %d refreshes", b.N, r.store.reads.Load(), r.store.writes.Load(), r.server.refreshes.Load())
				}
			})
		})
	}
}

// BenchmarkRefreshStorm is a hundred callers that find an expired token at once:
// from the first call to the last answer, with a server that takes 20 ms. The
// refreshes are counted at the server.
func BenchmarkRefreshStorm(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			r := newRefreshing(b, storetest.New(b, engine))
			for b.Loop() {
				d, err := r.store.SessionStore.Get(b.Context(), r.data.ID)
				if err != nil {
					b.Fatal(err)
				}
				d.AccessExpiresAt = time.Now().Add(-time.Minute)
				if err := r.store.SessionStore.Save(b.Context(), d); err != nil {
					b.Fatal(err)
				}
				if err := r.storm(b.Context(), 100); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(r.server.refreshes.Load())/float64(b.N), "refreshes/op")
			if r.server.refreshes.Load() != int64(b.N) {
				b.Fatalf("%d refreshes in %d storms, want one each", r.server.refreshes.Load(), b.N)
			}
		})
	}
}

func (r *refreshing) storm(ctx context.Context, callers int) error {
	failures := make(chan error, callers)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() { failures <- r.call(ctx) })
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return fmt.Errorf("a caller in the storm: %w", err)
		}
	}
	return nil
}
