package ingest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// quick makes tests short; it changes waits only.
func quick() Limits {
	return Limits{
		Frame: 64 << 10, BatchWait: 2 * time.Millisecond, Silence: 30 * time.Second,
		BackoffMin: 2 * time.Millisecond, BackoffMax: 20 * time.Millisecond,
		CursorEvery: time.Millisecond, ResolveEvery: 10 * time.Millisecond,
		FetchEvery: 10 * time.Millisecond, RefetchEvery: time.Millisecond,
		Lease: 300 * time.Millisecond, Heartbeat: 50 * time.Millisecond,
	}
}

// rig is an Ingester that runs.
type rig struct {
	*Ingester
	db    *store.DB
	index *index.Index
	log   *lockedBuffer
	reg   *prometheus.Registry
	stop  func()
}

// start runs an Ingester over hosts until the test ends or stop is called.
func start(t *testing.T, db *store.DB, limits Limits, dir Directory, hosts ...*host) *rig {
	t.Helper()
	r, err := newRig(db, limits, dir, hosts...)
	if err != nil {
		t.Fatal(err)
	}
	r.run(t)
	return r
}

// run runs the Ingester until the test ends or stop is called.
func (r *rig) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	r.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("log:\n%s", r.log)
		}
	})
}

func newRig(db *store.DB, limits Limits, dir Directory, hosts ...*host) (*rig, error) {
	var sources []Source
	for _, h := range hosts {
		sources = append(sources, Source{Kind: Repos, URL: h.server.URL})
	}
	return newRigOf(db, limits, dir, sources)
}

func newRigOf(db *store.DB, limits Limits, dir Directory, sources []Source) (*rig, error) {
	guard, err := egress.New(egress.Config{Dev: true})
	if err != nil {
		return nil, err
	}
	x, err := index.New(index.Config{DB: db})
	if err != nil {
		return nil, err
	}
	if dir == nil {
		dir = newWorld()
	}
	log, reg := &lockedBuffer{}, prometheus.NewRegistry()
	in, err := New(Config{
		DB: db, Index: x, Sources: sources, Directory: dir, Limits: limits, Hosting: Hosting{Skip: true},
		Retention: Retention{Gates: 100 * 365 * 24 * time.Hour}, // the records of tests are old
		Stream:    guard.Client(egress.Limits{}), Repos: guard.Client(egress.Limits{Timeout: 20 * time.Second}), Fetch: guard.Client(egress.Limits{Timeout: 5 * time.Second, MaxBytes: 1 << 20}),
		Logger: slog.New(slog.NewTextHandler(log, nil)), Metrics: reg,
	})
	if err != nil {
		return nil, err
	}
	return &rig{Ingester: in, db: db, index: x, log: log, reg: reg}, nil
}

// lockedBuffer takes log lines from several goroutines.
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

// patience is for machines that do much else; nobody waits for it in vain.
const patience = 2 * time.Minute

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(patience)
	ticker := time.NewTicker(3 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		select {
		case <-ticker.C:
		case <-deadline:
			t.Fatalf("never came: %s", what)
		}
	}
}

// shown lists titles of visible posts, by author and key.
func (r *rig) shown(t *testing.T) map[string]string {
	t.Helper()
	posts, err := titles(r.db)
	if err != nil {
		t.Fatal(err)
	}
	return posts
}

func titles(db *store.DB) (map[string]string, error) {
	rows, err := db.Read().QueryContext(context.Background(), `
		SELECT a.did, p.rkey, p.record FROM post p JOIN account a ON a.id = p.author_id
		WHERE NOT p.deleted AND a.active`)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string]string{}
	for rows.Next() {
		var did, key string
		var record []byte
		if err := rows.Scan(&did, &key, &record); err != nil {
			return nil, err
		}
		_, rest, _ := bytes.Cut(record, []byte(`"title":"`))
		title, _, _ := bytes.Cut(rest, []byte(`"`))
		if _, twice := out[did+"/"+key]; twice {
			return nil, errors.New("a post is there twice: " + did + "/" + key)
		}
		out[did+"/"+key] = string(title)
	}
	return out, rows.Err()
}

// cursor is what is stored for a host, and counted in metrics and status, too,
// which comes after it; -1 when nothing is.
func (r *rig) cursor(t *testing.T, h *host) int64 {
	t.Helper()
	var at sql.NullInt64
	err := r.db.Read().QueryRowContext(t.Context(), `SELECT cursor FROM ingest_source WHERE url = $1`, h.server.URL).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) || err == nil && !at.Valid {
		return -1
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range r.Status() {
		if s.URL == h.server.URL {
			return min(at.Int64, s.Cursor)
		}
	}
	return at.Int64
}

// metric sums a metric's values; with a label, only those that have it.
func (r *rig) metric(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		for _, m := range f.GetMetric() {
			match := label == ""
			for _, l := range m.GetLabel() {
				match = match || l.GetValue() == label
			}
			if f.GetName() == "atoll_ingest_"+name && match {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// key makes a record key, in order of n.
func key(n int) string {
	return string(syntax.NewTID(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()+int64(n)*1000, 3))
}

// rev makes a revision, in order of n.
func rev(n int) syntax.TID { return syntax.TID(key(n)) }
