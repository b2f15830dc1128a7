package index

import (
	"context"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/atoll-social/atoll/internal/store"
)

// The hot rank is log10(1+|score|), with the sign of the score, plus the age of
// the post in units of 12.5 hours, written as an integer: ten times the votes
// weigh as much as 12.5 hours. It holds no clock, so posts change places only
// when one of them gets a vote.
const (
	rankEpoch   = idEpoch   // microseconds
	rankStep    = 45_000    // microseconds of age that weigh 1
	rankPerUnit = 1_000_000 // weight of a factor of ten in the score
)

func hotRank(score, createdAt int64) int64 {
	votes := math.Round(rankPerUnit * math.Log10(1+math.Abs(float64(score))))
	return int64(math.Copysign(votes, float64(score))) + (createdAt-rankEpoch)/rankStep
}

// postDelta is what a batch does to one post's row of post_rank.
type postDelta struct {
	upvotes, downvotes, comments int64
	voters                       voters
	// placed tells that place is where the post is to be listed.
	placed bool
	place  place
}

// place is where and as what lists show a post; community 0 means nowhere.
type place struct {
	community, createdAt int64
	state                State
}

// rankRow is a row of post_rank.
type rankRow struct {
	place
	hot, score                   int64
	upvotes, downvotes, comments int64
	// voters is known of rows that were met before the first vote.
	voters voters
}

// voters is a bit for each account that may have a vote that counts: several
// accounts share one.
type voters uint64

const anybody = ^voters(0)

func asVoter(account int64) voters {
	return 1 << (uint64(account) * 0x9e3779b97f4a7c15 >> 58) // the golden ratio spreads what is alike
}

// moved reports whether lists that were made with old have to change.
func (r rankRow) moved(old rankRow) bool {
	return (r.community != 0 || old.community != 0) && (r.place != old.place || r.hot != old.hot || r.score != old.score)
}

func (r rankRow) after(d *postDelta) rankRow {
	if d.placed {
		r.place = d.place
	}
	r.upvotes += d.upvotes
	r.downvotes += d.downvotes
	r.comments += d.comments
	r.voters |= d.voters
	r.score = r.upvotes - r.downvotes
	r.hot = hotRank(r.score, r.createdAt)
	return r
}

// Indexes of post_rank are ordered by bands, more coarse than what they stand
// for, so that they need not follow every vote.
const (
	// hotBandBits makes 52 hours of hot rank a band: one vote in ten takes a post
	// that nobody has voted for to the next.
	hotBandBits = 22
	// Scores from 2^leastTop on have eight bands for each factor of two, those
	// from 2^mostTop on one.
	leastTop, mostTop = 4, 20
)

func hotBand(hot int64) int64 { return hot >> hotBandBits }

// topBand is 0 for the many scores that no index has.
func topBand(score int64) int64 {
	if score < 1<<leastTop {
		return 0
	}
	octave := bits.Len64(uint64(score)) - 1
	if octave >= mostTop {
		return 8 * mostTop
	}
	return int64(8*octave-8) + score>>(octave-3)
}

// stays reports whether no index has to follow.
func (r rankRow) stays(old rankRow) bool {
	return r.place == old.place && hotBand(r.hot) == hotBand(old.hot) && topBand(r.score) == topBand(old.score)
}

// settleRank writes rank rows, and where posts stood before, under the number
// of this transaction. Whoever has read all changes up to a number has missed
// none: numbers are taken in the order of commits (see takeTurn).
func (b *batch) settleRank(ctx context.Context) error {
	delete(b.posts, 0)
	ids := slices.Sorted(maps.Keys(b.posts))
	have, err := b.loadRank(ctx, ids)
	if err != nil {
		return err
	}
	if err := b.writeVotes(); err != nil {
		return err
	}
	b.lesson.ranks = make([]rankLesson, len(ids))
	var rows toWrite
	counted := make([]int64, 0, 6*len(ids))
	var changes moves
	for i, id := range ids {
		old, known := have[i].rankRow, have[i].known
		is := old.after(b.posts[id])
		b.lesson.ranks[i] = rankLesson{id, is.remembered()}
		if known && is == old {
			continue
		}
		b.accepted(old, -1)
		b.accepted(is, +1)
		if known && is.stays(old) {
			counted = append(counted, is.hot, is.score, is.upvotes, is.downvotes, is.comments, id)
		} else {
			rows.add([]any{id, idOrNull(is.community), int64(is.state), is.createdAt, hotBand(is.hot), topBand(is.score), is.hot, is.score,
				is.upvotes, is.downvotes, is.comments}, known)
		}
		if is.moved(old) {
			changes.add(id, old, is)
		}
	}
	b.storeRank(ctx, rows, counted, changes)
	return nil
}

// storeRank writes whole rows, the counters of rows that stay where they are in
// the index, and changes.
func (b *batch) storeRank(ctx context.Context, rows toWrite, counted []int64, changes moves) {
	b.write(ctx, "post_rank", `post_id, community_id, state, created_at, hot_band, top_band, hot, score, upvotes, downvotes, comments`,
		[]string{"BIGINT", "BIGINT", "SMALLINT", "BIGINT", "BIGINT", "SMALLINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "BIGINT"}, rows, `
		ON CONFLICT (post_id) DO UPDATE SET community_id = excluded.community_id, state = excluded.state,
		    created_at = excluded.created_at, hot_band = excluded.hot_band, top_band = excluded.top_band,
		    hot = excluded.hot, score = excluded.score,
		    upvotes = excluded.upvotes, downvotes = excluded.downvotes, comments = excluded.comments`)
	b.tx.Later().Update(ctx, "post_rank", store.Table{Names: "hot, score, upvotes, downvotes, comments, post_id",
		Types: numbers(6), Numbers: counted})
	b.storeMoves(ctx, changes)
}

// accepted counts a community's posts.
func (b *batch) accepted(r rankRow, n int64) {
	if r.community != 0 && r.state == Accepted {
		b.person(r.community, func(t *accountTally) { t.accepted += n })
	}
}

// foundRank is a row of post_rank, or that there is none.
type foundRank struct {
	rankRow
	known bool
}

// recallRank takes the rows that are remembered, in the order of ids, and returns
// the other ids.
func (b *batch) recallRank(ids []int64) (have []foundRank, others []int64) {
	b.memory.mu.Lock()
	defer b.memory.mu.Unlock()
	have = make([]foundRank, len(ids))
	for i, id := range ids {
		if r, ok := b.memory.ranks.get(id); ok && b.current {
			have[i] = foundRank{r.row(), true}
			continue
		}
		others = append(others, id)
	}
	return have, others
}

// loadRank finds the rows of ids, which are in order.
func (b *batch) loadRank(ctx context.Context, ids []int64) ([]foundRank, error) {
	have, others := b.recallRank(ids)
	err := b.probeNumbers(ctx, "post_id", others, `
		SELECT r.post_id, COALESCE(r.community_id, 0), r.state, r.created_at, r.hot, r.score, r.upvotes, r.downvotes, r.comments
		FROM wanted w CROSS JOIN post_rank r WHERE r.post_id = w.post_id`,
		func(rows store.Row) error {
			var id int64
			var r rankRow
			err := rows.Scan(&id, &r.community, &r.state, &r.createdAt, &r.hot, &r.score, &r.upvotes, &r.downvotes, &r.comments)
			if r.upvotes > 0 || r.downvotes > 0 {
				r.voters = anybody
			}
			if i, ok := slices.BinarySearch(ids, id); ok {
				have[i] = foundRank{r, true}
			}
			return err
		})
	return have, err
}
