package ingest

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// Why a repository is fetched.
const (
	wantGap     = "gap"     // commits are missing before one that is there
	wantSync    = "sync"    // its host says that it is elsewhere now, or that a commit was too big
	wantRequest = "request" // the operator asked
)

// repo is what is known of a repository whose commits are verified.
type repo struct {
	known        bool // there is a row
	rev          int64
	data         *digest // nil until a commit has been verified
	base, broken int64
	// pruned is up to where late commits are not applied, since nothing holds
	// their records back any more.
	pruned int64
	wanted bool
	key    knownKey // which the batch has asked for
}

// step is how an event changes what is known of a repository.
type step struct {
	did syntax.DID
	// rev and data are set when a commit was verified; broken when it did not
	// follow the one before.
	rev    int64
	data   *digest
	broken int64
	// want is why the repository is to be fetched; empty when it is not.
	want string
}

// then is two steps as one.
func (s step) then(next step) step {
	if next.rev < s.rev {
		next.rev, next.data = s.rev, s.data
	}
	next.broken = max(next.broken, s.broken)
	if s.want != "" {
		next.want = s.want
	}
	return next
}

// take makes a step.
func (r *repo) take(s step) {
	if s.rev > r.rev {
		r.rev, r.data = s.rev, s.data
	}
	r.known, r.broken, r.wanted = true, max(r.broken, s.broken), r.wanted || s.want != ""
}

// verdict is what becomes of an event.
type verdict struct {
	apply bool
	drop  *index.Drop
	step  *step
}

func (in *Ingester) doubted(did syntax.DID, r *repo, err error) verdict {
	reason := distrust(err)
	return verdict{
		drop: &index.Drop{Reason: reason, Err: err},
		// What came instead is not known: the next commit will show a gap.
		step: &step{did: did, broken: r.broken, want: string(reason)},
	}
}

// judge decides about a commit. What can be verified is applied, wherever it
// stands: the gate of each record keeps the latest. A commit that does not
// follow the one before, or cannot be believed, has the repository fetched.
// Repositories without records of ours are passed over, and what was before
// the first of them is left to a backfill.
func (in *Ingester) judge(ctx context.Context, did syntax.DID, r *repo, c *commitBody) verdict {
	concerns := c.concerns()
	if !concerns && !r.known {
		return verdict{}
	}
	rev, err := in.revision(c.Rev)
	if err != nil {
		return verdict{drop: err.drop()}
	}
	if rev <= r.base || rev == r.rev {
		return verdict{} // it is here already
	}
	if rev <= r.pruned {
		return r.tooLate(did)
	}
	if c.TooBig {
		return in.leap(ctx, did, r, rev, func(b blocks) (head, error) {
			at, err := c.Commit.digest()
			if err != nil {
				return head{}, err
			}
			return in.eventHead(ctx, r.key, b, at, did, c.Rev)
		}, c.Blocks)
	}
	p, failed := in.prove(ctx, r.key, did, c)
	switch {
	case failed != nil:
		return in.doubted(did, r, failed)
	case rev < r.rev:
		return verdict{apply: concerns} // late, from another source
	}
	s := &step{did: did, rev: rev, data: &p.data}
	if r.known && (r.data == nil || *r.data != p.before) {
		s.broken, s.want = rev, wantGap
	}
	return verdict{apply: concerns, step: s}
}

// tooLate is what becomes of a commit whose records nothing would hold back. If
// the repository was never here as a whole they may be news all the same, and
// it is fetched.
func (r *repo) tooLate(did syntax.DID) verdict {
	if r.base > 0 {
		return verdict{}
	}
	return verdict{step: &step{did: did, broken: r.broken, want: wantGap}}
}

// judgeSync decides about a #sync event.
func (in *Ingester) judgeSync(ctx context.Context, did syntax.DID, r *repo, e *syncBody) verdict {
	if !r.known {
		return verdict{}
	}
	rev, err := in.revision(e.Rev)
	if err != nil {
		return verdict{drop: err.drop()}
	}
	if rev <= r.rev || rev <= r.base {
		return verdict{}
	}
	return in.leap(ctx, did, r, rev, func(b blocks) (head, error) {
		header, _, err := section(e.Blocks)
		if err != nil {
			return head{}, err
		}
		root, err := carRoot(in.decode, header)
		if err != nil {
			return head{}, err
		}
		return in.eventHead(ctx, r.key, b, &root, did, e.Rev)
	}, e.Blocks)
}

// leap follows a repository to a commit whose operations are not told.
func (in *Ingester) leap(_ context.Context, did syntax.DID, r *repo, rev int64, read func(blocks) (head, error), car []byte) verdict {
	b, err := readCAR(car)
	var h head
	if err == nil {
		h, err = read(b)
	}
	if err != nil {
		return in.doubted(did, r, err)
	}
	s := &step{did: did, rev: rev, data: &h.data}
	if r.data == nil || *r.data != h.data {
		s.broken, s.want = rev, wantSync
	}
	return verdict{step: s}
}

