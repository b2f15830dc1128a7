package httpserver_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

// fill reads n bytes as part of a stay.
func fill(stay *httpserver.Stay, n int) error {
	got, err := io.ReadAll(stay.Reader(strings.NewReader(strings.Repeat("x", n))))
	if err == nil && len(got) != n {
		err = fmt.Errorf("%d bytes of %d", len(got), n)
	}
	return err
}

// TestIntake holds that what is in memory stays within both bounds, that one who
// fills theirs keeps out nobody else, and that all of it is given back.
func TestIntake(t *testing.T) {
	t.Parallel()
	in := httpserver.NewIntake(100, 40)
	alice, again, bob, carol := in.Enter("alice"), in.Enter("alice"), in.Enter("bob"), in.Enter("carol")
	for _, step := range []struct {
		what string
		stay *httpserver.Stay
		n    int
		ok   bool
	}{
		{"alice", alice, 30, true}, {"alice, as much as she may", again, 10, true}, {"alice, one more", again, 1, false},
		{"bob", bob, 40, true}, {"carol, more than is left", carol, 21, false}, {"carol, the rest", carol, 20, true}, {"bob, one more", bob, 1, false},
	} {
		err := fill(step.stay, step.n)
		if (err == nil) != step.ok {
			t.Errorf("%s, %d bytes: %v, want %t", step.what, step.n, err, step.ok)
		}
		if err != nil && (!errors.Is(err, httpserver.ErrCrowded) || fault.KindOf(err) != fault.Unavailable || fault.From(err).RetryAfter <= 0) {
			t.Errorf("%s: %v; want unavailable, and when to come back", step.what, err)
		}
	}
	alice.Leave()
	alice.Leave()
	if err := fill(bob, 1); err == nil {
		t.Error("bob has more than he may")
	}
	if err := fill(carol, 20); err != nil {
		t.Errorf("carol after alice has left: %v", err)
	}
	var none *httpserver.Intake
	stay := none.Enter("anybody")
	if err := fill(stay, 1000); err != nil {
		t.Errorf("without a bound: %v", err)
	}
	stay.Leave()
}

// TestIntakeAtOnce holds the bound under many requests at once.
func TestIntakeAtOnce(t *testing.T) {
	t.Parallel()
	in := httpserver.NewIntake(1000, 100)
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			stay := in.Enter(fmt.Sprint(n % 20))
			defer stay.Leave()
			if err := fill(stay, 90); err != nil && !errors.Is(err, httpserver.ErrCrowded) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for n := range 10 {
		if err := fill(in.Enter(fmt.Sprint(n)), 100); err != nil {
			t.Errorf("after all have left, %d: %v", n, err)
		}
	}
}
