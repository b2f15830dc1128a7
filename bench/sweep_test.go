package bench

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const sweptRows = 100_000

// BenchmarkSweep removes 100,000 expired sign-ins in the batches of the
// sweeper. The baseline is one statement that removes the same rows in one
// transaction, which would keep everybody else waiting; "longest_wait" is how
// long another writer waits at most beside each.
func BenchmarkSweep(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db := storetest.New(b, engine)
			line, err := keyring.Generate()
			if err != nil {
				b.Fatal(err)
			}
			ring, err := keyring.Parse(line)
			if err != nil {
				b.Fatal(err)
			}
			attempts, err := login.NewAttempts(login.AttemptsConfig{DB: db, Ring: ring})
			if err != nil {
				b.Fatal(err)
			}
			b.Run("baseline_delete", func(b *testing.B) {
				sweep(b, db, func() (int, error) { return deleteAll(b, db) })
			})
			b.Run("sweeper", func(b *testing.B) {
				sweep(b, db, func() (int, error) { return attempts.Sweep(b.Context()) })
			})
		})
	}
}

func sweep(b *testing.B, db *store.DB, remove func() (int, error)) {
	var longest time.Duration
	for b.Loop() {
		b.StopTimer()
		fill(b, db)
		waits := make(chan time.Duration, 1)
		stop := make(chan struct{})
		go func() { waits <- writeBeside(b, db, stop) }()
		b.StartTimer()
		n, err := remove()
		b.StopTimer()
		close(stop)
		longest = max(longest, <-waits)
		if n != sweptRows || err != nil {
			b.Fatalf("removed %d rows, %v; want %d", n, err, sweptRows)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(sweptRows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(longest.Microseconds())/1000, "longest_wait_ms")
}

// writeBeside writes one row again and again, as a request would, and returns
// the longest time that took.
func writeBeside(b *testing.B, db *store.DB, stop <-chan struct{}) time.Duration {
	var longest time.Duration
	for {
		select {
		case <-stop:
			return longest
		default:
		}
		began := time.Now()
		if err := db.Writable(b.Context()); err != nil {
			b.Errorf("write beside the sweep: %v", err)
			return longest
		}
		longest = max(longest, time.Since(began))
	}
}

func deleteAll(b *testing.B, db *store.DB) (int, error) {
	var n int64
	err := db.Tx(b.Context(), func(tx *store.Tx) error {
		res, err := tx.ExecContext(b.Context(), `DELETE FROM login_attempt WHERE expires_at <= $1`, store.Micros(time.Now()))
		if err != nil {
			return err
		}
		n, err = res.RowsAffected()
		return err
	})
	return int(n), err
}

// fill stores expired sign-ins of the size of real ones.
func fill(b *testing.B, db *store.DB) {
	b.Helper()
	secret, params := make([]byte, 180), make([]byte, 240)
	ended := time.Now().Add(-time.Hour)
	for part := range sweptRows / 10_000 {
		err := db.Tx(b.Context(), func(tx *store.Tx) error {
			for n := range 10_000 {
				at := store.Micros(ended.Add(time.Duration(part*10_000+n) * time.Millisecond))
				_, err := tx.ExecContext(b.Context(), `
INSERT INTO login_attempt (state_hash, issuer, did, binding_hash, return_to, origin, opened, params, verifier, dpop_key, created_at, expires_at)
VALUES ($1, 'https://pds.atoll-tests.net', 'did:plc:someone', $2, '/', $3, $4, $5, $6, $6, $7, $7)`,
					random(32), random(32), fmt.Sprintf("198.51.%d.0/24", n%250), false, params, secret, at)
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

func random(size int) []byte {
	raw := make([]byte, size)
	rand.Read(raw)
	return raw
}
