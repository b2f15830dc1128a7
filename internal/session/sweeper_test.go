package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/test/size"
)

func newSweeper(t *testing.T, m *session.Manager, also ...session.Sweep) (*session.Sweeper, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	s, err := session.NewSweeper(session.SweeperConfig{Manager: m, Also: also, Metrics: registry})
	if err != nil {
		t.Fatal(err)
	}
	return s, registry
}

// swept compares what a pass has removed.
func swept(t *testing.T, s *session.Sweeper, what string, want map[string]int) {
	t.Helper()
	got, err := s.Pass(t.Context())
	if err != nil {
		t.Fatalf("Pass: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("swept %s (-want +got):\n%s", what, diff)
	}
}

// S43: a device goes when its time is over, not before; its sessions end, their
// server is told, and the devices of others stay.
func TestUnusedDevicesAreSwept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		s, _ := newSweeper(t, f.Manager)
		old, first := f.signIn(keyring.Secret{}, alice)
		old, second := f.signIn(old, bob)
		if err := f.Delete(t.Context(), second.ID, client.ReasonExpired); err != nil {
			t.Fatal(err)
		}
		f.clock.advance(session.DefaultDeviceLife - time.Second)
		used, third := f.signIn(keyring.Secret{}, alice)
		swept(t, s, "a second before the end", map[string]int{"audit": 3, "sessions": 1})
		if n := f.count(`SELECT count(*) FROM device`); n != 2 {
			t.Fatalf("%d devices a second before the end, want 2", n)
		}
		h := listen(t, f.Manager)
		f.clock.advance(time.Second)
		swept(t, s, "at the end", map[string]int{"devices": 1})
		f.dead(old, "an unused device")
		f.over(first.ID)
		h.want(t, "sweeping", session.Event{Kind: session.EventEnded, SessionID: first.ID, DID: alice, Reason: session.ReasonIdle})
		f.device(used)
		told := &server{}
		pass(t, newRevoker(t, f.Manager, told), 1)
		if diff := cmp.Diff([]string{first.RefreshToken}, told.told); diff != "" {
			t.Errorf("revoked (-want +got):\n%s", diff)
		}
		if _, err := f.Get(t.Context(), third.ID); err != nil {
			t.Errorf("the session of a device in use = %v", err)
		}
		for table, want := range map[string]int{"device": 1, "device_account": 1, "oauth_session": 1} {
			if n := f.count(`SELECT count(*) FROM ` + table); n != want {
				t.Errorf("%d rows in %s, want %d", n, table, want)
			}
		}
	})
}

// Sessions that ended are kept so long that the member can be told why, and
// then their account still asks for a sign-in.
func TestEndedSessionsAreSwept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		s, _ := newSweeper(t, f.Manager)
		token, data := f.signIn(keyring.Secret{}, alice)
		if err := f.Delete(t.Context(), data.ID, client.ReasonReplayed); err != nil {
			t.Fatal(err)
		}
		_, live := f.signIn(keyring.Secret{}, bob)
		f.clock.advance(session.EndedKept - time.Second)
		swept(t, s, "early", map[string]int{})
		if standing, why := f.device(token).Standing(); standing != session.StandingSignInAgain || why != client.ReasonReplayed {
			t.Errorf("standing = %s, %s; want the reason", standing, why)
		}
		f.clock.advance(time.Second)
		swept(t, s, "in time", map[string]int{"sessions": 1})
		if standing, why := f.device(token).Standing(); standing != session.StandingSignInAgain || why != "" {
			t.Errorf("standing = %s, %s; want sign-in again", standing, why)
		}
		if _, err := f.Get(t.Context(), live.ID); err != nil {
			t.Errorf("a live session = %v", err)
		}
	})
}

func TestTheAuditTrailIsSwept(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		const day = 24 * time.Hour
		s, err := session.NewSweeper(session.SweeperConfig{Manager: f.Manager, AuditKept: 3 * day})
		if err != nil {
			t.Fatal(err)
		}
		count := size.Size(1200, 20_000) // several batches
		for range count {
			f.note()
		}
		f.clock.advance(3*day - time.Second)
		f.note()
		swept(t, s, "early", map[string]int{})
		f.clock.advance(time.Second)
		swept(t, s, "in time", map[string]int{"audit": count})
		if n := f.count(`SELECT count(*) FROM audit`); n != 1 {
			t.Errorf("%d audit rows are left, want the one of today", n)
		}
	})
}

func (f *fixture) note() {
	f.t.Helper()
	if err := f.Record(f.t.Context(), session.Entry{Kind: session.KindSignInRefused, DID: alice}); err != nil {
		f.t.Fatal(err)
	}
}

