package community

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/store"
)

// Queue is where decisions wait; job.Queue is.
type Queue interface {
	Enqueue(ctx context.Context, tx *store.Tx, in job.Insert) (id string, err error)
}

// The kinds of jobs.
const (
	decideJob = "community.decide"
	sweepJob  = "community.sweep"
	personJob = "community.person"
)

// Work says who does the jobs, before the queue runs: once in a while all
// communities are swept for posts that were missed.
func (s *Service) Work(q *job.Queue) {
	q.Register(decideJob, s.decideJob, job.Timeout(2*time.Minute))
	q.Register(sweepJob, s.sweepJob)
	q.Register(personJob, s.personJob)
	q.Periodic(sweepJob, sweepEvery)
}

const (
	// pollEvery is how often the index is asked for what other processes wrote.
	pollEvery = 100 * time.Millisecond
	// seenEvery is how often it is noted that nothing was missed.
	seenEvery = time.Minute
	// seenFor is how long the index remembers changes, with a margin.
	seenFor = 5 * time.Minute
	// sweepEvery finds what was missed all the same, such as posts that were
	// indexed before the profile of their community.
	sweepEvery = 10 * time.Minute
	// sweepPage is how many posts are read at once, sweepStep how many of them
	// one transaction enqueues.
	sweepPage = 5_000
	sweepStep = 200
)

// Wake tells Run that the index has changed. It never blocks.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run watches the index for posts to communities that this instance hosts,
// from wherever they come, and has each decided by a job, until ctx ends. Any
// number of processes may run it.
func (s *Service) Run(ctx context.Context) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if err := s.watch(ctx); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "looking for posts to decide about failed, trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-tick.C:
		}
	}
}

// watch enqueues decisions about what has changed since the last time. Where it
// was is kept with them, so that nothing is missed or done twice however this
// ends.
func (s *Service) watch(ctx context.Context) error {
	seq, err := s.cfg.Index.Seq(ctx)
	if err != nil {
		return err
	}
	var seen, at int64
	err = s.cfg.DB.Read().QueryRowContext(ctx, `SELECT seq, seen_at FROM community_seen WHERE id = 1`).Scan(&seen, &at)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("read how far was looked: %w", err)
	}
	age := s.cfg.Now().Sub(store.FromMicros(at))
	switch {
	case err != nil || seq < seen || age > seenFor:
		return s.saw(ctx, seen, seq, func(tx *store.Tx) error { return s.sweepSoon(ctx, tx, "") })
	case seq == seen && age < seenEvery:
		return nil
	}
	posts, err := s.cfg.Index.UndecidedSince(ctx, s.cfg.Instance, seen, seq)
	if err != nil {
		return err
	}
	return s.saw(ctx, seen, seq, func(tx *store.Tx) error { return s.enqueue(ctx, tx, posts, job.High) })
}

// errSeen says that another process was faster.
var errSeen = errors.New("somebody else has looked")

// saw notes how far was looked, together with what follows from it.
func (s *Service) saw(ctx context.Context, from, to int64, follow func(*store.Tx) error) error {
	err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO community_seen (id, seq, seen_at) VALUES (1, $1, $2)
			ON CONFLICT (id) DO UPDATE SET seq = excluded.seq, seen_at = excluded.seen_at WHERE community_seen.seq = $3`,
			to, store.Micros(s.cfg.Now()), from)
		if err != nil {
			return fmt.Errorf("note how far was looked: %w", err)
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(errSeen, err)
		}
		return follow(tx)
	})
	if errors.Is(err, errSeen) {
		return nil
	}
	return err
}

func (s *Service) enqueue(ctx context.Context, tx *store.Tx, posts []index.Undecided, priority int) error {
	for _, p := range posts {
		if err := s.decideSoon(ctx, tx, deciding{p.Community, p.Author, p.RKey}, priority); err != nil {
			return err
		}
	}
	return nil
}

// deciding names a post to decide about; it is the arguments of the job.
type deciding struct {
	Community syntax.DID       `json:"community"`
	Author    syntax.DID       `json:"author"`
	RKey      syntax.RecordKey `json:"rkey"`
}

// decideSoon enqueues the decision about a post. There is one at a time, so
// that no two contradict each other; one that runs already runs once more.
func (s *Service) decideSoon(ctx context.Context, tx *store.Tx, d deciding, priority int) error {
	_, err := s.cfg.Jobs.Enqueue(ctx, tx, job.Insert{
		Kind: decideJob, Args: d, Unique: d.Community.String() + " " + d.Author.String() + " " + d.RKey.String(), Priority: priority,
	})
	return err
}

// sweepSoon enqueues a look at everything undecided in a community, in all of
// them when it is empty.
func (s *Service) sweepSoon(ctx context.Context, tx *store.Tx, community syntax.DID) error {
	_, err := s.cfg.Jobs.Enqueue(ctx, tx, job.Insert{Kind: sweepJob, Args: sweeping{community.String()}, Unique: "community " + community.String()})
	return err
}

// sweeping names the community to sweep; none means all, as the period says.
type sweeping struct {
	Community string `json:"community,omitempty"`
}

// sweepJob enqueues decisions about everything that is undecided; where it was
// not asked for, without what waits for somebody.
func (s *Service) sweepJob(ctx context.Context, j job.Job) error {
	var args sweeping
	if err := j.Decode(&args); err != nil {
		return err
	}
	communities, err := s.cfg.Index.HostedBy(ctx, s.cfg.Instance)
	if err != nil {
		return err
	}
	for _, c := range communities {
		if args.Community != "" && c.DID.String() != args.Community {
			continue
		}
		hosts, err := s.hosts(ctx, c.DID)
		if err != nil {
			return err
		}
		if !hosts {
			continue
		}
		if err := s.sweep(ctx, c.DID, args.Community != ""); err != nil {
			return fmt.Errorf("sweep %s: %w", c.DID, err)
		}
	}
	return nil
}

// sweep enqueues decisions about a community's undecided posts, all of them or
// without those that wait.
func (s *Service) sweep(ctx context.Context, community syntax.DID, all bool) error {
	waiting, err := s.waiting(ctx, community)
	if err != nil {
		return err
	}
	if all {
		clear(waiting)
	}
	var after *index.Undecided
	for {
		page, err := s.cfg.Index.UndecidedIn(ctx, community, after, sweepPage)
		if err != nil || len(page) == 0 {
			return err
		}
		after = &page[len(page)-1]
		var open []index.Undecided
		for _, u := range page {
			if waiting[deciding{u.Community, u.Author, u.RKey}] != u.CID {
				open = append(open, u)
			}
		}
		for part := range slices.Chunk(open, sweepStep) {
			err := s.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return s.enqueue(ctx, tx, part, job.Normal) })
			if err != nil {
				return err
			}
		}
	}
}

// waiting lists the posts that nothing is to be done about for now, and the
// version that waits.
func (s *Service) waiting(ctx context.Context, community syntax.DID) (map[deciding]syntax.CID, error) {
	rows, err := s.cfg.DB.Read().QueryContext(ctx, `
		SELECT author, rkey, cid FROM community_review WHERE community = $1 AND verdict IS NULL AND (due IS NULL OR due > $2)`,
		community, store.Micros(s.cfg.Now()))
	if err != nil {
		return nil, fmt.Errorf("list what waits: %w", err)
	}
	out := map[deciding]syntax.CID{}
	err = each(rows, func() error {
		d := deciding{Community: community}
		var cid syntax.CID
		err := rows.Scan(&d.Author, &d.RKey, &cid)
		out[d] = cid
		return err
	})
	return out, err
}
