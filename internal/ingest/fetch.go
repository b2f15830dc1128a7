package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

const (
	// foundFor is how old an answer about whose server to ask may be.
	foundFor = 10 * time.Minute
	// claimFor is how long a repository that is being fetched is left alone by
	// others. Fetching one twice does no harm.
	claimFor = 2 * time.Minute
	// The wait after a failure doubles from the first to the last. A
	// repository that never was there is forgotten after fetchTries.
	fetchAgainMin = 10 * time.Second
	fetchAgainMax = 24 * time.Hour
	fetchTries    = 12
	// fetchOps is how many records are written in one transaction.
	fetchOps = 500
)

// fetcher fetches repositories whole: those whose commits did not fit, and
// those that the operator asked for. What is to be fetched is in the database.
type fetcher struct {
	in    *Ingester
	hosts *hostPlaces
	// sink writes, as sources do: with dead letters and without skipping.
	sink *source
	wake chan struct{}
}

func newFetcher(in *Ingester) *fetcher {
	return &fetcher{
		in: in, hosts: &hostPlaces{size: in.cfg.Limits.PerHost, hosts: map[string]*hostPlace{}},
		sink: newSource(in, "", "getRepo"), wake: make(chan struct{}, 1),
	}
}

// poke wakes the fetcher. It never waits.
func (f *fetcher) poke() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// run fetches what is due until ctx ends. What a process that is gone was
// fetching is begun anew.
func (f *fetcher) run(ctx context.Context) {
	err := f.sink.insist(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE ingest_repo SET next_try = $1 WHERE wanted AND attempts = 0 AND next_try > $1`,
			store.Micros(f.in.cfg.Now()))
		return err
	})
	if err != nil {
		return
	}
	f.work(ctx, func() bool { return false })
}

// work fetches what is due until ctx ends, or there is nothing in the making
// and enough says so.
func (f *fetcher) work(ctx context.Context, enough func() bool) {
	done := make(chan struct{}, f.in.cfg.Limits.Fetchers)
	running := 0
	defer func() {
		for ; running > 0; running-- {
			<-done
		}
	}()
	ticker := time.NewTicker(f.in.cfg.Limits.FetchEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		for _, did := range f.claim(ctx, f.in.cfg.Limits.Fetchers-running) {
			running++
			go func() {
				f.one(ctx, did)
				done <- struct{}{}
			}()
		}
		if running == 0 && enough() {
			return
		}
		select {
		case <-done:
			running--
		case <-f.wake:
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// claim takes repositories that are due, at most limit.
func (f *fetcher) claim(ctx context.Context, limit int) []syntax.DID {
	if limit == 0 {
		return nil
	}
	now := f.in.cfg.Now()
	dids, err := f.due(ctx, now, limit)
	var out []syntax.DID
	for _, did := range dids {
		var n int64
		err = f.in.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
			res, err := tx.ExecContext(ctx,
				`UPDATE ingest_repo SET next_try = $1 WHERE did = $2 AND wanted AND next_try <= $3`,
				store.Micros(now.Add(claimFor)), did, store.Micros(now))
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err == nil && n > 0 {
			out = append(out, did)
		}
	}
	if err != nil && ctx.Err() == nil {
		f.in.log.WarnContext(ctx, "repositories to fetch cannot be read", "error", err)
	}
	return out
}

func (f *fetcher) due(ctx context.Context, now time.Time, limit int) ([]syntax.DID, error) {
	rows, err := f.in.cfg.DB.Read().QueryContext(ctx,
		`SELECT did FROM ingest_repo WHERE wanted AND next_try <= $1 ORDER BY next_try, did LIMIT $2`,
		store.Micros(now), limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []syntax.DID
	for rows.Next() {
		var did syntax.DID
		if err := rows.Scan(&did); err != nil {
			return nil, err
		}
		out = append(out, did)
	}
	return out, rows.Err()
}

// one fetches a repository and stores how that went.
func (f *fetcher) one(ctx context.Context, did syntax.DID) {
	outcome := "ok"
	err := f.rebuild(ctx, did)
	if err != nil && ctx.Err() == nil {
		outcome = "failed"
		f.in.log.WarnContext(ctx, "repository not fetched", "repo", did, "error", err)
		err = f.sink.insist(ctx, func(tx *store.Tx) error { return f.failed(ctx, tx, did, err) })
	}
	if ctx.Err() != nil {
		return // it stays due
	}
	if err != nil {
		f.in.log.ErrorContext(ctx, "outcome of a fetch not stored", "repo", did, "error", err)
	}
	f.in.metrics.fetched.WithLabelValues(outcome).Inc()
}

// rebuild makes the index what a repository is.
func (f *fetcher) rebuild(ctx context.Context, did syntax.DID) error {
	// As it was before: a commit that breaks the chain meanwhile is no proof
	// that the host's copy is old, and has it fetched once more.
	repos, err := f.in.loadRepos(ctx, []syntax.DID{did})
	if err != nil {
		return err
	}
	s, err := f.in.download(ctx, did)
	if err != nil {
		return err
	}
	if int64(s.rev.Integer()) < max(repos[did].broken, repos[did].pruned) {
		return errBehind
	}
	d, err := f.in.compare(ctx, s)
	if err != nil {
		return err
	}
	for start := 0; start < len(d.ops); start += fetchOps {
		u := unit{did: did, time: s.rev.Time()}
		f.sink.apply(ctx, &u, s.rev, d.ops[start:min(start+fetchOps, len(d.ops))], nil)
		if err := f.sink.settle(ctx, []unit{u}, nil); err != nil {
			return err
		}
	}
	if d.Missing+d.Extra+d.Different > 0 {
		f.in.log.InfoContext(ctx, "repository rebuilt", "repo", did, "rev", s.rev,
			"missing", d.Missing, "extra", d.Extra, "different", d.Different, "same", d.Same)
	}
	nothing := len(s.records) == 0 && d.Extra == 0
	return f.sink.insist(ctx, func(tx *store.Tx) error { return f.finished(ctx, tx, s, nothing) })
}

// finished notes that a repository is here as it was at the fetched revision.
// If commits broke the chain meanwhile it stays wanted. A repository without
// records of ours is none of our business.
func (f *fetcher) finished(ctx context.Context, tx *store.Tx, s *snapshot, nothing bool) error {
	rev, now := int64(s.rev.Integer()), f.in.cfg.Now()
	_, err := tx.ExecContext(ctx, `
		UPDATE ingest_repo SET base = CASE WHEN base < $1 THEN $1 ELSE base END,
		    data = CASE WHEN rev < $1 THEN $2 ELSE data END,
		    rev = CASE WHEN rev < $1 THEN $1 ELSE rev END,
		    wanted = broken > $1, attempts = 0, error = '', fetched_at = $3, next_try = $4
		WHERE did = $5`, rev, s.data[:], store.Micros(now), store.Micros(now.Add(f.in.cfg.Limits.RefetchEvery)), s.did)
	if err != nil || !nothing {
		return err
	}
	_, err = tx.ExecContext(ctx, `DELETE FROM ingest_repo WHERE did = $1 AND rev = $2 AND NOT wanted`, s.did, rev)
	return err
}

// failed puts a fetch off. A repository that its host does not give out is
// not asked for again until there is a reason.
func (f *fetcher) failed(ctx context.Context, tx *store.Tx, did syntax.DID, reason error) error {
	gone := errors.Is(reason, errAbsent)
	var attempts int
	err := tx.QueryRowContext(ctx, `
		UPDATE ingest_repo SET attempts = attempts + 1, error = $1, wanted = NOT CAST($2 AS BOOLEAN)
		WHERE did = $3 RETURNING attempts`, storable(short(reason.Error())), gone, did).Scan(&attempts)
	if err != nil {
		return fmt.Errorf("put off %s: %w", did, err)
	}
	if gone || attempts >= fetchTries {
		if _, err := tx.ExecContext(ctx, `DELETE FROM ingest_repo WHERE did = $1 AND rev = 0 AND base = 0`, did); err != nil {
			return err
		}
	}
	wait := fetchAgainMax
	if attempts < 14 {
		wait = min(fetchAgainMin<<(attempts-1), fetchAgainMax)
	}
	_, err = tx.ExecContext(ctx, `UPDATE ingest_repo SET next_try = $1 WHERE did = $2`,
		store.Micros(f.in.cfg.Now().Add(wait/2+jitter(wait/2))), did)
	return err
}

// hostPlaces bounds the repositories that are fetched from one host at once.
type hostPlaces struct {
	size  int
	mu    sync.Mutex
	hosts map[string]*hostPlace
}

type hostPlace struct {
	free  chan struct{}
	users int
}

// enter waits for a place at a host.
func (p *hostPlaces) enter(ctx context.Context, host string) (leave func(), err error) {
	h := p.come(host)
	select {
	case h.free <- struct{}{}:
		return func() { <-h.free; p.forget(host, h) }, nil
	case <-ctx.Done():
		p.forget(host, h)
		return nil, ctx.Err()
	}
}

// tryEnter takes a place at a host if there is one.
func (p *hostPlaces) tryEnter(host string) (leave func(), ok bool) {
	h := p.come(host)
	select {
	case h.free <- struct{}{}:
		return func() { <-h.free; p.forget(host, h) }, true
	default:
		p.forget(host, h)
		return nil, false
	}
}

func (p *hostPlaces) come(host string) *hostPlace {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[host]
	if h == nil {
		h = &hostPlace{free: make(chan struct{}, p.size)}
		p.hosts[host] = h
	}
	h.users++
	return h
}

func (p *hostPlaces) forget(host string, h *hostPlace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.users--; h.users == 0 {
		delete(p.hosts, host)
	}
}
