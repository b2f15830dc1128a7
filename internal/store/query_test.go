package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// mustExec runs a statement in a transaction of its own.
func mustExec(t *testing.T, db *store.DB, statement string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), statement, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// column returns the only column of a query, as text.
func column(t *testing.T, q store.Querier, query string, args ...any) []string {
	t.Helper()
	rows, err := q.QueryContext(t.Context(), query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	got := []string{}
	for rows.Next() {
		var value string
		if err := rows.Scan(&value); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
		got = append(got, value)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return got
}

const thing = `CREATE TABLE thing (
	id TEXT COLLATE "C" NOT NULL PRIMARY KEY, n BIGINT, flag BOOLEAN, body BYTEA, score DOUBLE PRECISION)`

func TestTypesComeBackAsTheyWent(t *testing.T) {
	t.Parallel()
	type row struct {
		ID    string
		N     sql.NullInt64
		Flag  sql.NullBool
		Body  []byte
		Score sql.NullFloat64
	}
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	rows := []row{
		{"ordinary", sql.NullInt64{Int64: 42, Valid: true}, sql.NullBool{Bool: true, Valid: true}, every, sql.NullFloat64{Float64: 0.1, Valid: true}},
		{"smallest", sql.NullInt64{Int64: math.MinInt64, Valid: true}, sql.NullBool{Valid: true}, []byte("123"), sql.NullFloat64{Float64: -math.MaxFloat64, Valid: true}},
		{"largest", sql.NullInt64{Int64: math.MaxInt64, Valid: true}, sql.NullBool{Valid: true}, []byte{0}, sql.NullFloat64{Float64: math.SmallestNonzeroFloat64, Valid: true}},
		{"nothing", sql.NullInt64{}, sql.NullBool{}, nil, sql.NullFloat64{}},
		{"empty bytes", sql.NullInt64{}, sql.NullBool{}, []byte{}, sql.NullFloat64{}},
		{"ünï 🏝 \t\n'\"\\", sql.NullInt64{}, sql.NullBool{}, bytes.Repeat([]byte{0xff}, 1<<20), sql.NullFloat64{}},
		{"", sql.NullInt64{}, sql.NullBool{}, nil, sql.NullFloat64{}},
	}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		for _, want := range rows {
			mustExec(t, db, `INSERT INTO thing (id, n, flag, body, score) VALUES ($1, $2, $3, $4, $5)`,
				want.ID, want.N, want.Flag, want.Body, want.Score)
			var got row
			err := db.Read().QueryRowContext(t.Context(), `SELECT id, n, flag, body, score FROM thing WHERE id = $1`, want.ID).
				Scan(&got.ID, &got.N, &got.Flag, &got.Body, &got.Score)
			if err != nil {
				t.Fatalf("read %q: %v", want.ID, err)
			}
			// Empty bytes come back as nil from SQLite; the column is not NULL.
			equalBytes := cmp.Comparer(func(a, b []byte) bool { return bytes.Equal(a, b) })
			if diff := cmp.Diff(want, got, equalBytes); diff != "" {
				t.Errorf("row %q (-wrote +read):\n%s", want.ID, diff)
			}
		}
		got := column(t, db.Read(), `SELECT id FROM thing WHERE body IS NULL ORDER BY id`)
		if diff := cmp.Diff([]string{"", "nothing"}, got); diff != "" {
			t.Errorf("rows whose bytes are NULL (-want +got):\n%s", diff)
		}
	})
}

