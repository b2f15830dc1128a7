// Package ingest follows streams of the network into the index: in order per
// repository, in batches whose rows and cursor commit together, dropping what
// is malformed, keeping what the database refuses, and losing nothing else. It
// also asks for the accounts that the index lacks.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// Repos is the kind of sources that speak com.atproto.sync.subscribeRepos: a
// PDS or a relay.
const Repos = "repos"

// Source is a stream to follow.
type Source struct {
	// Kind is Repos, Jetstream or Jetstream2.
	Kind string
	// URL is the origin of the host: https://host or, in development, http.
	URL string
}

// Config is what an Ingester needs.
type Config struct {
	DB      *store.DB
	Index   *index.Index
	Sources []Source
	// Dictionary is the zstd dictionary of Jetstream's first version, as its
	// project publishes it. With it, such sources are asked to compress.
	Dictionary []byte
	// Stream carries WebSockets and must not limit time or size; Fetch carries
	// small requests and must; Repos carries whole repositories and must limit
	// time. All are guarded clients.
	Stream, Fetch, Repos *http.Client
	Directory            Directory
	// Hosting is how claims about hosts are verified.
	Hosting Hosting
	Logger  *slog.Logger
	Metrics prometheus.Registerer
	// Now is the clock of stored times; nil means time.Now.
	Now       func() time.Time
	Limits    Limits
	Retention Retention
}

// Limits bound work and waiting. Zero fields take the defaults.
type Limits struct {
	// Frame is the largest frame that is read, in bytes; larger ones are
	// passed over. Default 5 MiB, the network's own limit.
	Frame int64
	// BatchEvents and BatchWait end a batch, whichever comes first: 20,000, 25 ms.
	// The more at once, the less work is each event, and the longer others wait for
	// their turn: a batch is what takes CommitFor to commit, 70 ms, or, of a stream
	// that is far behind, CatchUpFor, 400 ms.
	BatchEvents                      int
	BatchWait, CommitFor, CatchUpFor time.Duration
	// Pending bounds the bytes of frames between socket and database: 32 MiB.
	Pending int64
	// Silence is how long a stream may say nothing before it is connected to
	// anew: 5 min. A host that is asked (Ping) must answer within Pong; it is
	// asked after Ping without a frame: 30 s, 20 s.
	Silence, Ping, Pong time.Duration
	// BackoffMin and BackoffMax bound the wait between attempts to connect or
	// to write: 500 ms, 1 min.
	BackoffMin, BackoffMax time.Duration
	// CursorEvery is how often the cursor is saved when nothing on the stream
	// concerns us: 1 s.
	CursorEvery time.Duration
	// ResolveEvery is how often accounts that other processes met are looked
	// for: 1 s.
	ResolveEvery time.Duration
	// RefetchEvery is the least time between two fetches of one repository
	// that its commits give rise to: 1 min.
	RefetchEvery time.Duration
	// Repo is the largest repository that is fetched, in bytes; RepoKept is
	// how much of one is held in memory: 512 MiB, 128 MiB.
	Repo, RepoKept int64
	// Fetchers and PerHost bound the repositories that are fetched at once, in
	// all and from one host: 8, 3.
	Fetchers, PerHost int
	// FetchEvery is how often repositories that are due are looked for: 1 s.
	FetchEvery time.Duration
	// Lease is how long an ingester that says nothing keeps the others
	// waiting; it says something every Heartbeat: 6 s, 2 s.
	Lease, Heartbeat time.Duration
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.Frame, 5<<20)
	setDefault(&l.BatchEvents, 20_000)
	setDefault(&l.BatchWait, 25*time.Millisecond)
	setDefault(&l.CommitFor, 70*time.Millisecond)
	setDefault(&l.CatchUpFor, 400*time.Millisecond)
	setDefault(&l.Pending, 32<<20)
	setDefault(&l.Silence, 5*time.Minute)
	setDefault(&l.Ping, 30*time.Second)
	setDefault(&l.Pong, 20*time.Second)
	setDefault(&l.BackoffMin, 500*time.Millisecond)
	setDefault(&l.BackoffMax, time.Minute)
	setDefault(&l.CursorEvery, time.Second)
	setDefault(&l.ResolveEvery, time.Second)
	setDefault(&l.RefetchEvery, time.Minute)
	setDefault(&l.Repo, 512<<20)
	setDefault(&l.RepoKept, 128<<20)
	setDefault(&l.Fetchers, 8)
	setDefault(&l.PerHost, 3)
	setDefault(&l.FetchEvery, time.Second)
	setDefault(&l.Lease, 6*time.Second)
	setDefault(&l.Heartbeat, 2*time.Second)
	return l
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Ingester follows all sources.
type Ingester struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	decode  cbor.DecMode
	unpack  func(frame []byte) ([]byte, error) // nil without a dictionary
	sources []*source
	resolve *resolver
	keys    *keys
	lease   *lease
	fetch   *fetcher
	hosts   *hostChecker
	posts   *postFetcher
	counts  *counts
}

