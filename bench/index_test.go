package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

const (
	indexCommunities = 2_000
	indexBatch       = 5_000
	rawRows          = 500
	indexLanes       = 2
)

// BenchmarkIndex is the way of events from decoded commits to committed rows
// with their counters: a mix of mostly votes on an index that holds posts,
// communities and accounts. The baselines, raw and on PostgreSQL raw-copy, are in
// the same run: see rawInserts. One iteration is one event.
func BenchmarkIndex(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db, x, load := filledIndex(b, engine)
			raw := rawInserts(b, db)
			b.Run("events", func(b *testing.B) { load.events(b, db, x, raw) })
		})
	}
}

// indexLoad makes events.
type indexLoad struct {
	random *rand.Rand
	start  time.Time
	// posts and accounts are there before.
	posts, accounts int
	serial          int // of commits
}

// filledIndex is an index that holds what is there before.
func filledIndex(b *testing.B, engine store.Engine) (*store.DB, *index.Index, *indexLoad) {
	b.Helper()
	db := storetest.New(b, engine)
	x, err := index.New(index.Config{DB: db})
	must(b, err)
	load := &indexLoad{random: rand.New(rand.NewPCG(1, 2)), start: time.Now().Add(-time.Hour),
		posts: size.Size(20_000, 200_000), accounts: size.Size(5_000, 50_000)}
	load.fill(b, db, x)
	return db, x, load
}

func (l *indexLoad) did(n int) syntax.DID       { return syntax.DID(fmt.Sprintf("did:plc:%024d", n)) }
func (l *indexLoad) community(n int) syntax.DID { return l.did(l.accounts + n) }

func (l *indexLoad) post(n int) syntax.ATURI {
	return syntax.ATURI(fmt.Sprintf("at://%s/%s/%s", l.did(n%l.accounts), index.PostCollection, l.key(n)))
}

func (l *indexLoad) key(n int) syntax.TID {
	return syntax.NewTIDFromTime(l.start.Add(time.Duration(n)*time.Millisecond), 1)
}

// event is one commit with one create.
type indexEvent struct {
	did syntax.DID
	rev syntax.TID
	op  index.Op
}

func (l *indexLoad) create(did syntax.DID, collection syntax.NSID, key syntax.TID, record map[string]any) indexEvent {
	record["$type"], record["createdAt"] = string(collection), l.start.UTC().Format("2006-01-02T15:04:05.000Z")
	return indexEvent{did, key, index.Op{Action: index.Create, Collection: collection, RKey: syntax.RecordKey(key),
		CID: "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", Record: record}}
}

func (l *indexLoad) strong(uri syntax.ATURI) map[string]any {
	return map[string]any{"uri": string(uri), "cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"}
}

// next draws an event of the mix: 85 % votes, 8 % comments, 4 % subscriptions,
// 3 % posts.
func (l *indexLoad) next() indexEvent {
	l.serial++
	key := l.key(l.posts + l.serial)
	who := l.did(l.random.IntN(l.accounts))
	subject := l.strong(l.post(l.random.IntN(l.posts)))
	switch n := l.random.IntN(100); {
	case n < 85:
		return l.create(who, index.VoteCollection, key, map[string]any{
			"subject": subject, "direction": []string{"up", "up", "up", "down"}[l.random.IntN(4)]})
	case n < 93:
		return l.create(who, index.CommentCollection, key, map[string]any{
			"content": strings.Repeat("words ", 20), "reply": map[string]any{"root": subject, "parent": subject}})
	case n < 97:
		return l.create(who, index.SubscriptionCollection, key, map[string]any{
			"subject": string(l.community(l.random.IntN(indexCommunities)))})
	}
	return l.newPost(who, key)
}

func (l *indexLoad) newPost(who syntax.DID, key syntax.TID) indexEvent {
	return l.create(who, index.PostCollection, key, map[string]any{
		"community": string(l.community(l.random.IntN(indexCommunities))), "title": "a title", "content": strings.Repeat("words ", 40)})
}

