package ingest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// countEvery is how often what commands show is counted.
const countEvery = 10 * time.Second

// counts keeps what operators' commands, which are other processes, show of
// this one: events a minute and what was passed over.
type counts struct {
	in *Ingester

	mu    sync.Mutex
	drops map[index.Reason]int64 // since they were stored last
}

func newCounts(in *Ingester) *counts { return &counts{in: in, drops: map[index.Reason]int64{}} }

func (c *counts) drop(reason index.Reason) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drops[reason]++
}

// run stores what was counted until ctx ends, and then once more.
func (c *counts) run(ctx context.Context) {
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	began := time.Now()
	for {
		if n, err := c.in.deadCount(ctx); err == nil { // otherwise everything else complains
			c.in.metrics.letters.Set(float64(n))
		}
		select {
		case <-ticker.C:
			c.store(ctx, time.Since(began))
			began = time.Now()
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
			c.store(last, time.Since(began))
			cancel()
			return
		}
	}
}

// store adds what was counted in a while to what is stored.
func (c *counts) store(ctx context.Context, while time.Duration) {
	perMinute := make([]int64, len(c.in.sources))
	for i, s := range c.in.sources {
		perMinute[i] = int64(float64(s.events.Swap(0)) * float64(time.Minute) / float64(max(while, time.Second)))
	}
	c.save(ctx, perMinute)
}

// flush stores what a command has passed over, which listens to no source.
func (c *counts) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	c.save(ctx, nil)
}

// save adds what was passed over to what is stored, and notes the rates of the
// sources, if there are any. What cannot be stored now is kept for the next time.
func (c *counts) save(ctx context.Context, perMinute []int64) {
	c.mu.Lock()
	drops := c.drops
	c.drops = map[index.Reason]int64{}
	c.mu.Unlock()
	err := c.in.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return c.write(ctx, tx, drops, perMinute) })
	if err == nil {
		return
	}
	c.in.log.WarnContext(ctx, "what was counted is not stored, trying again later", "error", err)
	c.mu.Lock()
	defer c.mu.Unlock()
	for reason, n := range drops {
		c.drops[reason] += n
	}
}

func (c *counts) write(ctx context.Context, tx *store.Tx, drops map[index.Reason]int64, perMinute []int64) error {
	now := store.Micros(c.in.cfg.Now())
	for _, reason := range slices.Sorted(maps.Keys(drops)) {
		_, err := tx.ExecContext(ctx, `
			INSERT INTO ingest_drop (reason, dropped, last_at) VALUES (CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BIGINT))
			ON CONFLICT (reason) DO UPDATE SET dropped = ingest_drop.dropped + excluded.dropped, last_at = excluded.last_at`,
			string(reason), drops[reason], now)
		if err != nil {
			return fmt.Errorf("store what was passed over: %w", err)
		}
	}
	for i, rate := range perMinute {
		url := c.in.sources[i].url
		_, err := tx.ExecContext(ctx, `UPDATE ingest_source SET per_minute = $1, counted_at = $2 WHERE url = $3`, rate, now, url)
		if err != nil {
			return fmt.Errorf("store the rate of %s: %w", url, err)
		}
	}
	return nil
}
