package bench

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

const (
	feedPeople      = 20_000
	feedCommunities = 2_000
	feedFollows     = 100
	feedBlocks      = 200
	feedReaders     = 8
	// Rows of accounts: people from 1 on, communities after them.
	firstCommunity = 1_000_000
	// feedMember is who looks; the accounts of indexLoad are others.
	feedMember = 15_000
)

// pagesLate is as the program has it.
const pagesLate = 2 * time.Millisecond

// library is an index full of posts, and a member who follows and blocks many.
type library struct {
	cfg    store.Config
	db     *store.DB
	index  *index.Index
	feeds  *feed.Feeds
	member syntax.DID
	random *rand.Rand
}

func libraryDID(n int64) syntax.DID { return syntax.DID(fmt.Sprintf("did:plc:%024d", n)) }

// BenchmarkFeed is pages in process, whole, as members and visitors get them, at
// ten thousand posts and, with TEST_SIZE=full, at a million: the home page of a
// member who follows 100 communities and blocks 200 people; a community's page by
// eight readers, alone and while the indexer is saturated; and the start.
func BenchmarkFeed(b *testing.B) {
	sizes := []int{10_000}
	if size.Full() {
		sizes = append(sizes, 1_000_000)
	}
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		for _, posts := range sizes {
			b.Run(fmt.Sprintf("%s/%d", engine, posts), func(b *testing.B) {
				l := newLibrary(b, engine, posts)
				b.Run("home", func(b *testing.B) { l.pages(b, l.home) })
				b.Run("community", func(b *testing.B) { l.parallel(b, l.community) })
				b.Run("community-member", func(b *testing.B) { l.parallel(b, l.communityAsMember) })
				b.Run("community-members", func(b *testing.B) { l.parallel(b, l.communityAsAnybody) })
				b.Run("community-indexing", func(b *testing.B) { l.whileIndexing(b, l.community) })
				b.Run("community-member-indexing", func(b *testing.B) { l.whileIndexing(b, l.communityAsMember) })
				b.Run("start", l.start)
			})
		}
	}
}

func newLibrary(b *testing.B, engine store.Engine, posts int) *library {
	b.Helper()
	l := &library{cfg: storetest.NewConfig(b, engine), member: libraryDID(feedMember), random: rand.New(rand.NewPCG(1, 2))}
	l.db = storetest.Open(b, l.cfg)
	var err error
	if l.index, err = index.New(index.Config{DB: l.db}); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	l.accounts(b)
	l.posts(b, posts)
	l.settle(b)
	b.Logf("%d posts written in %v", posts, time.Since(began).Round(time.Millisecond))
	l.feeds = newFeeds(b, l.index)
	l.load(b, posts)
	return l
}

func newFeeds(b *testing.B, x *index.Index) *feed.Feeds {
	b.Helper()
	cursors, err := index.NewCursors(make([]byte, 32))
	must(b, err)
	feeds, err := feed.New(feed.Config{Index: x, Cursors: cursors, Logger: slog.New(slog.DiscardHandler), Late: pagesLate})
	must(b, err)
	return feeds
}

