package ingest

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// saveTimeout bounds saving the cursor when stopping.
const saveTimeout = 5 * time.Second

// source follows one stream. It is used by one goroutine, but for batches that
// are committed, one at a time, by one of their own.
type source struct {
	in     *Ingester
	kind   string // Repos, Jetstream or Jetstream2
	url    string // origin
	label  string // in metrics
	log    *slog.Logger
	status board
	retry  backoff // of connecting
	drops  rate.Sometimes

	events atomic.Int64 // committed since they were counted last
	pace   atomic.Int64 // nanoseconds that an event of the last batch took

	loaded bool
	at     place
	// unsaved tells that at.cursor is ahead of what is stored, since saved.
	unsaved bool
	saved   time.Time
}

func newSource(in *Ingester, kind, origin string) *source {
	label := origin
	if u, err := url.Parse(origin); err == nil && u.Host != "" {
		label = u.Host
	}
	s := &source{
		in: in, kind: kind, url: origin, label: label, log: in.log.With("source", label),
		retry: backoff{min: in.cfg.Limits.BackoffMin, max: in.cfg.Limits.BackoffMax},
		drops: rate.Sometimes{First: 1, Interval: 10 * time.Second},
	}
	s.status.set(func(st *Status) { st.URL = origin })
	in.metrics.connected.WithLabelValues(label).Set(0)
	return s
}

// run connects again and again until ctx ends.
func (s *source) run(ctx context.Context) {
	for {
		err := s.session(ctx)
		s.in.metrics.connected.WithLabelValues(s.label).Set(0)
		if ctx.Err() != nil || errors.Is(err, errLease) {
			s.status.set(func(st *Status) { st.Connected = false })
			return
		}
		s.in.metrics.reconnects.WithLabelValues(s.label).Inc()
		s.status.set(func(st *Status) { st.Connected, st.Trouble = false, err.Error() })
		s.react(ctx, err)
		if !s.retry.wait(ctx) {
			return
		}
	}
}

// react logs why a connection ended, and takes a host at its word that the
// cursor is none of its own.
func (s *source) react(ctx context.Context, err error) {
	var said *infoError
	switch {
	case errors.As(err, &said) && (said.Name == futureCursor || said.Name == cursorTooOld):
		s.at = s.restart()
		s.in.metrics.gaps.WithLabelValues(s.label).Inc()
		s.log.WarnContext(ctx, "host does not know the cursor (any more); reading on as near as can be", "name", said.Name)
	case errors.Is(err, errSilence):
		s.log.DebugContext(ctx, "stream is silent, connecting anew")
	default:
		s.log.WarnContext(ctx, "stream ended", "error", err)
	}
}

// session is one connection, from the cursor to its end. It always returns an
// error.
func (s *source) session(ctx context.Context) error {
	if !s.loaded {
		p, err := s.loadPlace(ctx)
		if err != nil {
			return err
		}
		s.at, s.loaded, s.unsaved = p, true, false
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return err
	}
	defer conn.close()
	s.in.metrics.connected.WithLabelValues(s.label).Set(1)
	s.status.set(func(st *Status) { st.Connected, st.Trouble = true, "" })
	s.log.InfoContext(ctx, "following stream", "host_is", s.at.origin)
	return s.follow(ctx, conn)
}

// dial connects from the cursor on.
func (s *source) dial(ctx context.Context) (*socket, error) {
	client, limits := s.in.cfg.Stream, s.in.cfg.Limits
	if s.kind == Repos {
		address, err := pds.SubscribeReposURL(s.url, s.at.cursor)
		if err != nil {
			return nil, err
		}
		return dial(ctx, client, address, "", websocket.MessageBinary, limits)
	}
	subprotocol := ""
	if s.kind == Jetstream2 {
		subprotocol = jetstreamProtocol
	}
	address := jetstreamURL(s.kind, s.url, s.at.cursor, s.in.unpack != nil)
	conn, err := dial(ctx, client, address, subprotocol, websocket.MessageText, limits)
	if err == nil && s.kind == Jetstream {
		conn.unpack = s.in.unpack
	}
	return conn, err
}

