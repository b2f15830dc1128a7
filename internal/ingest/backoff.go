package ingest

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff spaces attempts: each wait is up to twice as long as the one before,
// and spread by half so that many who lost the same host do not come together.
type backoff struct {
	min, max, next time.Duration
}

// wait sleeps; it returns false when ctx ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(b.next, b.min), b.max)
	pause := b.next/2 + rand.N(b.next/2+1)
	b.next *= 2
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// reset begins anew after something has worked.
func (b *backoff) reset() { b.next = 0 }

// jitter is a random part of d.
func jitter(d time.Duration) time.Duration { return rand.N(d + 1) }