// load starts the feeds and waits until they are in memory.
func (l *library) load(b *testing.B, posts int) {
	b.Helper()
	before := heap()
	began := time.Now()
	if _, err := l.feeds.Page(b.Context(), l.home(0)); err != nil {
		b.Fatal(err)
	}
	b.Logf("first home page, before anything is loaded: %v", time.Since(began).Round(time.Microsecond))
	go func() { _ = l.feeds.Run(b.Context()) }()
	for !l.feeds.Loaded() {
		time.Sleep(10 * time.Millisecond)
	}
	b.Logf("in memory after %v, %d bytes for each post", time.Since(began).Round(time.Millisecond), (heap()-before)/int64(posts))
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// insert writes rows in transactions of some thousand.
func (l *library) insert(b *testing.B, table, names string, types []string, n int, row func(i int) []any) {
	b.Helper()
	const batch = 5000
	for at := 0; at < n; at += batch {
		t := store.Table{Names: names, Types: types}
		for i := at; i < min(n, at+batch); i++ {
			t.Rows = append(t.Rows, row(i))
		}
		err := l.db.Tx(b.Context(), func(tx *store.Tx) error {
			_, err := tx.Insert(b.Context(), table, t, "")
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func (l *library) accounts(b *testing.B) {
	kinds := []string{"BIGINT", "TEXT", "TEXT", "BOOLEAN", "BIGINT", "BIGINT"}
	l.insert(b, "account", "id, did, handle, active, status_at, resolve_attempts", kinds, feedPeople+feedCommunities, func(i int) []any {
		id := int64(i + 1)
		if i >= feedPeople {
			id = firstCommunity + int64(i-feedPeople)
		}
		return []any{id, libraryDID(id), fmt.Sprintf("a%d.example.com", id), true, int64(0), int64(0)}
	})
	l.insert(b, "community", "account_id, rev, name, visibility, record", []string{"BIGINT", "BIGINT", "TEXT", "SMALLINT", "BYTEA"}, feedCommunities,
		func(i int) []any {
			return []any{int64(firstCommunity + i), int64(1), fmt.Sprint("c", i), int64(0), []byte(`{}`)}
		})
	stands := []string{"BIGINT", "BIGINT", "BIGINT", "SMALLINT", "BIGINT"}
	l.insert(b, "subscription", "account_id, tid, rev, value, subject_id", stands, feedFollows, func(i int) []any {
		return []any{int64(feedMember), int64(i + 1), int64(1), int64(1 + i%5), int64(firstCommunity + i*7)}
	})
	l.insert(b, "person_block", "account_id, tid, rev, value, subject_id", stands, feedBlocks, func(i int) []any {
		return []any{int64(feedMember), int64(i + 1), int64(1), int64(1), int64(2 + i)}
	})
}

// posts spreads posts over eleven months, all accepted.
func (l *library) posts(b *testing.B, n int) {
	now := time.Now().UnixMicro()
	step := (330 * 24 * time.Hour).Microseconds() / int64(n)
	record := []byte(`{"title":"a title","content":"` + strings.Repeat("words ", 60) + `"}`)
	at := func(i int) int64 { return now - int64(n-i)*step }
	id := func(i int) int64 { return int64(i+1) << 20 }
	community := func(i int) int64 { return firstCommunity + int64(i*7919%feedCommunities) }
	l.insert(b, "post", "id, author_id, rkey, rev, deleted, indexed_at, state, community_id, cid, created_at, record",
		[]string{"BIGINT", "BIGINT", "TEXT", "BIGINT", "BOOLEAN", "BIGINT", "SMALLINT", "BIGINT", "TEXT", "BIGINT", "BYTEA"}, n, func(i int) []any {
			key := syntax.NewTIDFromTime(time.UnixMicro(at(i)), uint(i%1024))
			return []any{id(i), int64(1 + i%feedPeople), string(key), int64(key.Integer()), false, at(i), int64(1), community(i),
				"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", at(i), record}
		})
	l.insert(b, "post_rank", "post_id, community_id, state, created_at, hot_band, top_band, hot, score, upvotes, downvotes, comments",
		[]string{"BIGINT", "BIGINT", "SMALLINT", "BIGINT", "BIGINT", "SMALLINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT"}, n, func(i int) []any {
			score := int64(i * 31 % 15)
			hot := (at(i)-1735689600000000)/45000 + score*80_000
			return []any{id(i), community(i), int64(1), at(i), hot >> 22, int64(0), hot, score, score, int64(0), int64(i % 9)}
		})
}

// settle has the engine know what it holds, as hours of running would (see
// store.DB.Run: samples of every index would have SQLite plan each query anew).
func (l *library) settle(b *testing.B) {
	b.Helper()
	err := l.db.Tx(b.Context(), func(tx *store.Tx) error {
		if l.db.Engine() == store.SQLite {
			if _, err := tx.ExecContext(b.Context(), `PRAGMA analysis_limit = 400`); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(b.Context(), `ANALYZE`)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

func (l *library) home(int) feed.Query {
	return feed.Query{Listing: feed.Home, Sort: feed.Hot, Viewer: l.member, Limit: 15}
}

func (l *library) community(i int) feed.Query {
	return feed.Query{Listing: feed.Community, Community: libraryDID(firstCommunity + int64(i%feedCommunities)), Sort: feed.Hot, Limit: 15}
}

func (l *library) communityAsMember(i int) feed.Query {
	q := l.community(i)
	q.Viewer = l.member
	return q
}

// communityAsAnybody is as many members one after the other, of whom nothing is in
// memory yet at first.
func (l *library) communityAsAnybody(i int) feed.Query {
	q := l.community(i)
	q.Viewer = libraryDID(int64(1 + i%feedPeople))
	return q
}

// start is another process that opens the same database, until it would say that it
// is ready, and its first home page. What it loads for later is not waited for.
func (l *library) start(b *testing.B) {
	for range b.N {
		db, err := store.Open(b.Context(), l.cfg)
		must(b, err)
		x, err := index.New(index.Config{DB: db})
		must(b, err)
		feeds := newFeeds(b, x)
		ctx, stop := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- feeds.Run(ctx) }()
		must(b, feeds.Probe(ctx))
		_, err = feeds.Page(ctx, l.home(0))
		must(b, err)
		b.StopTimer()
		stop()
		must(b, <-done)
		must(b, db.Close())
		b.StartTimer()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/start")
}

// pages asks one by one and tells how long the slowest take.
func (l *library) pages(b *testing.B, query func(int) feed.Query) {
	took := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	used := startCPU()
	b.ResetTimer()
	for i := range b.N {
		began := time.Now()
		page, err := l.feeds.Page(b.Context(), query(i))
		if err != nil || len(page.Posts) == 0 {
			b.Fatalf("%d posts, %v", len(page.Posts), err)
		}
		took = append(took, time.Since(began))
	}
	used.report(b)
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// parallel has eight readers ask for different pages.
func (l *library) parallel(b *testing.B, query func(int) feed.Query) {
	b.ReportAllocs()
	used := startCPU()
	b.ResetTimer()
	l.readers(b, query, func(n int64) bool { return n <= int64(b.N) })
	used.report(b)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pages/s")
}

// readers has eight readers ask for pages as long as more says so of the number of
// the next one. It returns how many they got in a second.
func (l *library) readers(b *testing.B, query func(int) feed.Query, more func(n int64) bool) float64 {
	var n, read atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range feedReaders {
		wg.Go(func() {
			for i := n.Add(1); more(i); i = n.Add(1) {
				if _, err := l.feeds.Page(b.Context(), query(int(i)*13)); err != nil {
					b.Error(err)
				}
				read.Add(1)
			}
		})
	}
	wg.Wait()
	return float64(read.Load()) / time.Since(began).Seconds()
}

// whileIndexing is pages by eight readers while events are indexed as fast as they
// can be, and how much that is of what the same readers get without, right before.
// One iteration is a second without, two while indexing.
func (l *library) whileIndexing(b *testing.B, query func(int) feed.Query) {
	load := &indexLoad{random: rand.New(rand.NewPCG(5, uint64(b.N))), start: time.Now().Add(-time.Hour), posts: 2000, accounts: 5000}
	var alone, beside, events float64
	l.readers(b, query, func(n int64) bool { return n <= feedCommunities }) // everything once
	for range b.N {
		alone += l.readers(b, query, within(time.Second)) / float64(b.N)
		stop, applied := make(chan struct{}), make(chan int)
		go l.indexing(b, load, stop, applied)
		<-applied // it is at it
		began := time.Now()
		beside += l.readers(b, query, within(2*time.Second)) / float64(b.N)
		close(stop)
		events += float64(<-applied) / time.Since(began).Seconds() / float64(b.N)
	}
	b.ReportMetric(alone, "alone-pages/s")
	b.ReportMetric(beside, "pages/s")
	b.ReportMetric(100*beside/alone, "%-of-alone")
	b.ReportMetric(events, "events/s")
}

func within(d time.Duration) func(int64) bool {
	end := time.Now().Add(d)
	return func(int64) bool { return time.Now().Before(end) }
}

// indexing applies events until stop. It tells when the first are applied, and
// how many were since.
func (l *library) indexing(b *testing.B, load *indexLoad, stop <-chan struct{}, applied chan<- int) {
	sum := -indexBatch
	for {
		batch := make([]indexEvent, indexBatch)
		for i := range batch {
			batch[i] = load.next()
		}
		applyEvents(b, l.db, l.index, batch)
		if sum += len(batch); sum == 0 {
			applied <- 0
		}
		select {
		case <-stop:
			applied <- sum
			return
		default:
		}
	}
}

// BenchmarkThread is the first page of a thread of 5,000 comments, with what
// stands below each of its first fifty.
func BenchmarkThread(b *testing.B) {
	const comments = 5000
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			l := &library{db: storetest.New(b, engine), random: rand.New(rand.NewPCG(1, 2))}
			var err error
			if l.index, err = index.New(index.Config{DB: l.db}); err != nil {
				b.Fatal(err)
			}
			load := &indexLoad{random: l.random, start: time.Now().Add(-2 * time.Hour), posts: 1, accounts: 1000}
			load.fill(b, l.db, l.index)
			root := load.strong(load.post(0))
			parents := []map[string]any{root}
			for len(parents) < comments {
				var batch []indexEvent
				for range 500 {
					load.serial++
					who, key := load.did(load.serial%load.accounts), load.key(load.posts+load.serial)
					parent := root
					if l.random.IntN(10) > 0 {
						parent = parents[l.random.IntN(len(parents))]
					}
					batch = append(batch, load.create(who, index.CommentCollection, key, map[string]any{
						"content": strings.Repeat("words ", 30), "reply": map[string]any{"root": root, "parent": parent}}))
					parents = append(parents, load.strong(syntax.ATURI("at://"+string(who)+"/"+string(index.CommentCollection)+"/"+string(key))))
				}
				applyEvents(b, l.db, l.index, batch)
			}
			l.settle(b)
			l.threads(b, load.post(0))
		})
	}
}

func (l *library) threads(b *testing.B, root syntax.ATURI) {
	b.Helper()
	feeds := newFeeds(b, l.index)
	b.ReportAllocs()
	used := startCPU()
	b.ResetTimer()
	for range b.N {
		if _, err := feeds.Thread(b.Context(), feed.ThreadQuery{Post: root, Sort: feed.Hot, Limit: 50, Depth: 10}); err != nil {
			b.Fatal(err)
		}
	}
	used.report(b)
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/1000, "ms/page")
}
