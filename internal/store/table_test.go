package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// wide is thing with a column of every type that tables have.
const wide = `CREATE TABLE wide (
    id BIGINT NOT NULL PRIMARY KEY, small SMALLINT, flag BOOLEAN, name TEXT COLLATE "C", body BYTEA, rev BIGINT)`

var wideTypes = []string{"BIGINT", "SMALLINT", "BOOLEAN", "TEXT", "BYTEA", "BIGINT"}

func wideTable(rows ...[]any) store.Table {
	return store.Table{Names: "id, small, flag, name, body, rev", Types: wideTypes, Rows: rows}
}

// readWide is what is stored, sorted, read by key through a table.
func readWide(t *testing.T, db *store.DB, ids ...int64) []string {
	t.Helper()
	wanted := store.Table{Names: "id", Types: []string{"BIGINT"}}
	for _, id := range ids {
		wanted.Rows = append(wanted.Rows, []any{id})
	}
	var out []string
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		out = nil
		return tx.Select(t.Context(), wanted, `
			SELECT x.id, x.small, x.flag, x.name, x.body, x.rev FROM wanted w CROSS JOIN wide x WHERE x.id = w.id`,
			func(row store.Row) error {
				var id int64
				var small, rev sql.NullInt64
				var flag sql.NullBool
				var name sql.NullString
				var body []byte
				err := row.Scan(&id, &small, &flag, &name, &body, &rev)
				out = append(out, fmt.Sprintf("%d %v %v %v %x %v", id, small, flag, name, body, rev))
				return err
			})
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestTableGoesAndComesBack(t *testing.T) {
	t.Parallel()
	type word string
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, wide)
		var written int64
		err := db.Tx(t.Context(), func(tx *store.Tx) (err error) {
			written, err = tx.Insert(t.Context(), "wide", wideTable(
				[]any{int64(1), int64(-2), true, word("naïve"), []byte{0, 255}, int64(1)},
				[]any{int64(2), nil, nil, nil, nil, nil},
				[]any{int64(1) << 62, int64(3), false, "", []byte("x"), int64(-1)},
			), "")
			return err
		})
		if err != nil || written != 3 {
			t.Fatalf("insert: %d rows, %v", written, err)
		}
		want := []string{
			"1 {-2 true} {true true} {naïve true} 00ff {1 true}",
			"2 {0 false} {false false} { false}  {0 false}",
			"4611686018427387904 {3 true} {false true} { true} 78 {-1 true}",
		}
		if diff := cmp.Diff(want, readWide(t, db, 1, 2, 7, 1<<62)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		err = db.Tx(t.Context(), func(tx *store.Tx) (err error) {
			gate := `ON CONFLICT (id) DO UPDATE SET name = excluded.name, rev = excluded.rev WHERE excluded.rev > wide.rev`
			written, err = tx.Insert(t.Context(), "wide", wideTable(
				[]any{int64(1), nil, nil, "stale", nil, int64(1)}, []any{int64(1) << 62, nil, nil, "newer", nil, int64(0)}), gate)
			return errors.Join(err, tx.Update(t.Context(), "wide", store.Table{Names: "name, flag, id",
				Types: []string{"TEXT", "BOOLEAN", "BIGINT"}, Rows: [][]any{{nil, false, int64(1)}, {"two", true, int64(2)}, {"none", true, int64(9)}}}))
		})
		if err != nil || written != 1 {
			t.Fatalf("update: %d rows passed the gate, %v", written, err)
		}
		want = []string{
			"1 {-2 true} {false true} { false} 00ff {1 true}",
			"2 {0 false} {true true} {two true}  {0 false}",
			"4611686018427387904 {3 true} {false true} {newer true} 78 {0 true}",
		}
		if diff := cmp.Diff(want, readWide(t, db, 1, 2, 1<<62, 9)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestTableOfAnyLength holds that every row counts once, wherever the engine
// cuts.
func TestTableOfAnyLength(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, wide)
		for n, rows := range []int{0, 1, 255, 256, 257, 1023} {
			var ids []int64
			table := wideTable()
			for i := range rows {
				ids = append(ids, int64(n*10_000+i))
				table.Rows = append(table.Rows, []any{ids[i], nil, true, "x", nil, int64(0)})
			}
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Insert(t.Context(), "wide", table, "")
				return err
			})
			if got := readWide(t, db, ids...); err != nil || len(got) != rows {
				t.Errorf("of %d rows %d came back, %v", rows, len(got), err)
			}
		}
	})
}

