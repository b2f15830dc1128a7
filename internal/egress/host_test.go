package egress

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func testHosts(t *testing.T, limits HostLimits) *hosts {
	t.Helper()
	limits, err := limits.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newHosts(limits)
}

// visit enters and leaves with o, and returns what enter said.
func visit(hs *hosts, name string, o outcome) error {
	done, err := hs.enter(context.Background(), name)
	if err == nil {
		done(o)
	}
	return err
}

func TestAHostThatFailsIsLeftAloneThenProbedOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hs := testHosts(t, HostLimits{Failures: 3, Pause: time.Second, MaxPause: 3 * time.Second})
		for range 3 {
			if err := visit(hs, "dead", failed); err != nil {
				t.Fatalf("enter before the limit of failures = %v", err)
			}
		}
		for _, pause := range []time.Duration{time.Second, 2 * time.Second, 3 * time.Second, 3 * time.Second} {
			time.Sleep(pause - time.Millisecond)
			var down *DownError
			if err := visit(hs, "dead", alive); !errors.As(err, &down) || down.RetryAfter != time.Millisecond {
				t.Fatalf("enter within the pause of %s = %v, want a DownError for 1ms more", pause, err)
			}
			time.Sleep(time.Millisecond)
			probe, err := hs.enter(context.Background(), "dead")
			if err != nil {
				t.Fatalf("enter after the pause of %s = %v, want a probe", pause, err)
			}
			if err := visit(hs, "dead", alive); !errors.Is(err, ErrHostDown) {
				t.Fatalf("enter beside the probe = %v, want ErrHostDown", err)
			}
			probe(failed)
		}
		time.Sleep(3 * time.Second)
		for i := range 5 { // the first is the probe, then it is up
			if err := visit(hs, "dead", alive); err != nil {
				t.Fatalf("enter %d after recovery = %v", i, err)
			}
		}
	})
}

func TestACanceledProbeLeavesTheNextToTry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hs := testHosts(t, HostLimits{Failures: 1})
		_ = visit(hs, "h", failed)
		time.Sleep(2 * time.Second)
		if err := visit(hs, "h", unproven); err != nil {
			t.Fatalf("probe = %v", err)
		}
		if err := visit(hs, "h", alive); err != nil {
			t.Errorf("enter after a canceled probe = %v, want another probe", err)
		}
	})
}

func TestOnlyFailuresInARowCount(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hs := testHosts(t, HostLimits{Failures: 2})
		for _, o := range []outcome{failed, alive, failed, alive, unproven, unproven, failed} {
			if err := visit(hs, "h", o); err != nil {
				t.Fatalf("enter = %v, want no outage from single failures", err)
			}
		}
		time.Sleep(2 * failureWindow)
		_ = visit(hs, "h", failed)
		if err := visit(hs, "h", alive); err != nil {
			t.Errorf("enter after two failures far apart = %v, want success", err)
		}
	})
}

func TestAHostHoldsABoundedNumberOfRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hs := testHosts(t, HostLimits{InFlight: 2, Wait: time.Second})
		first, err1 := hs.enter(t.Context(), "slow")
		second, err2 := hs.enter(t.Context(), "slow")
		if err1 != nil || err2 != nil {
			t.Fatalf("enter = %v, %v", err1, err2)
		}
		begun := time.Now()
		if err := visit(hs, "slow", alive); !errors.Is(err, ErrHostBusy) || time.Since(begun) != time.Second {
			t.Errorf("third request = %v after %s, want ErrHostBusy after 1s", err, time.Since(begun))
		}
		if err := visit(hs, "other", alive); err != nil {
			t.Errorf("another host = %v, want success at once", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("the member left")
		cancel(cause)
		if _, err := hs.enter(ctx, "slow"); !errors.Is(err, cause) {
			t.Errorf("waiting request of somebody who left = %v, want their reason", err)
		}
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if err := visit(hs, "slow", alive); err != nil {
				t.Errorf("request that waited for a place = %v, want success", err)
			}
		})
		synctest.Wait()
		first(alive)
		waiting.Wait()
		second(alive)
	})
}

// Requests that wait when a host is found down do not each wait it out.
func TestWaitersAreSentAwayWhenTheHostGoesDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hs := testHosts(t, HostLimits{InFlight: 1, Failures: 1, Wait: time.Minute})
		done, err := hs.enter(t.Context(), "h")
		if err != nil {
			t.Fatal(err)
		}
		var waiting sync.WaitGroup
		for range 20 {
			waiting.Go(func() {
				if err := visit(hs, "h", alive); !errors.Is(err, ErrHostDown) {
					t.Errorf("waiter = %v, want ErrHostDown", err)
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		done(failed)
		waiting.Wait()
		if took := time.Since(begun); took != 0 {
			t.Errorf("waiters were held for %s", took)
		}
	})
}

func TestNobodyWaitsForAPlaceAtAHostThatIsDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hs := testHosts(t, HostLimits{InFlight: 2, Failures: 1, Pause: time.Second, Wait: time.Minute})
		hanging, err := hs.enter(t.Context(), "h")
		if err != nil {
			t.Fatal(err)
		}
		_ = visit(hs, "h", failed)
		time.Sleep(time.Second)
		probe, err := hs.enter(t.Context(), "h") // both places are taken now
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := visit(hs, "h", alive); !errors.Is(err, ErrHostDown) || time.Since(begun) != 0 {
			t.Errorf("enter = %v after %s, want ErrHostDown at once", err, time.Since(begun))
		}
		probe(alive)
		hanging(alive)
	})
}

func TestMemoryOverManyHostsIsBounded(t *testing.T) {
	t.Parallel()
	hs := testHosts(t, HostLimits{Remembered: 100})
	busy, err := hs.enter(t.Context(), "busy")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		if err := visit(hs, fmt.Sprintf("h%d", i), failed); err != nil {
			t.Fatal(err)
		}
	}
	if len(hs.byName) != 100 || hs.recent.Len() != 100 {
		t.Errorf("%d hosts remembered (%d in the list), want 100", len(hs.byName), hs.recent.Len())
	}
	if hs.byName["busy"] == nil {
		t.Error("a host with a request under way was forgotten")
	}
	busy(alive)
	for _, name := range []string{"h9999", "h9998"} {
		if h := hs.byName[name]; h == nil || h.users != 0 || len(h.places) != 0 {
			t.Errorf("host %s = %+v, want remembered and empty", name, h)
		}
	}
}

func TestHostLimitsMustNotBeNegative(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{PerHost: HostLimits{InFlight: -1}}); err == nil {
		t.Error("New with a negative limit succeeded")
	}
}
