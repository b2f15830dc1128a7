package feed

import (
	"sync"
	"time"
)

const (
	// pagesMost bounds the pages that are kept.
	pagesMost = 512
	// pageLife is how long a page may be served though nothing in the index has
	// changed: bans end and timeframes move by the clock alone.
	pageLife = time.Second
)

// pageCache keeps first pages of visitors, who all see the same, for as long as
// nothing in the index changes.
type pageCache struct {
	mu    sync.Mutex
	seq   int64
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
	c.mu.Lock()
	defer c.mu.Unlock()
	if seq < c.seq {
		return
	}
	if seq > c.seq || len(c.pages) >= pagesMost || c.pages == nil {
		c.seq, c.pages = seq, map[Query]cached{}
	}
	c.pages[q] = cached{page, now}
}
