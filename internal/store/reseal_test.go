package store_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// vault is a table with sealed columns and a key of bytes.
func vault() store.Sealed[[]byte] {
	return store.Sealed[[]byte]{
		Table: "vault", Key: "id", Columns: []string{"a", "b"},
		Place: func(id []byte) string { return hex.EncodeToString(id) },
	}
}

func vaultID(n int) []byte { return fmt.Appendf(nil, "%06d", n) }

func sealAt(t *testing.T, ring *keyring.Ring, column string, n int) []byte {
	t.Helper()
	sealed, err := ring.Seal(fmt.Appendf(nil, "%s%d", column, n), keyring.Place{Table: "vault", Column: column, Key: hex.EncodeToString(vaultID(n))})
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// newVault makes the table with rows 0…count-1, every tenth without a b.
func newVault(t *testing.T, db *store.DB, ring *keyring.Ring, count int) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		if _, err := tx.ExecContext(t.Context(), `CREATE TABLE vault (id BYTEA NOT NULL PRIMARY KEY, a BYTEA NOT NULL, b BYTEA NOT NULL)`); err != nil {
			return err
		}
		for n := range count {
			b := []byte{}
			if n%10 != 0 {
				b = sealAt(t, ring, "b", n)
			}
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO vault (id, a, b) VALUES ($1, $2, $3)`, vaultID(n), sealAt(t, ring, "a", n), b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// checkVault opens everything with ring alone.
func checkVault(t *testing.T, db *store.DB, ring *keyring.Ring, count int) {
	t.Helper()
	rows, err := db.Read().QueryContext(t.Context(), `SELECT id, a, b FROM vault ORDER BY id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n := 0
	for ; rows.Next(); n++ {
		var id, a, b []byte
		if err := rows.Scan(&id, &a, &b); err != nil {
			t.Fatal(err)
		}
		for column, sealed := range map[string][]byte{"a": a, "b": b} {
			if column == "b" && n%10 == 0 {
				if len(sealed) != 0 {
					t.Errorf("row %d: an empty value became %d bytes", n, len(sealed))
				}
				continue
			}
			plain, err := ring.Open(sealed, keyring.Place{Table: "vault", Column: column, Key: hex.EncodeToString(id)})
			if want := fmt.Sprintf("%s%d", column, n); err != nil || string(plain) != want {
				t.Fatalf("row %d, %s = %q, %v; want %s", n, column, plain, err, want)
			}
		}
	}
	if n != count {
		t.Errorf("%d rows, want %d", n, count)
	}
}

func twoRings(t *testing.T) (older, both, newer *keyring.Ring) {
	t.Helper()
	one, two := newLine(t), newLine(t)
	return ring(t, one), ring(t, two+"\n"+one), ring(t, two)
}

func newLine(t *testing.T) string {
	t.Helper()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// S42: every value ends up under the newest key, in its own place; doing it
// again does nothing.
func TestResealing(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		older, both, newer := twoRings(t)
		const count = 450 // more than two batches
		newVault(t, db, older, count)
		counts, err := vault().SealedWith(t.Context(), db)
		if diff := cmp.Diff(map[string]int{older.CurrentID(): 2*count - count/10}, counts); diff != "" || err != nil {
			t.Errorf("before, %v (-want +got):\n%s", err, diff)
		}
		done, err := store.Reseal(t.Context(), db, both, vault())
		if err != nil || done != (store.Resealed{Rows: count}) {
			t.Errorf("Reseal = %+v, %v; want %d rows", done, err, count)
		}
		checkVault(t, db, newer, count)
		counts, err = vault().SealedWith(t.Context(), db)
		if diff := cmp.Diff(map[string]int{newer.CurrentID(): 2*count - count/10}, counts); diff != "" || err != nil {
			t.Errorf("after, %v (-want +got):\n%s", err, diff)
		}
		if done, err = store.Reseal(t.Context(), db, both, vault()); err != nil || done != (store.Resealed{}) {
			t.Errorf("Reseal again = %+v, %v; want nothing done", done, err)
		}
	})
}