// TestTableOfManyRows holds that values are the same however many rows there
// are: PostgreSQL gets many in another way than a few.
func TestTableOfManyRows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, wide)
		values := [][]any{
			{int64(-2), true, "naïve\t\\N", []byte{0, 255}, int64(math.MinInt64)}, {nil, nil, nil, nil, nil},
			{int64(math.MaxInt16), false, "", []byte("x"), int64(math.MaxInt64)}, {int64(math.MinInt16), true, "\n", []byte{}, int64(0)},
		}
		var ids []int64
		var few []string
		for i, v := range values {
			mustTable(t, db, append([]any{int64(i)}, v...))
			ids = append(ids, int64(i))
		}
		for _, row := range readWide(t, db, ids...) {
			few = append(few, row[strings.Index(row, " "):])
		}
		var rows [][]any
		for i := range int64(1000) {
			rows = append(rows, append([]any{1000 + i}, values[i%4]...))
		}
		mustTable(t, db, rows...)
		for i := range int64(1000) {
			got := readWide(t, db, 1000+i)
			if want := fmt.Sprint(1000+i) + few[i%4]; len(got) != 1 || got[0] != want {
				t.Fatalf("row %d is %q, want %q", i, got, want)
			}
		}
	})
}

func mustTable(t *testing.T, db *store.DB, rows ...[]any) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.Insert(t.Context(), "wide", wideTable(rows...), "")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestTableOfManyRefused holds that what cannot be stored is found among many
// rows, for what it is, and that nothing of them stays.
func TestTableOfManyRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for name, tt := range map[string]struct {
			bad  []any
			want func(error) bool
		}{
			"a key twice": {[]any{int64(1), nil, nil, nil, nil, nil}, store.IsUnique},
			"a text":      {[]any{int64(-1), nil, nil, "a\x00b", nil, nil}, store.IsBadData},
		} {
			mustExec(t, db, `DROP TABLE IF EXISTS wide`)
			mustExec(t, db, wide)
			var rows [][]any
			for i := range int64(1000) {
				rows = append(rows, []any{i, nil, nil, nil, nil, nil})
			}
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Insert(t.Context(), "wide", wideTable(append(rows, tt.bad)...), "")
				return err
			})
			if !tt.want(err) {
				t.Errorf("%s: %v", name, err)
			}
			if n := column(t, db.Read(), `SELECT count(*) FROM wide`); n[0] != "0" {
				t.Errorf("%s: %s rows stay", name, n[0])
			}
		}
	})
}

// TestTableUnderMigration holds that a process that knows the columns of a table
// goes on when another one has changed them.
func TestTableUnderMigration(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.Postgres)
	mustExec(t, db, wide)
	for i, typ := range []string{"BIGINT", "INTEGER", "BIGINT"} {
		mustExec(t, db, `ALTER TABLE wide ALTER rev TYPE `+typ)
		var rows [][]any
		for n := range int64(200) {
			rows = append(rows, []any{int64(1000*i) + n, nil, nil, nil, nil, int64(7)})
		}
		mustTable(t, db, rows...)
	}
	if n := column(t, db.Read(), `SELECT count(*) FROM wide WHERE rev = 7`); n[0] != "600" {
		t.Errorf("%s rows, want 600", n[0])
	}
}

