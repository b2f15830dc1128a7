package community

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// running is a village whose jobs are done by the real queue, like a process.
func running(t *testing.T, db *store.DB, r *repos) *village {
	t.Helper()
	q, err := job.New(job.Config{DB: db, Logger: slog.New(slog.DiscardHandler), Timing: job.Timing{Backoff: time.Millisecond}})
	check(t, err)
	v := newVillage(t, db, r, func(c *Config) { c.Jobs = q })
	v.Work(q)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var parts sync.WaitGroup
	for _, run := range []func(context.Context) error{q.Run, v.Run} {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() { cancel(); parts.Wait() })
	return v
}

// soon waits until a post is accepted, however busy the machine is.
func (v *village) soon(t *testing.T, post syntax.ATURI) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		standing, _, err := v.index.Standing(ctx, post)
		switch {
		case err == nil && standing.State == index.Accepted:
			return
		case ctx.Err() != nil:
			t.Fatalf("%s is %s after all that time (%v)", post, standing.State, err)
		}
		<-tick.C
	}
}

// TestSoonAndOnce holds C6 in time: two processes watch, posts come in through
// both, and each is accepted at once, by one record that is written once.
func TestSoonAndOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRepos()
		one, two := running(t, db, r), running(t, db, r)
		one.settle(t)
		var posts []syntax.ATURI
		for i := range size.Size(10, 60) {
			post, _ := []*village{one, two}[i%2].write(t, guest, garden, "", "hello")
			posts = append(posts, post)
		}
		for _, post := range posts {
			one.soon(t, post)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		written := map[syntax.RecordKey]int{}
		for _, place := range r.writes {
			if place.Collection == index.AcceptanceCollection {
				written[place.RKey]++
			}
		}
		for _, post := range posts {
			if n := written[index.AdmissionKey(post)]; n != 1 {
				t.Errorf("the acceptance of %s was written %d times", post, n)
			}
		}
		if len(written) != len(posts) {
			t.Errorf("%d acceptances of %d posts", len(written), len(posts))
		}
	})
}

// TestNothingMissed holds that posts from before the first look, and from a time
// when nobody looked, are decided about: however long that was.
func TestNothingMissed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		first, _ := v.write(t, guest, garden, "", "before the community was known")
		v.settle(t)
		v.expect(t, "before the first look", first, "accepted")
		second, _ := v.write(t, guest, garden, "", "while nobody looked")
		check(t, db.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), `DELETE FROM rank_change`)
			return err
		}))
		v.cfg.Now = func() time.Time { return time.Now().Add(time.Hour) }
		v.expect(t, "after an hour", second, "accepted")
		// An index that was made anew counts from the beginning again.
		third, _ := v.write(t, guest, garden, "", "in a new index")
		check(t, db.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), `UPDATE community_seen SET seq = seq + 1000000`)
			return err
		}))
		v.expect(t, "in a new index", third, "accepted")
	})
}

// TestServerAway holds that a community's server that is away costs nothing but
// time, and what else goes wrong is tried again.
func TestServerAway(t *testing.T) {
	t.Parallel()
	v := newVillage(t, storetest.New(t, store.SQLite), newRepos())
	v.settle(t)
	post, _ := v.write(t, guest, garden, "", "hello")
	args := []byte(`{"community":"` + string(garden) + `","author":"` + string(guest.DID) + `","rkey":"` + string(post.RecordKey()) + `"}`)
	later := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		fail error
		park bool
	}{
		{&agent.Error{Kind: agent.Unreachable}, true}, {&agent.Error{Kind: agent.RateLimited}, true},
		{&agent.Error{Kind: agent.RateLimited, Until: later}, true},
		{account.CheckName("-"), true}, // any error about the community's account
		{&agent.Error{Kind: agent.NeedsSignIn}, false}, {errors.New("a bug"), false},
	} {
		v.repos.fail = tt.fail
		err := v.decideJob(t.Context(), job.Job{Args: args})
		if kind := fmt.Sprintf("%T", err); !errors.Is(err, tt.fail) || (kind == "*job.parked") != tt.park {
			t.Errorf("%#v: a %s, parked %t", tt.fail, kind, tt.park)
		}
	}
	v.repos.fail = nil
	check(t, v.decideJob(t.Context(), job.Job{Args: args}))
	v.expect(t, "back again", post, "accepted")
	if err := v.decideJob(t.Context(), job.Job{Args: []byte(`7`)}); fault.KindOf(err) != fault.Internal || err == nil {
		t.Errorf("nonsense: %v", err)
	}
}
