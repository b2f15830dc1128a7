package identity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// counter is a fetch that takes a second and answers with its number.
type counter struct {
	mu sync.Mutex
	n  int
}

func (c *counter) fetch(ctx context.Context, _ string) (int, error) {
	c.mu.Lock()
	c.n++
	n := c.n
	c.mu.Unlock()
	select {
	case <-time.After(time.Second):
		return n, nil
	case <-ctx.Done():
		return 0, &Error{Subject: "x", Reason: ErrUnavailable, Cause: ctx.Err()}
	}
}

func TestCacheSharesAFetchThatOutlivesItsFirstCaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fetches counter
		c := newCache(10, time.Now, fetches.fetch)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := c.get(ctx, "a", time.Time{}); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("impatient caller got %v, want its deadline", err)
			}
		})
		wg.Go(func() {
			if n, err := c.get(t.Context(), "a", time.Time{}); n != 1 || err != nil {
				t.Errorf("patient caller got %d, %v; want the first fetch", n, err)
			}
		})
		wg.Wait()
		if n, err := c.get(t.Context(), "a", time.Time{}); n != 1 || err != nil {
			t.Errorf("later caller got %d, %v; want the cached answer", n, err)
		}
	})
}

// An answer is as old as its question: a fetch that began before notBefore is
// not joined, and what was purged while under way is not kept.
func TestCacheKeepsTrackOfAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var fetches counter
		c := newCache(10, time.Now, fetches.fetch)
		var wg sync.WaitGroup
		wg.Go(func() { c.get(t.Context(), "a", time.Time{}) })
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		if n, _ := c.get(t.Context(), "a", time.Now()); n != 2 {
			t.Errorf("caller who wanted it fresh got fetch %d, want 2", n)
		}
		wg.Wait()
		if n, _ := c.get(t.Context(), "a", time.Time{}); n != 2 {
			t.Errorf("kept fetch %d, want 2", n)
		}

		wg.Go(func() { c.get(t.Context(), "b", time.Time{}) })
		synctest.Wait()
		c.drop("b")
		wg.Wait()
		if n, _ := c.get(t.Context(), "b", time.Time{}); n != 4 {
			t.Errorf("after a purge under way got fetch %d, want 4", n)
		}
	})
}

func TestCacheEndsAFetchNobodyAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := newCache(10, time.Now, func(ctx context.Context, _ string) (int, error) {
			<-ctx.Done()
			return 0, &Error{Subject: "x", Reason: ErrUnavailable, Cause: ctx.Err()}
		})
		start := time.Now()
		if _, err := c.get(t.Context(), "a", time.Time{}); !errors.Is(err, ErrUnavailable) {
			t.Errorf("get = %v, want ErrUnavailable", err)
		}
		if took := time.Since(start); took != lookupLimit {
			t.Errorf("took %v, want %v", took, lookupLimit)
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	fetched := make(map[string]int)
	c := newCache(3, time.Now, func(_ context.Context, key string) (int, error) {
		fetched[key]++
		return 0, nil
	})
	get := func(key string) {
		if _, err := c.get(t.Context(), key, time.Time{}); err != nil {
			t.Fatalf("get %s: %v", key, err)
		}
	}
	get("kept")
	for i := range 100 {
		get(fmt.Sprint(i))
		get("kept") // used all the time, so never the one to go
	}
	if c.order.Len() != 3 || len(c.entries) != 3 || len(c.flights) != 0 {
		t.Errorf("%d ordered, %d entries, %d flights; want 3, 3, 0", c.order.Len(), len(c.entries), len(c.flights))
	}
	if fetched["kept"] != 1 {
		t.Errorf("the entry in use was fetched %d times", fetched["kept"])
	}
}