// TestTableOfNumbers holds that numbers one after the other are the rows that
// they would be one by one, few or many, with NULL for 0 where that is said.
func TestTableOfNumbers(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, `CREATE TABLE number (id BIGINT NOT NULL PRIMARY KEY, small SMALLINT, big BIGINT)`)
		table := store.Table{Names: "id, small, big", Types: []string{"BIGINT", "SMALLINT", "BIGINT"}, NullZero: []int{2}}
		for from, n := range map[int64]int64{1000: 1, 2000: 3, 3000: 500} {
			table.Numbers = nil
			for i := range n {
				table.Numbers = append(table.Numbers, from+i, i%2, i%3)
			}
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.Insert(t.Context(), "number", table, "")
				return errors.Join(err, tx.Update(t.Context(), "number", store.Table{Names: "big, id", Types: []string{"BIGINT", "BIGINT"},
					Numbers: []int64{0, from}, NullZero: []int{1}}))
			})
			if err != nil {
				t.Fatal(err)
			}
			wanted := store.Table{Names: "id", Types: []string{"BIGINT"}}
			for i := range n {
				wanted.Numbers = append(wanted.Numbers, from+i)
			}
			got := map[int64]string{}
			err = db.Select(t.Context(), wanted, `SELECT x.id, x.small, x.big FROM wanted w CROSS JOIN number x WHERE x.id = w.id`, func(row store.Row) error {
				var id, small int64
				var big sql.NullInt64
				err := row.Scan(&id, &small, &big)
				got[id] = fmt.Sprint(small, big)
				return err
			})
			if err != nil || len(got) != int(n) {
				t.Fatalf("%d of %d rows, %v", len(got), n, err)
			}
			for i := range n {
				want := fmt.Sprint(i%2, sql.NullInt64{Int64: i % 3, Valid: i%3 != 0 || i == 0})
				if got[from+i] != want {
					t.Errorf("row %d of %d is %s, want %s", i, n, got[from+i], want)
				}
			}
		}
	})
}