// fill loads what is there before.
func (l *indexLoad) fill(b *testing.B, db *store.DB, x *index.Index) {
	b.Helper()
	batch := make([]indexEvent, 0, indexBatch)
	for n := range l.posts {
		batch = append(batch, l.newPost(l.did(n%l.accounts), l.key(n)))
		if len(batch) == indexBatch {
			applyEvents(b, db, x, batch)
			batch = batch[:0]
		}
	}
	applyEvents(b, db, x, batch)
	if db.Engine() == store.Postgres {
		err := db.Tx(b.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(b.Context(), `ANALYZE`)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func (l *indexLoad) events(b *testing.B, db *store.DB, x *index.Index, raw rawRates) {
	all := make([]indexEvent, b.N)
	for i := range all {
		all[i] = l.next()
	}
	b.ReportAllocs()
	b.ResetTimer()
	used := startCPU()
	for len(all) > 0 {
		n := min(len(all), indexBatch)
		applyEvents(b, db, x, all[:n])
		all = all[n:]
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	raw.report(b)
	used.report(b)
}

// applyEvents validates on all lanes, then commits.
func applyEvents(b *testing.B, db *store.DB, x *index.Index, events []indexEvent) {
	b.Helper()
	commits := make([]index.Commit, len(events))
	var wg sync.WaitGroup
	for lane := range indexLanes {
		wg.Go(func() {
			for i := lane; i < len(events); i += indexLanes {
				e := events[i]
				c, drops := x.Prepare(e.did, e.rev, []index.Op{e.op})
				if len(drops) > 0 {
					b.Errorf("dropped: %v", drops)
				}
				commits[i] = c
			}
		})
	}
	wg.Wait()
	err := db.Tx(b.Context(), func(tx *store.Tx) error {
		_, err := x.Apply(b.Context(), tx, commits)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// rawRates are what rawInserts measured, in rows a second. byCopy is 0 where there
// is no COPY.
type rawRates struct{ byInsert, byCopy float64 }

// report tells what share of each the events of a benchmark are.
func (r rawRates) report(b *testing.B) {
	rate := float64(b.N) / b.Elapsed().Seconds()
	if r.byInsert > 0 {
		b.ReportMetric(100*rate/r.byInsert, "%-of-raw")
	}
	if r.byCopy > 0 {
		b.ReportMetric(100*rate/r.byCopy, "%-of-raw-copy")
	}
}

// rawInserts is the most that can be: rows of 450 bytes with a unique URI, 500 to
// a transaction, nothing read, nothing counted. "raw" is by INSERT: one statement
// of many rows, given as arrays, on PostgreSQL, a prepared one for each row on
// SQLite. "raw-copy" is by COPY, which is PostgreSQL's own way of loading tables
// and asks for no more than to have the rows.
func rawInserts(b *testing.B, db *store.DB) (rates rawRates) {
	if db.Engine() == store.SQLite {
		b.Run("raw", func(b *testing.B) { rates.byInsert = rawRun(b, db, "raw_post", "") })
		return rates
	}
	// With something after it a statement is not made a COPY by store.
	b.Run("raw", func(b *testing.B) { rates.byInsert = rawRun(b, db, "raw_post", "WHERE true") })
	b.Run("raw-copy", func(b *testing.B) { rates.byCopy = rawRun(b, db, "raw_copied", "") })
	return rates
}

func rawRun(b *testing.B, db *store.DB, table, tail string) (rate float64) {
	ctx := b.Context()
	if err := db.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, `DROP TABLE IF EXISTS `+table); err != nil { // of the run before
			return err
		}
		_, err := tx.ExecContext(ctx, `CREATE TABLE `+table+` (
		    id BIGINT NOT NULL PRIMARY KEY, uri TEXT COLLATE "C" NOT NULL UNIQUE, created_at BIGINT NOT NULL, record BYTEA NOT NULL)`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, uint64(b.N)))
	b.ReportAllocs()
	b.ResetTimer()
	used := startCPU()
	for left := b.N; left > 0; left -= rawRows {
		if err := rawBatch(ctx, db, random, min(left, rawRows), table, tail); err != nil {
			b.Fatal(err)
		}
	}
	rate = float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "rows/s")
	used.report(b)
	return rate
}

func rawBatch(ctx context.Context, db *store.DB, random *rand.Rand, rows int, table, tail string) error {
	record := []byte(strings.Repeat("x", 350))
	t := store.Table{Names: "id, uri, created_at, record", Types: []string{"BIGINT", "TEXT", "BIGINT", "BYTEA"}}
	for range rows {
		t.Rows = append(t.Rows, []any{random.Int64(), fmt.Sprintf("at://did:plc:%024d/%s/%d", random.IntN(50_000),
			index.PostCollection, random.Int64()), random.Int64(), record})
	}
	return db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.Insert(ctx, table, t, tail)
		return err
	})
}
