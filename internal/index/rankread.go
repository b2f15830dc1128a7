package index

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/atoll-social/atoll/internal/store"
)

// Rank is where a post stands in lists, and by what.
type Rank struct {
	Post int64
	// Community is 0 where no list may show the post.
	Community             int64
	State                 State
	CreatedAt, Hot, Score int64 // microseconds; see hotRank; upvotes less downvotes
}

// Order is what a list is sorted by, the greatest first; of equals the greater
// id.
type Order uint8

// The orders.
const (
	ByHot Order = iota
	ByTop
	ByNew
)

// Key is what the order compares.
func (r Rank) Key(o Order) int64 {
	switch o {
	case ByTop:
		return r.Score
	case ByNew:
		return r.CreatedAt
	}
	return r.Hot
}

// HotBound is a key of ByHot that nothing made before a time reaches, however
// many have voted for it: there are not a hundred million accounts.
func HotBound(createdAt int64) int64 { return createdBefore(createdAt) + mostVotes }

const mostVotes = 8 * rankPerUnit

func createdBefore(at int64) int64 { return (at - rankEpoch) / rankStep }

// Seq is the number of the last transaction that changed the index.
func (x *Index) Seq(ctx context.Context) (seq int64, err error) {
	err = x.db.Read().QueryRowContext(ctx, `SELECT seq FROM index_clock WHERE id = 1`).Scan(&seq)
	if err != nil {
		return 0, fmt.Errorf("read the index's clock: %w", err)
	}
	return seq, nil
}

const rankFields = `r.post_id, COALESCE(r.community_id, 0), r.state, r.created_at, r.hot, r.score`

func scanRanks(rows *sql.Rows, each1 func(Rank)) error {
	return each(rows, func() error {
		var r Rank
		err := rows.Scan(&r.Post, &r.Community, &r.State, &r.CreatedAt, &r.Hot, &r.Score)
		each1(r)
		return err
	})
}