// TestTableByEveryProtocol holds that tables go to PostgreSQL also where its URL
// forbids prepared statements, as poolers of connections may ask for.
func TestTableByEveryProtocol(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg := storetest.NewConfig(t, store.Postgres)
			cfg.URL += "&default_query_exec_mode=" + mode
			db, err := store.Open(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			mustExec(t, db, `CREATE TABLE pairs (id BIGINT NOT NULL PRIMARY KEY, n BIGINT)`)
			pairs := store.Table{Names: "id, n", Types: []string{"BIGINT", "BIGINT"}, Numbers: []int64{1, -10, 2, 0, math.MaxInt64, math.MinInt64}, NullZero: []int{1}}
			var got []int64
			err = db.Tx(t.Context(), func(tx *store.Tx) error {
				if _, err := tx.Insert(t.Context(), "pairs", pairs, ""); err != nil {
					return err
				}
				change := store.Table{Names: "n, id", Types: pairs.Types, Numbers: []int64{-11, 1}}
				if err := tx.Update(t.Context(), "pairs", change); err != nil {
					return err
				}
				wanted := store.Table{Names: "id", Types: []string{"BIGINT"}, Rows: [][]any{{int64(1)}, {int64(2)}, {int64(math.MaxInt64)}, {int64(4)}}}
				return tx.Select(t.Context(), wanted, `SELECT COALESCE(p.n, 0) FROM wanted w JOIN pairs p ON p.id = w.id ORDER BY p.id`,
					func(row store.Row) error {
						var n int64
						err := row.Scan(&n)
						got = append(got, n)
						return err
					})
			})
			if diff := cmp.Diff([]int64{-11, 0, math.MinInt64}, got); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestTableAdds holds that counters are added to, and begin where there are none.
func TestTableAdds(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, `CREATE TABLE tally (id BIGINT NOT NULL PRIMARY KEY, up BIGINT NOT NULL, down BIGINT NOT NULL)`)
		add := func(rows ...[]any) {
			t.Helper()
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				return tx.Add(t.Context(), "tally", store.Table{Names: "up, down, id", Types: []string{"BIGINT", "BIGINT", "BIGINT"}, Rows: rows})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		add([]any{int64(1), int64(2), int64(7)}, []any{int64(3), int64(4), int64(8)})
		add([]any{int64(-1), int64(10), int64(7)}, []any{int64(5), int64(6), int64(9)})
		add()
		got := column(t, db.Read(), `SELECT id || ' ' || up || ' ' || down FROM tally ORDER BY id`)
		if diff := cmp.Diff([]string{"7 0 12", "8 3 4", "9 5 6"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestTableRefusals(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, wide)
		mustExec(t, db, `INSERT INTO wide (id) VALUES (1)`)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		good := wideTable([]any{int64(5), nil, nil, nil, nil, nil})
		for name, tt := range map[string]struct {
			do   func(tx *store.Tx) error
			want func(error) bool
		}{
			"text that cannot be stored": {func(tx *store.Tx) error {
				_, err := tx.Insert(t.Context(), "wide", wideTable([]any{int64(5), nil, nil, "a\x00b", nil, nil}), "")
				return err
			}, func(err error) bool { return errors.Is(err, store.ErrBadText) }},
			"a key that is there": {func(tx *store.Tx) error {
				_, err := tx.Insert(t.Context(), "wide", wideTable(good.Rows[0], []any{int64(1), nil, nil, nil, nil, nil}), "")
				return err
			}, store.IsUnique},
			"a context that has ended": {func(tx *store.Tx) error {
				_, err := tx.Insert(ended, "wide", good, "")
				return err
			}, func(err error) bool { return errors.Is(err, context.Canceled) }},
			"an error of the one who reads": {func(tx *store.Tx) error {
				return tx.Select(t.Context(), store.Table{Names: "id", Types: []string{"BIGINT"}, Rows: [][]any{{int64(1)}, {int64(2)}}},
					`SELECT w.id FROM wanted w`, func(store.Row) error { return errStop })
			}, func(err error) bool { return errors.Is(err, errStop) }},
		} {
			t.Run(name, func(t *testing.T) {
				var inside, later error
				err := db.Tx(t.Context(), func(tx *store.Tx) error {
					inside = tt.do(tx)
					_, later = tx.Insert(t.Context(), "wide", good, "")
					return nil // the transaction knows
				})
				if !tt.want(inside) || !tt.want(later) || !tt.want(err) {
					t.Errorf("inside: %v; a later statement: %v; the transaction: %v", inside, later, err)
				}
				if got := readWide(t, db, 5); len(got) != 0 {
					t.Errorf("stored all the same: %v", got)
				}
			})
		}
	})
}

// TestOftenWritten holds that a stated fillfactor makes the key the order of
// the table in SQLite, without a second tree.
func TestOftenWritten(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	mustExec(t, db, `CREATE TABLE one (id BIGINT NOT NULL CONSTRAINT one_key PRIMARY KEY, n BIGINT) WITH (fillfactor = 70)`)
	mustExec(t, db, `CREATE TABLE two (a BIGINT NOT NULL, b BIGINT NOT NULL, PRIMARY KEY (a, b)) WITH (fillfactor = 100)`)
	mustExec(t, db, `CREATE TABLE plain (id BIGINT NOT NULL PRIMARY KEY)`)
	trees := func(table string) string {
		return strings.Join(column(t, db.Read(), `SELECT type FROM sqlite_master WHERE tbl_name = $1 ORDER BY name`, table), " ")
	}
	if one, plain := trees("one"), trees("plain"); one != "table" || plain != "table index" {
		t.Errorf("a table for writing is %q, another %q", one, plain)
	}
	if got := column(t, db.Read(), `SELECT wr FROM pragma_table_list WHERE name = 'two'`); got[0] != "1" {
		t.Errorf("two is no table without rowid: %v", got)
	}
}
