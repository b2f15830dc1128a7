package index

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// movesInRow is after how many bytes of moves a row of rank_change is full:
// PostgreSQL moves what makes a row longer than 2,000 to a place of its own.
const movesInRow = 1800

// errMoves tells that a row of rank_change holds something else.
var errMoves = errors.New("moves of ranks cannot be read")

// moves writes rows of rank_change: each post that a transaction has moved, by
// growing id, with where it stood and where it stands, as varints (package
// encoding/binary). What is mostly the same is written as a difference.
type moves struct {
	rows [][]byte
	last int64 // post of the last row
}

func (m *moves) add(post int64, was, is rankRow) {
	if n := len(m.rows); n == 0 || len(m.rows[n-1]) > movesInRow {
		m.rows, m.last = append(m.rows, make([]byte, 0, movesInRow+64)), 0
	}
	row := m.rows[len(m.rows)-1]
	for _, n := range [...]int64{
		post - m.last, was.community, int64(was.state), was.createdAt, was.hot - createdBefore(was.createdAt), was.score,
		is.community - was.community, int64(is.state), is.createdAt - was.createdAt, is.hot - was.hot, is.score - was.score,
	} {
		row = binary.AppendVarint(row, n)
	}
	m.rows[len(m.rows)-1], m.last = row, post
}

// readMoves gives the moves of a row to each.
func readMoves(row []byte, each func(was, is Rank)) error {
	var n [11]int64
	for post := int64(0); len(row) > 0; {
		for i := range n {
			v, size := binary.Varint(row)
			if size <= 0 {
				return errMoves
			}
			n[i], row = v, row[size:]
		}
		post += n[0]
		was := Rank{Post: post, Community: n[1], State: State(n[2]), CreatedAt: n[3], Hot: n[4] + createdBefore(n[3]), Score: n[5]}
		each(was, Rank{Post: post, Community: was.Community + n[6], State: State(n[7]), CreatedAt: was.CreatedAt + n[8],
			Hot: was.Hot + n[9], Score: was.Score + n[10]})
	}
	return nil
}

// storeMoves writes rows of rank_change.
func (b *batch) storeMoves(ctx context.Context, m moves) {
	rows := make([][]any, len(m.rows))
	for i, row := range m.rows {
		rows[i] = []any{b.seq, int64(i), b.now, row}
	}
	b.upsert(ctx, "rank_change", `seq, part, changed_at, moves`, []string{"BIGINT", "BIGINT", "BIGINT", "BYTEA"}, rows, "")
}

// Change is a move of a post by the transaction Seq.
type Change struct {
	Seq int64
	// Was is where the post stood before. Is is where it stands now, which may
	// be the result of later changes.
	Was, Is Rank
}

// Changes returns what has moved after the transaction with number after, and
// the number of the last transaction, all as of one moment. What is older than
// ten minutes may be forgotten.
func (x *Index) Changes(ctx context.Context, after int64) (changes []Change, seq int64, err error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT k.seq, COALESCE(h.seq, 0), h.moves FROM index_clock k LEFT JOIN rank_change h ON h.seq > $1
		WHERE k.id = 1 ORDER BY h.seq, h.part`, after)
	if err != nil {
		return nil, 0, fmt.Errorf("read changes of rank: %w", err)
	}
	err = each(rows, func() error {
		var at int64
		var row []byte
		if err := rows.Scan(&seq, &at, &row); err != nil {
			return err
		}
		return readMoves(row, func(was, is Rank) { changes = append(changes, Change{at, was, is}) })
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read changes of rank: %w", err)
	}
	now := make(map[int64]Rank, len(changes))
	for i := len(changes) - 1; i >= 0; i-- {
		c := &changes[i]
		if last, ok := now[c.Is.Post]; ok {
			c.Is = last
			continue
		}
		now[c.Is.Post] = c.Is
	}
	return changes, seq, nil
}

// undecidedMoves lists posts that the transactions after one and up to another
// have moved to where their community has to decide.
func (x *Index) undecidedMoves(ctx context.Context, after, upTo int64) ([]int64, error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `SELECT moves FROM rank_change WHERE seq > $1 AND seq <= $2 ORDER BY seq, part`, after, upTo)
	if err != nil {
		return nil, err
	}
	var posts []int64
	seen := map[int64]bool{}
	err = each(rows, func() error {
		var row []byte
		if err := rows.Scan(&row); err != nil {
			return err
		}
		return readMoves(row, func(_, is Rank) {
			if (is.State == Pending || is.State == PendingReacceptance) && !seen[is.Post] {
				seen[is.Post] = true
				posts = append(posts, is.Post)
			}
		})
	})
	return posts, err
}

// How long changes of rank are remembered, which is what cursors rely on and
// some more, how often they are forgotten, and those of how many transactions
// at once.
const (
	changesKept   = 11 * time.Minute
	pruneEvery    = 15 * time.Second
	changesAtOnce = 1000
)

// pruneChanges forgets changes of rank that nobody needs any more.
func (x *Index) pruneChanges(ctx context.Context, b *batch) error {
	if b.now-x.pruned.Load() < pruneEvery.Microseconds() {
		return nil
	}
	var more bool
	for _, table := range []string{"rank_change", "comment_change", "shown_change"} {
		// Both end at the first row that they find.
		var oldest, young sql.NullInt64
		err := b.tx.QueryRowContext(ctx, `
			SELECT (SELECT t.seq FROM `+table+` t ORDER BY t.seq LIMIT 1),
			    (SELECT t.seq FROM `+table+` t WHERE t.changed_at >= $1 ORDER BY t.seq LIMIT 1)`,
			b.now-changesKept.Microseconds()).Scan(&oldest, &young)
		if err != nil {
			return err
		}
		if !oldest.Valid || oldest == young {
			continue
		}
		until := oldest.Int64 + changesAtOnce
		if young.Valid {
			until = min(until, young.Int64)
		}
		more = more || until != young.Int64
		if _, err := b.tx.ExecContext(ctx, `DELETE FROM `+table+` WHERE seq < $1`, until); err != nil {
			return err
		}
	}
	if !more {
		x.pruned.Store(b.now)
	}
	return nil
}