// decode reads a frame.
func (s *source) decode(frame []byte) (event, error) {
	switch s.kind {
	case Jetstream:
		return decodeJetstream(frame, s.in.cfg.Now())
	case Jetstream2:
		return decodeJetstream2(frame)
	}
	return decodeFrame(s.in.decode, frame)
}

// arrival is an event on its way from the socket to a batch.
type arrival struct {
	event event
	size  int64
}

// readAhead is how many events wait between the socket and the next batch, which
// gathers while the one before is committed. More would only wait here instead of
// at the host, and show that much later.
const readAhead = 256

// follow moves events from the socket to the index until the connection ends.
func (s *source) follow(ctx context.Context, conn *socket) error {
	reading, cancel := context.WithCancel(ctx)
	arrivals := make(chan arrival, readAhead)
	pending := semaphore.NewWeighted(s.in.cfg.Limits.Pending)
	ended := make(chan error, 1)
	watched := make(chan struct{})
	go func() { defer close(watched); conn.watch(reading) }()
	go func() {
		defer close(arrivals)
		ended <- s.readAll(reading, conn, arrivals, pending)
	}()
	err := s.index(ctx, arrivals, pending)
	cancel()
	conn.close()
	<-watched
	if readErr := <-ended; err == nil {
		err = readErr
	}
	s.saveLast(ctx)
	return err
}

// readAll reads frames until the connection ends. It waits while too much is
// pending, and so does the host.
func (s *source) readAll(ctx context.Context, conn *socket, to chan<- arrival, pending *semaphore.Weighted) error {
	first := s.at
	for {
		frame, err := conn.read(ctx)
		var e event
		if err == nil {
			e, err = s.decode(frame)
		}
		if err := s.passOver(ctx, err); err != nil {
			return err
		}
		if e.seq <= 0 {
			continue // nothing, not even a place in the stream
		}
		if s.kind == Jetstream && first.cursor != nil {
			// The host says nothing when it no longer has what was asked for.
			if missing := time.Duration(e.seq-*first.cursor) * time.Microsecond; missing > leap {
				s.in.metrics.gaps.WithLabelValues(s.label).Inc()
				s.log.WarnContext(ctx, "host jumps ahead of the cursor", "missing", missing)
			}
			first.cursor = nil
		}
		if e.flat != nil {
			// While the batch before is being committed.
			e.flat.prepare(s.in, e.did)
		}
		a := arrival{event: e, size: min(int64(len(frame)), s.in.cfg.Limits.Pending)}
		if err := pending.Acquire(ctx, a.size); err != nil {
			return err
		}
		select {
		case to <- a: // there is room, as a rule
			continue
		default:
		}
		select {
		case to <- a:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// passOver counts what can be passed over and returns what ends the stream.
func (s *source) passOver(ctx context.Context, err error) error {
	var drop *dropError
	var said *infoError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &drop):
		s.drop(ctx, "", index.Drop{Reason: drop.reason, Err: drop.cause})
		return nil
	case errors.As(err, &said) && !said.Final:
		if said.Name == "OutdatedCursor" {
			s.in.metrics.gaps.WithLabelValues(s.label).Inc()
		}
		s.log.WarnContext(ctx, "host has a word about the stream", "name", said.Name, "message", said.Message)
		return nil
	}
	return err
}

// drop counts what was dropped and logs a sample.
func (s *source) drop(ctx context.Context, repo string, d index.Drop) {
	s.in.metrics.drop(d.Reason)
	s.in.counts.drop(d.Reason)
	s.drops.Do(func() {
		s.log.InfoContext(ctx, "dropped, this one among others", "reason", d.Reason, "repo", repo,
			"collection", short(d.Collection.String()), "key", short(d.RKey.String()), "error", d.Err)
	})
}

// saveLast saves a cursor that no batch has saved, also while stopping.
func (s *source) saveLast(ctx context.Context) {
	if !s.unsaved {
		return
	}
	saving, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	err := s.in.cfg.DB.Tx(saving, func(tx *store.Tx) error {
		if err := s.in.lease.hold(saving, tx); err != nil {
			return err
		}
		return s.savePlace(saving, tx, s.at)
	})
	if err != nil {
		s.log.WarnContext(ctx, "cursor not saved, some events will be read again", "error", err)
		return
	}
	s.unsaved = false
}
