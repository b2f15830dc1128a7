package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/memstore"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func attempt(state string, ends time.Time) *client.Attempt {
	return &client.Attempt{State: state, AppState: []byte("x"), ExpiresAt: ends}
}

func TestOneOfManyTakesAnAttempt(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), memstore.NewAttempts(10, nil)
	if err := s.Put(ctx, attempt("a", time.Now().Add(time.Hour))); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Peek(ctx, "a"); err != nil || got.State != "a" {
		t.Errorf("Peek = %v, %v", got, err)
	}
	var took atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			switch _, err := s.Take(ctx, "a"); {
			case err == nil:
				took.Add(1)
			case !errors.Is(err, client.ErrNotFound):
				t.Errorf("Take = %v, want ErrNotFound", err)
			}
		})
	}
	wg.Wait()
	if took.Load() != 1 {
		t.Errorf("%d of 32 took the attempt, want 1", took.Load())
	}
	if _, err := s.Peek(ctx, "a"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Peek after Take = %v, want ErrNotFound", err)
	}
}

func TestAFloodDropsTheOldest(t *testing.T) {
	t.Parallel()
	ctx, now := context.Background(), start
	s := memstore.NewAttempts(100, func() time.Time { return now })
	for i := range 1000 {
		if err := s.Put(ctx, attempt(fmt.Sprint(i), start.Add(time.Hour))); err != nil {
			t.Fatalf("Put %d = %v; a flood must refuse nobody", i, err)
		}
	}
	if s.Len() != 100 {
		t.Errorf("%d attempts are kept, want 100", s.Len())
	}
	if _, err := s.Peek(ctx, "999"); err != nil {
		t.Errorf("the newest is gone: %v", err)
	}
	if _, err := s.Peek(ctx, "899"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("an old one is still there: %v", err)
	}
	now = start.Add(time.Hour)
	if err := s.Put(ctx, attempt("new", now.Add(time.Hour))); err != nil || s.Len() != 1 {
		t.Errorf("after an hour %d attempts are kept (%v), want the new one", s.Len(), err)
	}
}

func TestStoresKeepNoPointers(t *testing.T) {
	t.Parallel()
	ctx, attempts, sessions := context.Background(), memstore.NewAttempts(10, nil), memstore.NewSessions()
	a := attempt("a", time.Now().Add(time.Hour))
	if err := attempts.Put(ctx, a); err != nil {
		t.Fatal(err)
	}
	a.AppState[0] = 'y'
	first, err := attempts.Peek(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	first.AppState[0] = 'z'
	if got, err := attempts.Take(ctx, "a"); err != nil || string(got.AppState) != "x" {
		t.Errorf("app state = %q (%v), want what was put", got.AppState, err)
	}
	d := &client.SessionData{ID: "s", Scope: "atproto"}
	if err := sessions.Save(ctx, d); err != nil {
		t.Fatal(err)
	}
	d.Scope = "other"
	if got, err := sessions.Get(ctx, "s"); err != nil || got.Scope != "atproto" {
		t.Errorf("scope = %q (%v), want what was saved", got.Scope, err)
	}
}

func TestSavesCompareVersions(t *testing.T) {
	t.Parallel()
	ctx, s := context.Background(), memstore.NewSessions()
	d := &client.SessionData{ID: "s"}
	if err := s.Save(ctx, d); err != nil || d.Version != 1 {
		t.Fatalf("Save of a new session = %v, version %d; want version 1", err, d.Version)
	}
	if err := s.Save(ctx, &client.SessionData{ID: "s"}); !errors.Is(err, client.ErrConflict) {
		t.Errorf("Save of another new one = %v, want ErrConflict", err)
	}
	stale := d.Clone()
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		mine := d.Clone()
		wg.Go(func() {
			if err := s.Save(ctx, mine); err == nil {
				won.Add(1)
			} else if !errors.Is(err, client.ErrConflict) {
				t.Errorf("Save = %v, want ErrConflict", err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 16 saves of one version won, want 1", won.Load())
	}
	if err := s.Delete(ctx, "s", client.ReasonRevoked); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, stale); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Save after Delete = %v, want ErrNotFound", err)
	}
	if why, ok := s.Ended("s"); why != client.ReasonRevoked || !ok {
		t.Errorf("Ended = %q, %v", why, ok)
	}
	if err := s.Delete(ctx, "s", client.ReasonExpired); err != nil {
		t.Errorf("second Delete = %v, want nil", err)
	}
	if why, _ := s.Ended("s"); why != client.ReasonRevoked {
		t.Errorf("second Delete changed the reason to %q", why)
	}
	if _, err := s.Get(ctx, "s"); !errors.Is(err, client.ErrNotFound) || s.Len() != 0 {
		t.Errorf("Get after Delete = %v, want ErrNotFound", err)
	}
}