func TestBooleansWorkAsConditions(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `INSERT INTO thing (id, flag) VALUES ('yes', true), ('no', false), ('maybe', NULL)`)
		for query, want := range map[string][]string{
			`SELECT id FROM thing WHERE flag`:                                                {"yes"},
			`SELECT id FROM thing WHERE NOT flag`:                                            {"no"},
			`SELECT id FROM thing WHERE flag = true`:                                         {"yes"},
			`SELECT id FROM thing WHERE flag IS NULL`:                                        {"maybe"},
			`SELECT id FROM thing WHERE flag IS NOT TRUE ORDER BY id`:                        {"maybe", "no"},
			`SELECT id FROM thing WHERE COALESCE(flag, true) ORDER BY id`:                    {"maybe", "yes"},
			`SELECT id FROM thing WHERE flag = (id = 'yes') ORDER BY id`:                     {"no", "yes"},
			`SELECT id FROM thing WHERE CASE WHEN flag THEN false ELSE true END ORDER BY id`: {"maybe", "no"},
		} {
			if diff := cmp.Diff(want, column(t, db.Read(), query)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", query, diff)
			}
		}
		if got := column(t, db.Read(), `SELECT id FROM thing WHERE flag = $1`, false); !slices.Equal(got, []string{"no"}) {
			t.Errorf("WHERE flag = $1 with false = %v, want [no]", got)
		}
	})
}

// A server whose locale is another one would sort "a" before "B" and "ä"
// before "z"; COLLATE "C" means bytes everywhere.
func TestCollateCOrdersByBytes(t *testing.T) {
	t.Parallel()
	words := []string{"a", "B", "ä", "z", "Z", "a-b", "a_b", "aa", "A", "", "🏝", "\uffff", "3l", "3L"}
	want := slices.Clone(words)
	slices.Sort(want)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, `CREATE TABLE word (text TEXT COLLATE "C" NOT NULL PRIMARY KEY, plain TEXT NOT NULL)`)
		mustExec(t, db, `CREATE INDEX word_plain ON word (plain collate "C")`)
		for _, w := range words {
			mustExec(t, db, `INSERT INTO word (text, plain) VALUES ($1, $1)`, w)
		}
		for _, query := range []string{
			`SELECT text FROM word ORDER BY text`,
			`SELECT text FROM word ORDER BY plain COLLATE "C"`,
			`SELECT text FROM word WHERE text >= '' ORDER BY 1`,
		} {
			if diff := cmp.Diff(want, column(t, db.Read(), query)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", query, diff)
			}
		}
		got := column(t, db.Read(), `SELECT text FROM word WHERE text > $1 AND text < $2 ORDER BY text`, "A", "a")
		if diff := cmp.Diff([]string{"B", "Z"}, got); diff != "" {
			t.Errorf("words between A and a (-want +got):\n%s", diff)
		}
	})
}

func TestParametersGoByNumber(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var a, b, c string
		err := db.Read().QueryRowContext(t.Context(),
			`SELECT CAST($2 AS TEXT), CAST($1 AS TEXT), CAST($2 AS TEXT) || CAST($1 AS TEXT)`, "one", "two").Scan(&a, &b, &c)
		if err != nil {
			t.Fatal(err)
		}
		if a != "two" || b != "one" || c != "twoone" {
			t.Errorf("got %q, %q, %q; want two, one, twoone", a, b, c)
		}
	})
}

func TestCastsKeepTheValue(t *testing.T) {
	t.Parallel()
	body := []byte{0, 1, 0xff, 'x'}
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `WITH v (id, n, flag, body) AS (
				VALUES (CAST($1 AS TEXT), CAST($2 AS BIGINT), CAST($3 AS BOOLEAN), CAST($4 AS BYTEA)))
			INSERT INTO thing (id, n, flag, body) SELECT id, n, flag, body FROM v WHERE true`, "007", int64(7), true, body)
		var id string
		var n int64
		var flag bool
		var got []byte
		if err := db.Read().QueryRowContext(t.Context(), `SELECT id, n, flag, body FROM thing`).Scan(&id, &n, &flag, &got); err != nil {
			t.Fatal(err)
		}
		if id != "007" || n != 7 || !flag || !bytes.Equal(got, body) {
			t.Errorf("got %q, %d, %t, %x; want 007, 7, true, %x", id, n, flag, got, body)
		}
		if found := column(t, db.Read(), `SELECT id FROM thing WHERE body = cast($1 as bytea)`, body); len(found) != 1 {
			t.Errorf("bytes compared with a cast parameter: found %v, want the row", found)
		}
	})
}

