package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// refuse makes every update of device fail, as on a disk that is full or
// mounted read-only, until the function it returns is called.
func (f *fixture) refuse() (stop func()) {
	f.t.Helper()
	if f.db.Engine() == store.Postgres {
		f.exec(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''disk is full''; END'`)
		f.exec(`CREATE TRIGGER refusal BEFORE UPDATE ON device FOR EACH ROW EXECUTE FUNCTION refuse()`)
		return func() { f.exec(`DROP TRIGGER refusal ON device`) }
	}
	f.exec(`CREATE TRIGGER refusal BEFORE UPDATE ON device BEGIN SELECT RAISE(ABORT, 'disk is full'); END`)
	return func() { f.exec(`DROP TRIGGER refusal`) }
}

// logged makes f.Manager log to the buffer it returns.
func (f *fixture) logged() *bytes.Buffer {
	f.t.Helper()
	var log bytes.Buffer
	m, err := session.New(session.Config{DB: f.db, Ring: f.ring, Logger: slog.New(slog.NewTextHandler(&log, nil)), Now: f.clock.now})
	if err != nil {
		f.t.Fatal(err)
	}
	f.Manager = m
	return &log
}

// A member stays signed in although the time of last use cannot be written;
// the log says so once a minute, and the next write that works makes up for it.
func TestDevicesAreKnownThoughLastUseCannotBeWritten(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		f := newFixture(t, db)
		log := f.logged()
		token, _ := f.signIn(keyring.Secret{}, alice)
		before := f.device(token)
		works := f.refuse()
		f.clock.advance(time.Hour)
		for range 5 {
			d := f.device(token)
			if _, err := d.Acting(alice); err != nil || d.Renewed || !d.ExpiresAt.Equal(before.ExpiresAt) || !d.UsedAt.Equal(before.UsedAt) {
				t.Errorf("Device = %+v, acting %v; want it as it was", d, err)
			}
		}
		if n := strings.Count(log.String(), "disk is full"); n != 1 {
			t.Errorf("the failure was logged %d times, want once:\n%s", n, log)
		}
		f.clock.advance(time.Minute)
		f.device(token)
		if n := strings.Count(log.String(), "disk is full"); n != 2 {
			t.Errorf("after a minute the failure was logged %d times, want twice:\n%s", n, log)
		}
		works()
		f.clock.advance(time.Minute)
		if d := f.device(token); !d.Renewed || !d.UsedAt.Equal(f.clock.now()) {
			t.Errorf("Device = %+v once it works again, want it renewed", d)
		}
	})
}

// whileHeld runs fn while another process, on the same database, is writing
// devices and does not come to an end.
func (f *fixture) whileHeld(cfg store.Config, fn func()) {
	f.t.Helper()
	over := errors.New("over")
	err := storetest.Open(f.t, cfg).Tx(f.t.Context(), func(tx *store.Tx) error {
		if _, err := tx.ExecContext(f.t.Context(), `UPDATE device SET user_agent = 'held'`); err != nil {
			return err
		}
		fn()
		return over
	})
	if !errors.Is(err, over) {
		f.t.Fatal(err)
	}
}

// A writer that does not let go holds no page up.
func TestPagesDoNotWaitForTheLastUse(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		f := newFixture(t, storetest.Open(t, cfg))
		log := f.logged()
		token, _ := f.signIn(keyring.Secret{}, alice)
		f.clock.advance(time.Hour)
		f.whileHeld(cfg, func() {
			began := time.Now()
			for range 10 {
				if d := f.device(token); d.Renewed || len(d.Accounts) != 1 {
					t.Errorf("Device = %+v, want it as it was", d)
				}
			}
			if took := time.Since(began); took > 20*time.Second { // each of them would wait for some
				t.Errorf("ten pages took %v, want about a second in all", took)
			}
		})
		if log.Len() == 0 {
			t.Error("the log does not say why")
		}
	})
}

// A browser that went away while it waited is no failure of ours.
func TestARequestThatEndedDoesNotPauseRenewal(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		f := newFixture(t, storetest.Open(t, cfg))
		log := f.logged()
		token, _ := f.signIn(keyring.Secret{}, alice)
		f.clock.advance(time.Hour)
		f.whileHeld(cfg, func() {
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			if d, ok, err := f.Device(ctx, token); d.Renewed || ctx.Err() == nil {
				t.Errorf("Device = renewed %v, %v, %v; want it to wait for the context", d.Renewed, ok, err)
			}
		})
		if d := f.device(token); !d.Renewed || log.Len() != 0 {
			t.Errorf("renewed %v, logged %q; want the next page to renew", d.Renewed, log)
		}
	})
}
