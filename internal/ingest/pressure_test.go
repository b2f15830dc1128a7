package ingest

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestBackPressure holds that a host which sends faster than the database writes
// has to wait: what is read ahead is bounded, and nothing of it is lost.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const frames, size = 1250, 16 << 10 // 20 MB, more than sockets hold
		w, h := newWorld(), newHost(t)
		list := make([]sent, frames)
		for n := range list {
			record := postRecord(commons, fmt.Sprint("post ", n))
			record["more"] = strings.Repeat("x", size) // which no lexicon names: nobody counts its graphemes
			list[n] = w.commit(int64(n+1), fmt.Sprintf("did:plc:filler%d", n%50), rev(n+1), recordOp{action: "create", path: postPath(key(n)), record: record})
		}
		var written atomic.Int64
		h.misbehave = func(conn *websocket.Conn, _ string) bool {
			ctx := conn.CloseRead(context.Background())
			for _, f := range list {
				if conn.Write(ctx, websocket.MessageBinary, f.bytes) != nil {
					return true
				}
				written.Add(int64(len(f.bytes)))
			}
			<-ctx.Done()
			return true
		}
		execute(t, db, `ALTER TABLE post RENAME TO post_away`)
		limits := quick()
		limits.Pending = 512 << 10
		r := start(t, db, limits, nil, h)
		last := int64(-1)
		await(t, "the host to be held up", func() bool {
			time.Sleep(200 * time.Millisecond)
			before := last
			last = written.Load()
			return last > 0 && last == before
		})
		if last > frames*size/2 {
			t.Errorf("%d bytes were taken while nothing could be written, want %d and what sockets hold", last, limits.Pending)
		}
		execute(t, db, `ALTER TABLE post_away RENAME TO post`)
		await(t, "all posts", func() bool { return r.cursor(t, h) == frames })
		if got := len(r.shown(t)); got != frames {
			t.Errorf("%d posts, want %d", got, frames)
		}
	})
}