func TestIsNullTestsOfParameters(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `INSERT INTO thing (id, n) VALUES ('a', 1), ('b', 2)`)
		const query = `SELECT id FROM thing WHERE CAST($1 AS BIGINT) IS NULL OR n = $1 ORDER BY id`
		if got := column(t, db.Read(), query, nil); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("without a filter: %v, want [a b]", got)
		}
		if got := column(t, db.Read(), query, int64(2)); !slices.Equal(got, []string{"b"}) {
			t.Errorf("with a filter: %v, want [b]", got)
		}
	})
}

func TestUpsertsReturnRows(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		const upsert = `INSERT INTO thing (id, n) SELECT CAST($1 AS TEXT), CAST($2 AS BIGINT) WHERE true
			ON CONFLICT (id) DO UPDATE SET n = thing.n + excluded.n WHERE thing.n < 100 RETURNING n`
		for i, want := range []int64{60, 120} {
			var got int64
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				return tx.QueryRowContext(t.Context(), upsert, "a", int64(60)).Scan(&got)
			})
			if err != nil || got != want {
				t.Errorf("upsert %d returned %d, %v; want %d", i, got, err, want)
			}
		}
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			var n int64
			return tx.QueryRowContext(t.Context(), upsert, "a", int64(60)).Scan(&n)
		})
		if !errors.Is(err, sql.ErrNoRows) {
			t.Errorf("upsert whose WHERE is false: %v, want sql.ErrNoRows", err)
		}
	})
}

func TestRowsAffected(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		for i, want := range []int64{1, 0} {
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				res, err := tx.ExecContext(t.Context(), `INSERT INTO thing (id) VALUES ($1) ON CONFLICT (id) DO NOTHING`, "a")
				if err != nil {
					return err
				}
				if got, _ := res.RowsAffected(); got != want {
					t.Errorf("insert %d: %d rows affected, want %d", i, got, want)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestRowValuePaging(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, `CREATE TABLE page_test (at BIGINT NOT NULL, uri TEXT COLLATE "C" NOT NULL, PRIMARY KEY (at, uri))`)
		mustExec(t, db, `INSERT INTO page_test (at, uri) VALUES (1, 'a'), (2, 'B'), (2, 'a'), (2, 'b'), (3, 'a')`)
		var pages []string
		at, uri := int64(math.MaxInt64), ""
		for range 10 {
			rows := column(t, db.Read(), `SELECT at || uri FROM page_test WHERE (at, uri) < ($1, $2) ORDER BY at DESC, uri DESC LIMIT 2`, at, uri)
			if len(rows) == 0 {
				break
			}
			pages = append(pages, strings.Join(rows, " "))
			last := rows[len(rows)-1]
			at, uri = int64(last[0]-'0'), last[1:]
		}
		if diff := cmp.Diff([]string{"3a 2b", "2a 2B", "1a"}, pages); diff != "" {
			t.Errorf("pages (-want +got):\n%s", diff)
		}
	})
}

