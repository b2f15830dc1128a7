package index

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/atoll-social/atoll/internal/store"
)

// batch is one call of Apply. What follows from records is gathered here and
// written once, at the end.
type batch struct {
	tx  *store.Tx
	now int64
	// seq numbers the transaction in the order of commits.
	seq int64
	ids *idSource
	// memory is what all batches share. current tells that all of it holds;
	// lesson is what this one will add.
	memory  *memory
	current bool
	lesson  lesson
	// era is memory's; foreseen, that what the plan has found there holds.
	era      int64
	foreseen bool
	// accounts has the row of every account that the changes name.
	accounts accounts
	// items are the records that the changes refer to.
	items map[itemKey]item

	// touched are posts whose admission is to be looked at again; moved, the
	// keys whose older form may mean another post than before.
	touched map[int64]bool
	moved   map[legacyKey]bool

	people map[int64]accountTally
	posts  map[int64]*postDelta
	deltas []postDelta // room for more of posts, some at a time
	talk   map[int64]commentTally
	// threads are comments whose place in their thread is to be looked at again.
	threads map[int64]int64
	// votes are writes of votes that were put off.
	votes []func() error
	// revoted are accounts whose votes were moved to another post.
	revoted []int64
}

func newBatch(tx *store.Tx, x *Index) *batch {
	return &batch{
		tx: tx, now: store.Micros(x.now()), ids: x.ids, memory: x.memory, lesson: newLesson(),
		items: map[itemKey]item{}, touched: map[int64]bool{}, moved: map[legacyKey]bool{},
		people: map[int64]accountTally{}, posts: map[int64]*postDelta{}, talk: map[int64]commentTally{}, threads: map[int64]int64{},
	}
}

// takeTurn waits until nobody else writes to the index. From here on, what is
// read stays true until the commit, which is what all of applying relies on.
func (b *batch) takeTurn(ctx context.Context, engine store.Engine) error {
	if engine == store.Postgres {
		if _, err := b.tx.ExecContext(ctx, byKeys); err != nil {
			return err
		}
	}
	err := b.tx.QueryRowContext(ctx, `UPDATE index_clock SET seq = seq + 1 WHERE id = 1 RETURNING seq`).Scan(&b.seq)
	b.memory.mu.Lock()
	defer b.memory.mu.Unlock()
	b.current, b.era = b.memory.seq == b.seq-1, b.memory.era
	return err
}

// byKeys has PostgreSQL plan the rest of the transaction by indexes: all that
// applying does is to look up keys. Left alone it plans for the tables as they
// were when a connection was new, and a table that was empty then is read
// whole, again and again, until it is analyzed. What has no index counts as very
// dear then, which must not have the plan compiled.
const byKeys = `SELECT set_config('jit', 'off', true), set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true)`

// settle brings what is derived in line with the records, each step with the
// results of those before.
func (b *batch) settle(ctx context.Context) error {
	steps := []struct {
		name string
		run  func(context.Context) error
	}{
		{"admission", b.settleAdmission},
		{"older references", b.settleLegacy},
		{"moved comments", b.noteThreads},
		{"comments' counters", b.settleTalk},
		{"threads", b.settleThreads},
		{"rank", b.settleRank},
		// Ranking counts what communities have accepted.
		{"accounts' counters", b.settlePeople},
	}
	for _, s := range steps {
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("settle %s: %w", s.name, err)
		}
	}
	return nil
}

// probe looks keys up. The query begins after a table wanted, which has the
// columns named and a row for each key.
func (b *batch) probe(ctx context.Context, columns string, types []string, keys [][]any, query string, scan func(store.Row) error) error {
	return b.tx.Select(ctx, store.Table{Names: columns, Types: types, Rows: keys}, query, scan)
}

// probeNumbers is probe for keys that are numbers, one row after the other.
func (b *batch) probeNumbers(ctx context.Context, columns string, keys []int64, query string, scan func(store.Row) error) error {
	return b.tx.Select(ctx, store.Table{Names: columns, Types: numbers(1 + strings.Count(columns, ",")), Numbers: keys}, query, scan)
}

// numbers are the types of so many columns.
func numbers(columns int) []string { return slices.Repeat([]string{"BIGINT"}, columns) }

// upsert writes rows while the caller goes on (see store.Later); tail says what
// becomes of those that are there.
func (b *batch) upsert(ctx context.Context, table, columns string, types []string, rows [][]any, tail string) {
	b.tx.Later().Insert(ctx, table, store.Table{Names: columns, Types: types, Rows: rows}, tail)
}

// toWrite is rows that are to be written. Those that are not there yet need no
// ON CONFLICT, which PostgreSQL pays for with a second look at each index.
type toWrite struct{ fresh, again [][]any }

func (w *toWrite) add(row []any, there bool) {
	if there {
		w.again = append(w.again, row)
		return
	}
	w.fresh = append(w.fresh, row)
}

// write is upsert that knows what is there.
func (b *batch) write(ctx context.Context, table, columns string, types []string, rows toWrite, tail string) {
	b.upsert(ctx, table, columns, types, rows.fresh, "")
	b.upsert(ctx, table, columns, types, rows.again, tail)
}

// putOff has votes written when all has been read that is to be read: nothing
// else waits for them then.
func (b *batch) putOff(write func() error) { b.votes = append(b.votes, write) }

// writeVotes does what was put off.
func (b *batch) writeVotes() error {
	for _, write := range b.votes {
		if err := write(); err != nil {
			return err
		}
	}
	b.votes = nil
	return nil
}

// idOrNull is the parameter for an id: NULL for none.
func idOrNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}
