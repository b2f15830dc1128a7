package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// BenchmarkVisible is the time from a frame of a stream to the first page that
// shows its post: while nothing else happens, and while the stream brings events
// as fast as they are taken. One iteration is one post.
func BenchmarkVisible(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db, x, load := filledIndex(b, engine)
			feeds := newFeeds(b, x)
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- feeds.Run(ctx) }()
			for !feeds.Loaded() {
				time.Sleep(time.Millisecond)
			}
			b.Run("idle", func(b *testing.B) { (&watched{load: load, feeds: feeds}).run(b, db, x, false) })
			b.Run("saturated", func(b *testing.B) { (&watched{load: load, feeds: feeds}).run(b, db, x, true) })
			stop()
			must(b, <-done)
		})
	}
}

// watched is a stream with posts in it that somebody waits for.
type watched struct {
	load  *indexLoad
	feeds *feed.Feeds
	posts chan []byte
	sent  chan time.Time
}

func (w *watched) run(b *testing.B, db *store.DB, x *index.Index, busy bool) {
	w.posts, w.sent = make(chan []byte, 1), make(chan time.Time, 1)
	begin := make(chan struct{})
	_, stop := follow(b, db, x, begin, w.next(b.Context(), busy))
	close(begin)
	if busy {
		time.Sleep(500 * time.Millisecond) // until what is between is full
	}
	took := make([]time.Duration, 0, b.N)
	b.ResetTimer()
	for range b.N {
		uri, frame := w.post()
		w.posts <- frame
		at := <-w.sent
		for !w.shows(b, uri) {
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(at))
	}
	b.StopTimer()
	stop()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// next is the stream: nil ends it, an empty message has what was said leave.
func (w *watched) next(ctx context.Context, busy bool) func() []byte {
	var first []byte
	flush := false
	return func() []byte {
		if flush {
			flush = false
			return []byte{}
		}
		if !busy {
			select {
			case first = <-w.posts:
			case <-ctx.Done():
				return nil
			}
			w.sent <- time.Now()
			flush = true
			return first
		}
		select {
		case first = <-w.posts:
			w.sent <- time.Now()
			return first
		case <-ctx.Done():
			return nil
		default:
			return w.load.frame(time.Now().UnixMicro())
		}
	}
}

// post is a post that is newer than all others.
func (w *watched) post() (syntax.ATURI, []byte) {
	now := time.Now()
	w.load.serial++
	who, key := w.load.did(w.load.serial%w.load.accounts), syntax.NewTIDFromTime(now, uint(w.load.serial%1024))
	raw, err := json.Marshal(map[string]any{"did": who, "time_us": now.UnixMicro(), "kind": "commit", "commit": map[string]any{
		"rev": key, "operation": "create", "collection": index.PostCollection, "rkey": key,
		"cid": "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", "record": map[string]any{
			"$type": index.PostCollection, "community": w.load.community(0), "title": "news", "createdAt": now.UTC().Format("2006-01-02T15:04:05.000000Z")}}})
	if err != nil {
		panic(err)
	}
	return syntax.ATURI(fmt.Sprintf("at://%s/%s/%s", who, index.PostCollection, key)), raw
}

func (w *watched) shows(b *testing.B, uri syntax.ATURI) bool {
	page, err := w.feeds.Page(b.Context(), feed.Query{Listing: feed.All, Sort: feed.Newest, Limit: 1})
	must(b, err)
	return len(page.Posts) > 0 && page.Posts[0].URI() == uri
}
