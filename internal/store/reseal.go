package store

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/atoll-social/atoll/internal/keyring"
)

// KeyCheckSealedWith returns the id of the key that seals the check value; see
// CheckKey. The error is ErrNoKey when there is no check value yet.
func (db *DB) KeyCheckSealedWith(ctx context.Context) (keyID string, err error) {
	sealed, err := db.keyCheck(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("read key check: %w", err)
	}
	return keyring.SealedWith(sealed)
}

// Sealed says what of a table is sealed. Its owner declares it; K is the type
// of the primary key, text or bytes.
type Sealed[K ~string | ~[]byte] struct {
	Table   string
	Key     string                  // the primary key's one column
	Columns []string                // each sealed; an empty value is none
	Place   func(key K) (id string) // the key as keyring.Place has it
}

// Resealed is what came of resealing.
type Resealed struct {
	Rows int // rows that are sealed with the newest key now and were not before
	// Unreadable are rows that hold a value which no key of the ring opens.
	// They were left as they are.
	Unreadable int
}

// resealBatch is how many rows one transaction seals anew.
const resealBatch = 200

// resealPasses bounds how often a table is gone through. The second pass finds
// what others have saved during the first.
const resealPasses = 20

// ErrOlderKey says that values keep being sealed with an older key.
var ErrOlderKey = errors.New("values keep being sealed with an older key: a running server has not read the new one; restart it, then reseal again")

// Reseal seals every value of a table with the ring's newest key that is sealed
// with another. It may run beside servers that write: a row is replaced only if
// its sealed bytes are still those that were read, and what was replaced by
// somebody else is looked at again. It can be stopped and repeated at any time.
// Error: ErrOlderKey when it finds no end.
func Reseal[K ~string | ~[]byte](ctx context.Context, db *DB, ring *keyring.Ring, s Sealed[K]) (Resealed, error) {
	var done Resealed
	for range resealPasses {
		pass, missed, err := s.pass(ctx, db, ring)
		done.Rows += pass.Rows
		done.Unreadable = pass.Unreadable
		if err != nil {
			return done, fmt.Errorf("reseal %s: %w", s.Table, err)
		}
		if pass.Rows == 0 && missed == 0 {
			return done, nil
		}
	}
	return done, fmt.Errorf("reseal %s: %w", s.Table, ErrOlderKey)
}

// pass goes through the table once, in the order of its key. missed counts the
// rows that changed between reading and writing.
func (s Sealed[K]) pass(ctx context.Context, db *DB, ring *keyring.Ring) (done Resealed, missed int, err error) {
	after := K([]byte{}) // not nil, which nothing is greater than
	for {
		rows, err := s.read(ctx, db, ring, after)
		if err != nil || len(rows) == 0 {
			return done, missed, err
		}
		after = rows[len(rows)-1].key
		var fresh []sealedRow[K]
		for _, r := range rows {
			if err := r.reseal(s, ring); err != nil {
				done.Unreadable++
				continue
			}
			fresh = append(fresh, r)
		}
		n, err := s.write(ctx, db, fresh)
		if err != nil {
			return done, missed, err
		}
		done.Rows += n
		missed += len(fresh) - n
	}
}

// sealedRow is the sealed part of one row, as read and anew.
type sealedRow[K ~string | ~[]byte] struct {
	key      K
	old, now [][]byte
}

// read returns the next rows that hold a value of another than the newest key.
func (s Sealed[K]) read(ctx context.Context, db *DB, ring *keyring.Ring, after K) ([]sealedRow[K], error) {
	var stale []string
	for _, column := range s.Columns {
		stale = append(stale, fmt.Sprintf(`(length(%s) > 0 AND substr(%s, 1, %d) <> $2)`, column, column, keyring.PrefixSize))
	}
	rows, err := db.Read().QueryContext(ctx, fmt.Sprintf(`SELECT %s, %s FROM %s WHERE %s > $1 AND (%s) ORDER BY %s LIMIT %d`,
		s.Key, strings.Join(s.Columns, ", "), s.Table, s.Key, strings.Join(stale, " OR "), s.Key, resealBatch), after, ring.Prefix())
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []sealedRow[K]
	for rows.Next() {
		r := sealedRow[K]{old: make([][]byte, len(s.Columns)), now: make([][]byte, len(s.Columns))}
		targets := []any{&r.key}
		for i := range r.old {
			targets = append(targets, &r.old[i])
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, rows.Err()
}

// reseal fills now in.
func (r *sealedRow[K]) reseal(s Sealed[K], ring *keyring.Ring) error {
	for i, old := range r.old {
		if len(old) == 0 {
			r.old[i], r.now[i] = []byte{}, []byte{} // SQLite reads empty bytes as nil
			continue
		}
		at := keyring.Place{Table: s.Table, Column: s.Columns[i], Key: s.Place(r.key)}
		plain, err := ring.Open(old, at)
		if err != nil {
			return err
		}
		if r.now[i], err = ring.Seal(plain, at); err != nil {
			return err
		}
	}
	return nil
}

// write replaces the rows that are still as they were read, and counts them.
func (s Sealed[K]) write(ctx context.Context, db *DB, rows []sealedRow[K]) (int, error) {
	var set, same []string
	for i, column := range s.Columns {
		set = append(set, fmt.Sprintf(`%s = $%d`, column, 2+i))
		same = append(same, fmt.Sprintf(`%s = $%d`, column, 2+len(s.Columns)+i))
	}
	statement := fmt.Sprintf(`UPDATE %s SET %s WHERE %s = $1 AND %s`,
		s.Table, strings.Join(set, ", "), s.Key, strings.Join(same, " AND "))
	var written int
	err := db.Tx(ctx, func(tx *Tx) error {
		written = 0
		for _, r := range rows {
			args := []any{r.key}
			for _, v := range append(r.now[:len(r.now):len(r.now)], r.old...) {
				args = append(args, v)
			}
			res, err := tx.ExecContext(ctx, statement, args...)
			if err != nil {
				return err
			}
			n, err := res.RowsAffected()
			if err != nil {
				return err
			}
			written += int(n)
		}
		return nil
	})
	return written, err
}

// SealedWith counts the values of a table by the id of the key that seals them.
func (s Sealed[K]) SealedWith(ctx context.Context, db *DB) (map[string]int, error) {
	counts := map[string]int{}
	for _, column := range s.Columns {
		if err := s.count(ctx, db, column, counts); err != nil {
			return nil, fmt.Errorf("count sealed values of %s.%s: %w", s.Table, column, err)
		}
	}
	return counts, nil
}

func (s Sealed[K]) count(ctx context.Context, db *DB, column string, counts map[string]int) error {
	prefix := fmt.Sprintf(`substr(%s, 1, %d)`, column, keyring.PrefixSize)
	rows, err := db.Read().QueryContext(ctx,
		fmt.Sprintf(`SELECT %s, count(*) FROM %s WHERE length(%s) > 0 GROUP BY %s`, prefix, s.Table, column, prefix))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var head []byte
		var n int
		if err := rows.Scan(&head, &n); err != nil {
			return err
		}
		counts[hex.EncodeToString(head[1:])] += n
	}
	return rows.Err()
}