// It can be stopped anywhere; the next run does the rest.
func TestResealingIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		older, both, newer := twoRings(t)
		const count = 900
		newVault(t, db, older, count)
		ctx, cancel := context.WithCancel(t.Context())
		part := vault()
		opened := 0
		part.Place = func(id []byte) string {
			if opened++; opened == 700 { // values, somewhere in the second batch
				cancel()
			}
			return hex.EncodeToString(id)
		}
		stopped, err := store.Reseal(ctx, db, both, part)
		if !errors.Is(err, context.Canceled) || stopped.Rows == 0 || stopped.Rows >= count {
			t.Fatalf("Reseal that is stopped = %+v, %v; want a part", stopped, err)
		}
		checkVault(t, db, both, count)
		rest, err := store.Reseal(t.Context(), db, both, vault())
		if err != nil || stopped.Rows+rest.Rows != count {
			t.Errorf("Reseal afterwards = %+v, %v; want the other %d", rest, err, count-stopped.Rows)
		}
		checkVault(t, db, newer, count)
	})
}

// What others write meanwhile stays, and is sealed anew in its turn.
func TestResealingNeverOverwrites(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		older, both, newer := twoRings(t)
		newVault(t, db, older, 3)
		busy := vault()
		written := 0
		busy.Place = func(id []byte) string {
			if written < 5 { // after the row was read, before it is written
				written++
				replaceVault(t, db, "UPDATE vault SET a = $1 WHERE id = $2", sealAt(t, older, "a", 1), vaultID(1))
			}
			return hex.EncodeToString(id)
		}
		done, err := store.Reseal(t.Context(), db, both, busy)
		if err != nil || done.Rows != 3 {
			t.Errorf("Reseal = %+v, %v; want 3 rows", done, err)
		}
		checkVault(t, db, newer, 3)
	})
}

// A server that goes on sealing with the older key is found out.
func TestResealingFindsNoEnd(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	older, both, _ := twoRings(t)
	newVault(t, db, older, 3)
	stubborn := vault()
	stubborn.Place = func(id []byte) string {
		replaceVault(t, db, "UPDATE vault SET a = $1 WHERE id = $2", sealAt(t, older, "a", 1), vaultID(1))
		return hex.EncodeToString(id)
	}
	if _, err := store.Reseal(t.Context(), db, both, stubborn); !errors.Is(err, store.ErrOlderKey) {
		t.Errorf("Reseal = %v, want ErrOlderKey", err)
	}
	checkVault(t, db, both, 3)
}

// What no key opens is counted and left alone.
func TestResealingLeavesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		older, both, newer := twoRings(t)
		lost := ring(t, newLine(t))
		newVault(t, db, older, 30)
		foreign, copied := sealAt(t, lost, "a", 3), sealAt(t, older, "a", 5)
		replaceVault(t, db, "UPDATE vault SET a = $1 WHERE id = $2", foreign, vaultID(3))
		replaceVault(t, db, "UPDATE vault SET a = $1 WHERE id = $2", copied, vaultID(4))
		done, err := store.Reseal(t.Context(), db, both, vault())
		if err != nil || done != (store.Resealed{Rows: 28, Unreadable: 2}) {
			t.Errorf("Reseal = %+v, %v; want 28 and 2 unreadable", done, err)
		}
		for n, want := range map[int][]byte{3: foreign, 4: copied} {
			var got []byte
			if err := db.Read().QueryRowContext(t.Context(), `SELECT a FROM vault WHERE id = $1`, vaultID(n)).Scan(&got); err != nil || string(got) != string(want) {
				t.Errorf("unreadable row %d was changed (%v)", n, err)
			}
		}
		replaceVault(t, db, "DELETE FROM vault WHERE id IN ($1, $2)", vaultID(3), vaultID(4))
		counts, err := vault().SealedWith(t.Context(), db)
		if err != nil || len(counts) != 1 || counts[newer.CurrentID()] == 0 {
			t.Errorf("the rest is sealed with %v, %v; want the newest alone", counts, err)
		}
	})
}

func replaceVault(t *testing.T, db *store.DB, statement string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), statement, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheKeyCheckSaysWhoSealedIt(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		older, both, newer := twoRings(t)
		if _, err := db.KeyCheckSealedWith(t.Context()); !errors.Is(err, store.ErrNoKey) {
			t.Errorf("without a check value = %v, want ErrNoKey", err)
		}
		for _, step := range []struct {
			do   func() error
			want string
		}{
			{func() error { return db.CheckKey(t.Context(), older) }, older.CurrentID()},
			{func() error { return db.CheckKey(t.Context(), both) }, older.CurrentID()},
			{func() error { return db.ResealKeyCheck(t.Context(), both) }, newer.CurrentID()},
		} {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			if got, err := db.KeyCheckSealedWith(t.Context()); err != nil || got != step.want {
				t.Errorf("sealed with %s, %v; want %s", got, err, step.want)
			}
		}
	})
}