// Several processes sweep the same at once: everything goes once.
func TestSweepersShareTheWork(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		count := size.Size(60, 2000)
		for range count {
			f.signIn(keyring.Secret{}, alice)
		}
		f.clock.advance(session.DefaultDeviceLife)
		var mu sync.Mutex
		total := map[string]int{}
		var wg sync.WaitGroup
		for range 4 {
			s, _ := newSweeper(t, f.another())
			wg.Go(func() {
				gone, err := s.Pass(t.Context())
				if err != nil {
					t.Errorf("Pass: %v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				for kind, n := range gone {
					total[kind] += n
				}
			})
		}
		wg.Wait()
		if total["devices"] != count || f.count(`SELECT count(*) FROM device`) != 0 {
			t.Errorf("%d devices swept, %d left; want %d and none", total["devices"], f.count(`SELECT count(*) FROM device`), count)
		}
		if n := f.count(`SELECT count(*) FROM audit WHERE detail = 'idle'`); n != count {
			t.Errorf("%d endings in the trail, want %d", n, count)
		}
	})
}

// What goes is counted and told in one line; a sweep that fails is told, and
// does not keep the others.
func TestSweepsAreReported(t *testing.T) {
	t.Parallel()
	f := newFixture(t, storetest.New(t, store.SQLite))
	var lines bytes.Buffer
	m, err := session.New(session.Config{DB: f.db, Ring: f.ring, Logger: slog.New(slog.NewTextHandler(&lines, nil)), Now: f.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	broken := errors.New("disk on fire")
	s, registry := newSweeper(t, m,
		session.Sweep{Kind: "broken", Remove: func(context.Context) (int, error) { return 3, broken }},
		session.Sweep{Kind: "attempts", Remove: func(context.Context) (int, error) { return 7, nil }})
	gone, err := s.Pass(t.Context())
	if !errors.Is(err, broken) {
		t.Errorf("Pass = %v, want the failure of one kind", err)
	}
	if diff := cmp.Diff(map[string]int{"broken": 3, "attempts": 7}, gone); diff != "" {
		t.Errorf("swept (-want +got):\n%s", diff)
	}
	if text := lines.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "msg=swept") || !strings.Contains(text, "attempts=7") {
		t.Errorf("log:\n%s\nwant one line with the counts", text)
	}
	want := []string{
		"atoll_swept_total kind=attempts 7", "atoll_swept_total kind=audit 0", "atoll_swept_total kind=broken 3",
		"atoll_swept_total kind=devices 0", "atoll_swept_total kind=sessions 0",
	}
	if diff := cmp.Diff(want, gathered(t, registry)); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
	lines.Reset()
	quiet, _ := newSweeper(t, m)
	swept(t, quiet, "nothing", map[string]int{})
	if lines.Len() > 0 {
		t.Errorf("a sweep of nothing logs:\n%s", lines.String())
	}
}

// gathered is every gauge and counter as "name label=value number".
func gathered(t *testing.T, registry *prometheus.Registry) []string {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, family := range families {
		for _, m := range family.GetMetric() {
			line := family.GetName()
			for _, label := range m.GetLabel() {
				line += " " + label.GetName() + "=" + label.GetValue()
			}
			all = append(all, fmt.Sprintf("%s %v", line, m.GetGauge().GetValue()+m.GetCounter().GetValue()))
		}
	}
	slices.Sort(all)
	return all
}

// S43: within five minutes of its end, without anybody asking.
func TestSweepingIsWithinFiveMinutes(t *testing.T) {
	t.Parallel()
	ring := newRing(t)
	cfg := storetest.NewConfig(t, store.SQLite)
	synctest.Test(t, func(t *testing.T) {
		db, err := store.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		m, err := session.New(session.Config{DB: db, Ring: ring, Logger: slog.New(slog.DiscardHandler), DeviceLife: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		f := &fixture{Manager: m, t: t, db: db, ring: ring, clock: newClock()}
		s, _ := newSweeper(t, m)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- s.Run(ctx) }()
		f.signIn(keyring.Secret{}, alice)
		time.Sleep(59 * time.Minute)
		synctest.Wait()
		if n := f.count(`SELECT count(*) FROM device`); n != 1 {
			t.Errorf("%d devices before the end, want 1", n)
		}
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if n := f.count(`SELECT count(*) FROM device`); n != 0 {
			t.Errorf("%d devices five minutes after the end, want 0", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v, want nil when its context ends", err)
		}
	})
}
