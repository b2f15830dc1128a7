package feed

import (
	"sync"
	"time"
)

const (
	// pagesMost bounds the pages that are kept, in bytes of records.
	pagesMost = 32 << 20
	// pageCost is about what a page takes besides its records.
	pageCost = 8 << 10
	// pageLife is how long a page may be served though nothing in the index has
	// changed: bans end by the clock alone, and timeframes move.
	pageLife = 2 * time.Second
)

// pageCache keeps first pages of visitors, who all see the same, for as long as
// nothing in the index changes.
type pageCache struct {
	mu    sync.Mutex
	seq   int64
	size  int
	pages map[Query]cached
}

type cached struct {
	page Page
	at   time.Time
}

func (q Query) shared() bool { return q.Viewer == "" && q.Cursor == "" }

func (c *pageCache) get(q Query, seq int64, now time.Time) (Page, bool) {
	if !q.shared() {
		return Page{}, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.pages[q]
	return k.page, ok && c.seq == seq && now.Sub(k.at) < pageLife
}

func (c *pageCache) put(q Query, seq int64, now time.Time, page Page) {
	if !q.shared() {
		return
	}
	size := pageCost
	for _, p := range page.Posts {
		size += len(p.Record)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq < c.seq {
		return
	}
	if c.size += size; seq > c.seq || c.size > pagesMost || c.pages == nil {
		c.seq, c.size, c.pages = seq, size, map[Query]cached{}
	}
	c.pages[q] = cached{page, now}
}
