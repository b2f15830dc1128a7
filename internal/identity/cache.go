package identity

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// cache keeps the answers of fetch, good and bad, for a while that depends on
// the answer. Concurrent callers share one fetch, which outlives a caller that
// gives up; the entry used longest ago makes room.
type cache[K comparable, V any] struct {
	size  int
	now   func() time.Time
	fetch func(context.Context, K) (V, error)

	mu      sync.Mutex
	order   *list.List // of *entry, most recently used first
	entries map[K]*list.Element
	flights map[K]*flight[V]
}

type entry[K comparable, V any] struct {
	key     K
	value   V
	err     error
	asked   time.Time // when the fetch began: the answer may be that old
	expires time.Time
}

type flight[V any] struct {
	asked time.Time
	done  chan struct{}
	value V
	err   error
}

func newCache[K comparable, V any](size int, now func() time.Time, fetch func(context.Context, K) (V, error)) *cache[K, V] {
	return &cache[K, V]{
		size: size, now: now, fetch: fetch,
		order: list.New(), entries: make(map[K]*list.Element), flights: make(map[K]*flight[V]),
	}
}

// get returns an answer that was asked for at notBefore or later.
func (c *cache[K, V]) get(ctx context.Context, key K, notBefore time.Time) (V, error) {
	c.mu.Lock()
	now := c.now()
	if el, ok := c.entries[key]; ok {
		e := el.Value.(*entry[K, V])
		if now.Before(e.expires) && !e.asked.Before(notBefore) {
			c.order.MoveToFront(el)
			c.mu.Unlock()
			return e.value, e.err
		}
	}
	f, ok := c.flights[key]
	if !ok || f.asked.Before(notBefore) {
		f = &flight[V]{asked: now, done: make(chan struct{})}
		c.flights[key] = f
		go c.fly(context.WithoutCancel(ctx), key, f)
	}
	c.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, fmt.Errorf("wait for the answer about %v: %w", key, ctx.Err())
	}
}

// peek returns the answer that get would give at once; the value of a bad one is
// zero.
func (c *cache[K, V]) peek(key K) (value V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, known := c.entries[key]; known {
		if e := el.Value.(*entry[K, V]); c.now().Before(e.expires) {
			return e.value, true
		}
	}
	return value, false
}

// fly fetches for everybody who waits on f. A flight that was replaced or
// purged meanwhile still serves its waiters but leaves nothing behind.
func (c *cache[K, V]) fly(ctx context.Context, key K, f *flight[V]) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	f.value, f.err = c.fetch(ctx, key)
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(f.done)
	if c.flights[key] != f {
		return
	}
	delete(c.flights, key)
	c.put(&entry[K, V]{key: key, value: f.value, err: f.err, asked: f.asked, expires: c.now().Add(keepFor(f.err))})
}

func (c *cache[K, V]) put(e *entry[K, V]) {
	if el, ok := c.entries[e.key]; ok {
		el.Value = e
		c.order.MoveToFront(el)
		return
	}
	c.entries[e.key] = c.order.PushFront(e)
	for c.order.Len() > c.size {
		last := c.order.Back()
		c.order.Remove(last)
		delete(c.entries, last.Value.(*entry[K, V]).key)
	}
}

// drop forgets key and cuts a fetch under way off from the cache. It returns
// the good answer that was there.
func (c *cache[K, V]) drop(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.flights, key)
	var none V
	el, ok := c.entries[key]
	if !ok {
		return none, false
	}
	c.order.Remove(el)
	delete(c.entries, key)
	e := el.Value.(*entry[K, V])
	return e.value, e.err == nil
}

func keepFor(err error) time.Duration {
	switch {
	case err == nil:
		return foundFor
	case errors.Is(err, ErrUnavailable):
		return failedFor
	default:
		return absentFor
	}
}