// New checks cfg and registers metrics. It does no I/O and starts nothing.
func New(cfg Config) (*Ingester, error) {
	switch {
	case cfg.DB == nil || cfg.Index == nil || cfg.Directory == nil:
		return nil, errors.New("ingest: database, index and directory are required")
	case cfg.Stream == nil || cfg.Fetch == nil || cfg.Repos == nil || cfg.Logger == nil || cfg.Metrics == nil:
		return nil, errors.New("ingest: clients, logger and metrics are required")
	case !cfg.Hosting.Skip && cfg.Hosting.HTTP == nil:
		return nil, errors.New("ingest: a client for the documents of hosts is required")
	case cfg.Stream.Timeout != 0:
		return nil, errors.New("ingest: the client for streams must not have a timeout")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	cfg.Limits, cfg.Retention = cfg.Limits.withDefaults(), cfg.Retention.withDefaults()
	cfg.Logger = cfg.Logger.With("component", "ingest")
	mode, err := newDecMode()
	if err != nil {
		return nil, fmt.Errorf("ingest: %w", err)
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("ingest: register metrics: %w", err)
	}
	in := &Ingester{cfg: cfg, log: cfg.Logger, metrics: m, decode: mode}
	in.counts = newCounts(in)
	if in.unpack, err = newUnpack(cfg.Dictionary, cfg.Limits.Frame); err != nil {
		return nil, err
	}
	if in.sources, err = newSources(in, cfg.Sources); err != nil {
		return nil, err
	}
	in.resolve = newResolver(in)
	in.keys = newKeys(cfg.Directory, cfg.Now)
	in.lease = newLease(in)
	in.fetch = newFetcher(in)
	in.hosts = newHostChecker(in)
	in.posts = newPostFetcher(in)
	return in, nil
}

// newSources reports all mistakes together.
func newSources(in *Ingester, list []Source) ([]*source, error) {
	var out []*source
	var mistakes []error
	seen := map[string]bool{}
	for _, s := range list {
		origin, err := sourceOrigin(s)
		switch {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("source %.200q: %w", s.URL, err))
		case seen[origin]: // also under another kind: its cursor is kept by this name
			mistakes = append(mistakes, fmt.Errorf("source %s is named twice", origin))
		default:
			seen[origin] = true
			out = append(out, newSource(in, s.Kind, origin))
		}
	}
	return out, errors.Join(mistakes...)
}

// sourceOrigin checks a source and returns its host's origin. The address of
// the stream itself (wss) is understood too.
func sourceOrigin(s Source) (string, error) {
	if !slices.Contains([]string{Repos, Jetstream, Jetstream2}, s.Kind) {
		return "", fmt.Errorf("kind %.50q is unknown; there are %s, %s and %s", s.Kind, Repos, Jetstream, Jetstream2)
	}
	u, err := url.Parse(strings.TrimSpace(s.URL))
	if err != nil {
		return "", errors.New("not a URL")
	}
	switch u.Scheme {
	case "wss":
		u.Scheme = "https"
	case "ws":
		u.Scheme = "http"
	}
	if u.Path == "/" {
		u.Path = ""
	}
	u.Host = strings.ToLower(u.Host)
	if _, err := pds.SubscribeReposURL(u.String(), nil); err != nil {
		return "", errors.New("must be the address of a host, without a path: https://…")
	}
	return u.String(), nil
}

// Run follows the sources until ctx ends, then returns nil. What was not yet
// committed is read again next time. Of several processes on one database one
// does, the others stand by.
func (in *Ingester) Run(ctx context.Context) error {
	in.lease.run(ctx, func(ctx context.Context) {
		var wg sync.WaitGroup
		for _, s := range in.sources {
			wg.Go(func() { s.run(ctx) })
		}
		wg.Go(func() { in.resolve.run(ctx) })
		wg.Go(func() { in.fetch.run(ctx) })
		wg.Go(func() { in.hosts.run(ctx) })
		wg.Go(func() { in.posts.run(ctx) })
		wg.Go(func() { tidier{in}.run(ctx) })
		wg.Go(func() { in.counts.run(ctx) })
		wg.Wait()
	})
	return nil
}

// standBy tells whether another process ingests.
func (in *Ingester) standBy(yes bool) {
	for _, s := range in.sources {
		s.loaded = false // the other one has moved it
		s.status.set(func(st *Status) { st.Standby = yes })
	}
}
