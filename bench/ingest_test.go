package bench

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/test/size"
	"github.com/atoll-social/atoll/test/usage"
)

// BenchmarkIngest is the whole way of events: Jetstream frames from memory,
// read from a connection, decoded, validated, and committed with counters and
// cursor, while the log of SQLite is looked after as it is in the program. Load
// and baselines are those of BenchmarkIndex. One iteration is one event.
func BenchmarkIngest(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db, x, load := filledIndex(b, engine)
			raw := rawInserts(b, db)
			b.Run("events", func(b *testing.B) { ingestFrames(b, db, x, load, raw) })
		})
	}
}

// frame is a Jetstream event of the first version.
func (l *indexLoad) frame(at int64) []byte {
	e := l.next()
	raw, err := json.Marshal(map[string]any{"did": e.did, "time_us": at, "kind": "commit", "commit": map[string]any{
		"rev": e.rev, "operation": "create", "collection": e.op.Collection, "rkey": e.op.RKey, "cid": e.op.CID, "record": e.op.Record}})
	if err != nil {
		panic(err)
	}
	return raw
}

func ingestFrames(b *testing.B, db *store.DB, x *index.Index, load *indexLoad, raw rawRates) {
	first := time.Now().Add(-time.Minute).UnixMicro()
	frames := make([][]byte, b.N)
	for i := range frames {
		frames[i] = load.frame(first + int64(i))
	}
	last := first + int64(len(frames)) - 1
	begin := make(chan struct{})
	in, stop := follow(b, db, x, begin, func() (frame []byte) {
		if len(frames) > 0 {
			frame, frames = frames[0], frames[1:]
		}
		return frame
	})
	runtime.GC() // what made the frames is not measured
	b.ReportAllocs()
	b.ResetTimer()
	used, busy := startCPU(), db.Busy()
	close(begin)
	until(in, func(s ingest.Status) bool { return s.Cursor >= last })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	// How much of the time a transaction was waiting for the engine.
	b.ReportMetric(100*(db.Busy()-busy).Seconds()/b.Elapsed().Seconds(), "engine-%")
	raw.report(b)
	used.report(b)
	stop()
}

// BenchmarkIngestMemory tells what following a stream holds in memory: after a
// tenth of the events, and after all of them. One iteration is a million events.
func BenchmarkIngestMemory(b *testing.B) {
	total := size.Size(50_000, 1_000_000)
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db, x, load := filledIndex(b, engine)
			for b.Loop() {
				holdFrames(b, db, x, load, total)
			}
		})
	}
}

func holdFrames(b *testing.B, db *store.DB, x *index.Index, load *indexLoad, total int) {
	first := time.Now().Add(-time.Minute).UnixMicro()
	made := 0
	begin := make(chan struct{})
	in, stop := follow(b, db, x, begin, func() []byte {
		if made == total {
			return nil
		}
		made++
		return load.frame(first + int64(made) - 1)
	})
	defer stop()
	close(begin)
	for _, at := range []struct {
		events int
		unit   string
	}{{total / 10, "MB-after-a-tenth"}, {total, "MB-after-all"}} {
		until(in, func(s ingest.Status) bool { return s.Cursor >= first+int64(at.events)-1 })
		debug.FreeOSMemory()
		resident, err := usage.Memory(os.Getpid(), usage.Resident) // SQLite's cache included
		must(b, err)
		b.ReportMetric(float64(resident)/(1<<20), at.unit)
	}
}

// follow starts to follow a host in memory.
func follow(b *testing.B, db *store.DB, x *index.Index, begin <-chan struct{}, next func() []byte) (in *ingest.Ingester, stop func()) {
	client := memoryHost(begin, next)
	in, err := ingest.New(ingest.Config{
		DB: db, Index: x, Sources: []ingest.Source{{Kind: ingest.Jetstream, URL: "http://jetstream.test"}},
		Stream: client, Fetch: client, Repos: client, Directory: noDirectory{},
		Hosting: ingest.Hosting{Skip: true}, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	})
	must(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 2)
	go func() { ended <- in.Run(ctx) }()
	go func() { ended <- db.Run(ctx) }()
	until(in, func(s ingest.Status) bool { return s.Connected })
	return in, func() {
		cancel()
		must(b, <-ended)
		must(b, <-ended)
	}
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
func (d noDirectory) LookupDocument(ctx context.Context, did syntax.DID, age time.Duration) (*sdk.Identity, error) {
	return d.LookupFresh(ctx, did.AtIdentifier(), age)
}
func (noDirectory) VerifyHandle(context.Context, syntax.DID, syntax.Handle) error { return nil }
func (noDirectory) PDS(*sdk.Identity) (string, error)                             { return "", sdk.ErrDIDNotFound }
