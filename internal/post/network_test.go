package post

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/memstore"
	"github.com/atoll-social/atoll/test/network"
)

// world is everything between a member and the index, on the official servers.
type world struct {
	net       *network.Network
	directory *identity.Directory
	guard     *egress.Guard
	fetch     *http.Client
	oauth     *client.Client
	db        *store.DB
	index     *index.Index
}

func newWorld(t *testing.T, db *store.DB) *world {
	t.Helper()
	w := &world{net: network.Shared(t), db: db}
	var err error
	if w.guard, err = egress.New(egress.Config{Route: w.net.Route, Dev: true}); err != nil {
		t.Fatal(err)
	}
	w.fetch = w.guard.Client(egress.Limits{Timeout: 15 * time.Second, MaxBytes: 4 << 20})
	local := map[string]string{}
	for _, p := range w.net.PDS {
		local[p.HandleDomain] = p.URL
	}
	if w.directory, err = identity.New(identity.Config{HTTP: w.fetch, PLCURL: w.net.PLC, Dev: true, DevHandles: local}); err != nil {
		t.Fatal(err)
	}
	w.oauth, err = client.New(client.Config{
		RedirectURIs: []string{"http://127.0.0.1:8080/oauth/callback"},
		Scope:        login.Scope(),
		HTTP:         w.fetch, Directory: w.directory, Attempts: memstore.NewAttempts(100, nil), Sessions: memstore.NewSessions(),
		AllowLoopback: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if w.index, err = index.New(index.Config{DB: db}); err != nil {
		t.Fatal(err)
	}
	return w
}

// found makes an account that is a community.
func (w *world) found(t *testing.T, server int) network.Account {
	t.Helper()
	account := w.net.NewAccount(t, server)
	own, err := w.net.SignInWithPassword(t.Context(), account)
	if err != nil {
		t.Fatal(err)
	}
	_, err = own.PutRecord(t.Context(), string(index.CommunityCollection), "self", map[string]any{
		"name": "commons", "createdBy": account.DID, "hostedBy": "did:web:example.com", "createdAt": "2026-01-02T03:04:05Z"})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

// signIn makes an account, which is a community, too, and signs it in, as a
// person with a browser would.
func (w *world) signIn(t *testing.T, server int) agent.Actor {
	t.Helper()
	account := w.found(t, server)
	started, err := w.oauth.Start(t.Context(), client.StartParams{Account: syntax.AtIdentifier(account.Handle)})
	if err != nil {
		t.Fatal(err)
	}
	redirect, err := w.net.SignIn(t.Context(), started.URL, account)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	data, _, err := w.oauth.Callback(t.Context(), u.Query(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return agent.Actor{DID: data.DID, SessionID: data.ID}
}

func (w *world) service(t *testing.T, open agent.Opener) *Service {
	t.Helper()
	a, err := agent.New(agent.Config{DB: w.db, Open: open, Directory: w.directory, HTTP: w.fetch, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	records, err := record.New(record.Config{DB: w.db, Index: w.index, Agent: a, Directory: w.directory, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	names, err := community.NewResolver(community.ResolverConfig{Index: w.index, Directory: w.directory, HTTP: w.fetch})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{DB: w.db, Index: w.index, Agent: a, Records: records, Communities: names, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// listen follows both servers until the test ends.
func (w *world) listen(t *testing.T) {
	t.Helper()
	var sources []ingest.Source
	for _, p := range w.net.PDS {
		sources = append(sources, ingest.Source{Kind: ingest.Repos, URL: p.URL})
	}
	in, err := ingest.New(ingest.Config{DB: w.db, Index: w.index, Sources: sources, Stream: w.guard.Client(egress.Limits{}),
		Fetch: w.fetch, Repos: w.fetch, Directory: w.directory, Hosting: ingest.Hosting{Skip: true}, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// with lists the posts of an author that the index shows.
func (w *world) with(t *testing.T, did syntax.DID) []index.Post {
	t.Helper()
	posts := newest(t, w.index)
	var out []index.Post
	for _, p := range posts {
		if p.Author.DID == did {
			out = append(out, p)
		}
	}
	return out
}

// TestTheLoop holds the core on official servers: a member of either
// posts, sees it at once under the right names, and the copy that comes back
// by the stream changes nothing.
func TestTheLoop(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		w := newWorld(t, db)
		s := w.service(t, agent.OAuth(w.oauth))
		community := w.found(t, 0)
		for server := range w.net.PDS {
			actor := w.signIn(t, server)
			created, err := s.Create(t.Context(), actor, CreateInput{Community: community.Handle, Title: "hello", Content: "from here", Key: "k"})
			if err != nil {
				t.Fatal(err)
			}
			at := w.with(t, actor.DID)
			if len(at) != 1 || at[0].URI() != created.URI || at[0].CID != created.CID ||
				at[0].Community.Handle.String() != community.Handle || at[0].Author.Handle == "" {
				t.Fatalf("at once: %+v, want %s with names", at, created.URI)
			}
			again, err := s.Create(t.Context(), actor, CreateInput{Community: community.DID, Title: "hello", Content: "from here", Key: "k"})
			if err != nil || again != created {
				t.Errorf("the same request again: %+v, %v; want %+v", again, err, created)
			}
		}
		w.listen(t)
		other, err := w.net.SignInWithPassword(t.Context(), w.net.NewAccount(t, 1))
		if err != nil {
			t.Fatal(err)
		}
		_, err = other.CreateRecord(t.Context(), index.PostCollection.String(), string(syntax.NewTIDNow(3)), map[string]any{
			"community": community.DID, "title": "by another client", "createdAt": syntax.DatetimeNow().String()})
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.After(2 * time.Minute)
		for len(w.with(t, syntax.DID(other.Account.DID))) != 1 {
			select {
			case <-deadline:
				t.Fatal("the other client's post never came")
			case <-time.After(10 * time.Millisecond):
			}
		}
		posts := newest(t, w.index)
		seen := map[syntax.ATURI]int{}
		for _, p := range posts {
			seen[p.URI()]++
		}
		for uri, n := range seen {
			if n != 1 {
				t.Errorf("%s is there %d times", uri, n)
			}
		}
	})
}

// lossy sends a request and loses the answer to the first write.
type lossy struct {
	pds.Doer
	lost bool
}

func (l *lossy) Do(req *http.Request) (*http.Response, error) {
	res, err := l.Doer.Do(req)
	if err == nil && !l.lost && strings.HasSuffix(req.URL.Path, "createRecord") {
		l.lost = true
		_ = res.Body.Close()
		return nil, &client.ServerError{Kind: client.ErrUnreachable, Cause: context.DeadlineExceeded}
	}
	return res, err
}

// TestLostAnswer holds that an answer lost on its way from the official server
// is settled by reading back, and that the post is in the index all the same.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.New(t, store.SQLite))
	actor := w.signIn(t, 0)
	real := agent.OAuth(w.oauth)
	s := w.service(t, func(ctx context.Context, a agent.Actor) (pds.Doer, error) {
		session, err := real(ctx, a)
		return &lossy{Doer: session}, err
	})
	created, err := s.Create(t.Context(), actor, CreateInput{Community: string(actor.DID), Title: "lost"})
	if err != nil {
		t.Fatal(err)
	}
	if at := w.with(t, actor.DID); len(at) != 1 || at[0].URI() != created.URI {
		t.Errorf("posts %+v, want %s", at, created.URI)
	}
}

// TestForeignSession holds that nobody acts with another member's session.
func TestForeignSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t, storetest.New(t, store.SQLite))
	one, other := w.signIn(t, 0), w.signIn(t, 0)
	s := w.service(t, agent.OAuth(w.oauth))
	mixed := agent.Actor{DID: other.DID, SessionID: one.SessionID}
	if _, err := s.Create(t.Context(), mixed, CreateInput{Community: string(one.DID), Title: "t"}); err == nil {
		t.Error("a session of one account wrote for another")
	}
}
