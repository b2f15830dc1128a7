package bench

import (
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// BenchmarkIngest is the whole way of events: Jetstream frames from memory
// over a loopback connection, decoded, validated, and committed with counters
// and cursor. The load is that of BenchmarkIndex. One iteration is one event.
func BenchmarkIngest(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db := storetest.New(b, engine)
			x, err := index.New(index.Config{DB: db})
			must(b, err)
			load := &indexLoad{random: rand.New(rand.NewPCG(1, 2)), start: time.Now().Add(-time.Hour),
				posts: size.Size(20_000, 200_000), accounts: size.Size(5_000, 50_000)}
			load.fill(b, db, x)
			b.Run("events", func(b *testing.B) { ingestFrames(b, db, x, load) })
		})
	}
}

// frames makes Jetstream events of the first version.
func (l *indexLoad) frames(b *testing.B, count int, first int64) [][]byte {
	b.Helper()
	out := make([][]byte, count)
	for i := range out {
		e := l.next()
		raw, err := json.Marshal(map[string]any{"did": e.did, "time_us": first + int64(i), "kind": "commit", "commit": map[string]any{
			"rev": e.rev, "operation": "create", "collection": e.op.Collection, "rkey": e.op.RKey, "cid": e.op.CID, "record": e.op.Record}})
		must(b, err)
		out[i] = raw
	}
	return out
}

func ingestFrames(b *testing.B, db *store.DB, x *index.Index, load *indexLoad) {
	first := time.Now().Add(-time.Minute).UnixMicro()
	frames := load.frames(b, b.N, first)
	last := first + int64(len(frames)) - 1
	begin := make(chan struct{})
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer conn.CloseNow() //nolint:errcheck // the benchmark is over then
		ctx := conn.CloseRead(r.Context())
		<-begin
		for _, f := range frames {
			if conn.Write(ctx, websocket.MessageText, f) != nil {
				return
			}
		}
		<-ctx.Done()
	}))
	defer host.Close()
	guard, err := egress.New(egress.Config{Dev: true})
	must(b, err)
	client := guard.Client(egress.Limits{})
	in, err := ingest.New(ingest.Config{
		DB: db, Index: x, Sources: []ingest.Source{{Kind: ingest.Jetstream, URL: host.URL}},
		Stream: client, Fetch: client, Repos: client, Directory: noDirectory{},
		Hosting: ingest.Hosting{Skip: true}, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	must(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx) }()
	until(in, func(s ingest.Status) bool { return s.Connected })
	b.ReportAllocs()
	b.ResetTimer()
	used := startCPU()
	close(begin)
	until(in, func(s ingest.Status) bool { return s.Cursor >= last })
	b.StopTimer()
	b.ReportMetric(float64(len(frames))/b.Elapsed().Seconds(), "events/s")
	used.report(b)
	cancel()
	must(b, <-ended)
}

// until waits for a state of the only source.
func until(in *ingest.Ingester, holds func(ingest.Status) bool) {
	for !holds(in.Status()[0]) {
		time.Sleep(time.Millisecond)
	}
}

// noDirectory never answers: looking people up is not measured.
type noDirectory struct{}

func (noDirectory) LookupFresh(ctx context.Context, _ syntax.AtIdentifier, _ time.Duration) (*sdk.Identity, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
func (noDirectory) VerifyHandle(context.Context, syntax.DID, syntax.Handle) error { return nil }
func (noDirectory) PDS(*sdk.Identity) (string, error)                             { return "", sdk.ErrDIDNotFound }