func TestPartialIndexes(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `CREATE UNIQUE INDEX thing_flagged ON thing (n) WHERE flag`)
		mustExec(t, db, `INSERT INTO thing (id, n, flag) VALUES ('a', 1, true), ('b', 1, false), ('c', 1, false)`)
		err := db.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO thing (id, n, flag) VALUES ('d', 1, true)`)
			return err
		})
		if !store.IsUnique(err) {
			t.Errorf("second flagged row: %v, want a unique violation", err)
		}
	})
}

func TestBadTextIsRefusedAlike(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		type named string
		bad := "\xff"
		for name, arg := range map[string]any{
			"U+0000": "a\x00b", "UTF-8 cut off": "a\xc3", "surrogate": "\xed\xa0\x80", "overlong": "\xc0\x80",
			"named type": named("\x00"), "pointer": &bad, "sql.NullString": sql.NullString{String: bad, Valid: true},
		} {
			err := db.Tx(t.Context(), func(tx *store.Tx) error {
				_, err := tx.ExecContext(t.Context(), `INSERT INTO thing (id) VALUES ($1)`, arg)
				return err
			})
			if !errors.Is(err, store.ErrBadText) || !store.IsBadData(err) {
				t.Errorf("insert %s: %v, want ErrBadText", name, err)
			}
			var id string
			err = db.Read().QueryRowContext(t.Context(), `SELECT id FROM thing WHERE id = $1`, arg).Scan(&id)
			if !errors.Is(err, store.ErrBadText) {
				t.Errorf("query row by %s: %v, want ErrBadText", name, err)
			}
			if _, err := db.Read().QueryContext(t.Context(), `SELECT id FROM thing WHERE id = $1`, arg); !errors.Is(err, store.ErrBadText) {
				t.Errorf("query by %s: %v, want ErrBadText", name, err)
			}
		}
	})
}

func TestArgumentsThatEnginesWouldTreatDifferentlyAreRefused(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		for name, arg := range map[string]any{
			"time.Time": time.Now(), "struct": struct{}{}, "slice": []string{"a"}, "large uint64": uint64(math.MaxUint64),
		} {
			var got string
			if err := db.Read().QueryRowContext(t.Context(), `SELECT CAST($1 AS TEXT)`, arg).Scan(&got); err == nil {
				t.Errorf("a parameter of %s was taken as %q", name, got)
			}
		}
	})
}

func TestTextIsNeverTakenForAString(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		var got string
		if err := db.Read().QueryRowContext(t.Context(), `SELECT "no such column"`).Scan(&got); err == nil {
			t.Errorf(`SELECT "no such column" returned %q, want an error`, got)
		}
	})
}

func TestReadersCannotWriteSQLite(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	if _, err := db.Read().ExecContext(t.Context(), `INSERT INTO write_check (id, written_at) VALUES (1, 1)`); err == nil {
		t.Error("a reader's connection wrote")
	}
}

func TestListPadsToPowersOfTwo(t *testing.T) {
	t.Parallel()
	tests := []struct {
		values []int64
		in     string
		args   []any
	}{
		{nil, "(NULL)", nil},
		{[]int64{7}, "($2)", []any{int64(7)}},
		{[]int64{7, 8}, "($2, $3)", []any{int64(7), int64(8)}},
		{[]int64{7, 8, 9}, "($2, $3, $4, $5)", []any{int64(7), int64(8), int64(9), int64(9)}},
	}
	for _, tt := range tests {
		in, args := store.List(2, tt.values)
		if in != tt.in || !cmp.Equal(args, tt.args) {
			t.Errorf("List(2, %v) = %q, %v; want %q, %v", tt.values, in, args, tt.in, tt.args)
		}
	}
}

func TestListSelectsExactlyItsValues(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		mustExec(t, db, thing)
		mustExec(t, db, `INSERT INTO thing (id) VALUES ('a'), ('b'), ('c'), ('d')`)
		for _, values := range [][]string{{}, {"a"}, {"c", "a", "x"}, {"a", "b", "c", "d", "e"}} {
			in, args := store.List(1, values)
			got := column(t, db.Read(), `SELECT id FROM thing WHERE id IN `+in+` ORDER BY id`, args...)
			want := slices.DeleteFunc(slices.Sorted(slices.Values(values)), func(s string) bool { return s > "d" })
			if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
				t.Errorf("IN %v (-want +got):\n%s", values, diff)
			}
		}
		many := make([]string, store.MaxList)
		for i := range many {
			many[i] = "c"
		}
		in, args := store.List(1, many)
		if got := column(t, db.Read(), `SELECT id FROM thing WHERE id IN `+in, args...); !slices.Equal(got, []string{"c"}) {
			t.Errorf("IN with %d values: %v, want [c]", len(many), got)
		}
	})
}