// Ranks lists what stands in lists and was made since a time, by growing id
// after one, at most limit.
func (x *Index) Ranks(ctx context.Context, after, since int64, limit int) ([]Rank, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT `+rankFields+` FROM post_rank r
		WHERE r.post_id > $1 AND r.community_id IS NOT NULL AND r.created_at >= $2 ORDER BY r.post_id LIMIT $3`, after, since, limit)
	if err != nil {
		return nil, fmt.Errorf("read ranks: %w", err)
	}
	out := make([]Rank, 0, limit)
	err = scanRanks(rows, func(r Rank) { out = append(out, r) })
	return out, err
}

// RankQuery asks for posts in order, as they stand now.
type RankQuery struct {
	// Community is whose posts, those that it has accepted; 0 means all that are
	// listed anywhere.
	Community int64
	Order     Order
	// After is the key and the post that they come after; nil begins.
	After *RankKey
	// Since and Before bound when they were made, in microseconds; Before 0 is
	// no bound.
	Since, Before int64
	Limit         int
}

// RankKey is a place in an order.
type RankKey struct{ Key, Post int64 }

// Ranked answers q from the database alone. It is what lists in memory do not
// hold, and what they are checked against.
func (x *Index) Ranked(ctx context.Context, q RankQuery) ([]Rank, error) {
	var out []Rank
	var err error
	switch {
	case q.Community == 0 && q.Order == ByHot:
		out, err = x.hottest(ctx, q)
	case q.Community == 0 && q.Order == ByTop && q.Since == 0:
		if out, err = x.ranked(ctx, q, ` AND r.top_band > 0`); err == nil && len(out) < q.Limit {
			out, err = x.ranked(ctx, q, ``)
		}
	default:
		out, err = x.ranked(ctx, q, ``)
	}
	if err != nil {
		return nil, fmt.Errorf("read ranked posts: %w", err)
	}
	return out, nil
}

// hottest has no index to walk: posts of all communities in the order of their
// heat are among those made within some days of each other, because age counts
// for more than votes in the end. The span grows until it is certain.
func (x *Index) hottest(ctx context.Context, q RankQuery) ([]Rank, error) {
	end := store.Micros(x.now())
	if q.Before != 0 {
		end = min(end, q.Before)
	}
	if q.After != nil {
		end = min(end, (q.After.Key+mostVotes)*rankStep+rankEpoch)
	}
	for span := 5 * 24 * time.Hour.Microseconds(); ; span *= 4 {
		since := end - span
		if since <= max(q.Since, rankEpoch) {
			return x.ranked(ctx, q, ``)
		}
		part := q
		part.Since = since
		out, err := x.ranked(ctx, part, ``)
		if n := len(out); err != nil || n == q.Limit && out[n-1].Hot > HotBound(since) {
			return out, err
		}
	}
}

// ranked runs one query. extra is a further condition on r.
func (x *Index) ranked(ctx context.Context, q RankQuery, extra string) ([]Rank, error) {
	query, args := rankedQuery(q, extra)
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	out := make([]Rank, 0, q.Limit)
	err = scanRanks(rows, func(r Rank) { out = append(out, r) })
	return out, err
}

// bandOf are the coarser keys that indexes of post_rank are ordered by.
var bandOf = map[string]func(int64) int64{`r.hot_band`: hotBand, `r.top_band`: topBand}

// rankedQuery writes the query. Where the index that it walks is ordered by
// bands, the order begins with them.
func rankedQuery(q RankQuery, extra string) (string, []any) {
	var args []any
	param := func(v int64) string {
		args = append(args, v)
		return `CAST($` + strconv.Itoa(len(args)) + ` AS BIGINT)`
	}
	column := map[Order]string{ByHot: `r.hot`, ByTop: `r.score`, ByNew: `r.created_at`}[q.Order]
	from, created, id, band := ` FROM post_rank r`, `r.created_at`, `r.post_id`, ``
	var where string
	switch {
	case q.Community != 0:
		where = `r.community_id = ` + param(q.Community) + ` AND r.state = 1`
		if q.Before != 0 { // the index by heat finds what is old
			where += ` AND r.hot < ` + param(HotBound(q.Before)) + ` AND r.hot_band <= ` + param(hotBand(HotBound(q.Before)))
		}
		if q.Order == ByHot {
			band = `r.hot_band`
		}
	case q.Order == ByNew || q.Since > 0: // the index of the newest posts finds them
		from, where, created = ` FROM post p CROSS JOIN post_rank r`, `r.post_id = p.id AND NOT p.deleted AND r.community_id IS NOT NULL`, `p.created_at`
		if q.Order == ByNew {
			column, id = `p.created_at`, `p.id`
		}
	default:
		where = `r.community_id IS NOT NULL`
		if q.Order == ByTop {
			band = `r.top_band`
		}
	}
	where += extra
	if q.Since != 0 {
		where += ` AND ` + created + ` >= ` + param(q.Since)
	}
	if q.Before != 0 {
		where += ` AND ` + created + ` < ` + param(q.Before)
	}
	if q.After != nil {
		if of := bandOf[band]; of != nil {
			where += ` AND ` + band + ` <= ` + param(of(q.After.Key))
		}
		where += ` AND (` + column + `, ` + id + `) < (` + param(q.After.Key) + `, ` + param(q.After.Post) + `)`
	}
	if band != "" {
		band += ` DESC, `
	}
	return `SELECT ` + rankFields + from + ` WHERE ` + where + ` ORDER BY ` + band + column + ` DESC, ` + id + ` DESC LIMIT ` + param(int64(q.Limit)), args
}

// Scores lists the scores of what a community has accepted and was made since a
// time, in no order.
func (x *Index) Scores(ctx context.Context, community, since int64) (map[int64]int64, error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT `+rankFields+` FROM post_rank r
		WHERE r.community_id = $1 AND r.state = 1 AND r.hot_band >= $2 AND r.hot >= $3 AND r.created_at >= $4`,
		community, hotBand(createdBefore(since)-mostVotes), createdBefore(since)-mostVotes, since)
	if err != nil {
		return nil, fmt.Errorf("read scores: %w", err)
	}
	out := map[int64]int64{}
	err = scanRanks(rows, func(r Rank) { out[r.Post] = r.Score })
	return out, err
}