// revision reads a revision as the number that it is compared by.
func (in *Ingester) revision(text string) (int64, *dropError) {
	tid := syntax.TID(text).Integer()
	if !index.IsTID(text) || tid == 0 || tid > math.MaxInt64 {
		return 0, &dropError{index.ReasonRev, fmt.Errorf("revision %.20q", text)}
	}
	// Microseconds, and ten bits for a clock (AT Protocol TID specification).
	if ahead := time.UnixMicro(int64(tid >> 10)).Sub(in.cfg.Now()); ahead > maxAhead {
		return 0, &dropError{reasonFuture, fmt.Errorf("revision is %s ahead", ahead.Round(time.Second))}
	}
	return int64(tid), nil
}

func (e *dropError) drop() *index.Drop { return &index.Drop{Reason: e.reason, Err: e.cause} }

// loadRepos reads what is known of repositories; those that are not known
// have a zero repo.
func (in *Ingester) loadRepos(ctx context.Context, dids []syntax.DID) (map[syntax.DID]*repo, error) {
	out := make(map[syntax.DID]*repo, len(dids))
	repos, values, keys := make([]repo, len(dids)), make([]any, len(dids)), make([][]any, 0, len(dids))
	for i, did := range dids {
		if out[did] == nil {
			out[did], values[i] = &repos[i], did
			keys = append(keys, values[i:i+1])
		}
	}
	err := in.cfg.DB.Select(ctx, store.Table{Names: "did", Types: []string{"TEXT"}, Rows: keys}, `
		SELECT r.did, r.rev, r.data, r.base, r.broken, r.pruned, r.wanted
		FROM wanted w CROSS JOIN ingest_repo r WHERE r.did = w.did`,
		func(row store.Row) error {
			var did syntax.DID
			var data []byte
			r := repo{known: true}
			err := row.Scan(&did, &r.rev, &data, &r.base, &r.broken, &r.pruned, &r.wanted)
			if len(data) == len(digest{}) {
				d := digest(data)
				r.data = &d
			}
			*out[did] = r
			return err
		})
	if err != nil {
		return nil, fmt.Errorf("read repositories: %w", err)
	}
	return out, nil
}

// saveSteps writes what events have changed, in the caller's transaction. It
// may happen twice, and in any order with what other sources write.
func (in *Ingester) saveSteps(ctx context.Context, tx *store.Tx, steps []step) error {
	merged := map[syntax.DID]step{}
	for _, s := range steps {
		if have, ok := merged[s.did]; ok {
			s = have.then(s)
		}
		merged[s.did] = s
	}
	list := make([]step, 0, len(merged))
	for _, s := range merged {
		list = append(list, s)
	}
	// One order of locks for everybody.
	slices.SortFunc(list, func(a, b step) int { return strings.Compare(string(a.did), string(b.did)) })
	for len(list) > 0 {
		n := 1 // powers of two: few different statements
		for n*2 <= min(len(list), 32) {
			n *= 2
		}
		if err := in.saveSome(ctx, tx, list[:n]); err != nil {
			return fmt.Errorf("save repositories: %w", err)
		}
		list = list[n:]
	}
	return nil
}

func (in *Ingester) saveSome(ctx context.Context, tx *store.Tx, list []step) error {
	var values strings.Builder
	var args []any
	bind := func(v any, typ string) string {
		args = append(args, v)
		p := "$" + strconv.Itoa(len(args))
		if typ == "" {
			return p // bytes must not be cast
		}
		return "CAST(" + p + " AS " + typ + ")"
	}
	now := bind(store.Micros(in.cfg.Now()), "BIGINT")
	pause := bind(in.cfg.Limits.RefetchEvery.Microseconds(), "BIGINT")
	for i, s := range list {
		var data any
		if s.data != nil {
			data = s.data[:]
		}
		values.WriteString([]string{", (", "("}[b2i(i == 0)])
		values.WriteString(strings.Join([]string{bind(s.did, "TEXT"), bind(s.rev, "BIGINT"), bind(data, ""), "0",
			bind(s.broken, "BIGINT"), bind(s.want != "", "BOOLEAN"), bind(s.want, "TEXT"), now, "0", "''", "0)"}, ", "))
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO ingest_repo (did, rev, data, base, broken, wanted, reason, next_try, attempts, error, fetched_at)
		VALUES `+values.String()+`
		ON CONFLICT (did) DO UPDATE SET
		    data = CASE WHEN excluded.rev > ingest_repo.rev THEN excluded.data ELSE ingest_repo.data END,
		    rev = CASE WHEN excluded.rev > ingest_repo.rev THEN excluded.rev ELSE ingest_repo.rev END,
		    broken = CASE WHEN excluded.broken > ingest_repo.broken THEN excluded.broken ELSE ingest_repo.broken END,
		    reason = CASE WHEN excluded.wanted AND NOT ingest_repo.wanted THEN excluded.reason ELSE ingest_repo.reason END,
		    attempts = CASE WHEN excluded.wanted AND NOT ingest_repo.wanted THEN 0 ELSE ingest_repo.attempts END,
		    next_try = CASE
		        WHEN NOT excluded.wanted OR ingest_repo.wanted THEN ingest_repo.next_try
		        WHEN ingest_repo.fetched_at + `+pause+` > excluded.next_try THEN ingest_repo.fetched_at + `+pause+`
		        ELSE excluded.next_try END,
		    wanted = ingest_repo.wanted OR excluded.wanted`, args...)
	return err
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
