package feed

import (
	"slices"
	"time"

	"github.com/atoll-social/atoll/internal/index"
)

// How much of a community a subscription shows (docs/feeds.md):
//
//	5  everything, and a little higher up
//	4  everything but what the community voted down, slightly higher up
//	3  the same, in its own place
//	2  what is among the best 30 % of the last 30 days there
//	1  what is among the best 10 %
const (
	goodShare = 30 // of a hundred
	bestShare = 10
	// barWindow is of which posts the share is taken.
	barWindow = 30 * 24 * time.Hour
	// barStep is how often the window moves.
	barStep = time.Hour
)

// lifts are what each level adds to a post's heat: as much as so many times
// the votes would.
var lifts = [...]int64{0, -477_121, -238_561, 0, 238_561, 477_121}

// lift is what a level adds to the key of an order.
func lift(level int, o index.Order) int64 {
	if o != index.ByHot || level < 1 || level >= len(lifts) {
		return 0
	}
	return lifts[level]
}

// everything is a bar that nothing fails.
const everything = -1 << 62

// bars are the least scores that the levels show that have to be counted: the
// share of the best, and of the good.
type bars struct{ best, good int64 }

// barsOf takes the bars from the scores of the window, in any order. Without a
// vote in its favour nothing stands out.
func barsOf(scores []int64) bars {
	if len(scores) == 0 {
		return bars{1, 1}
	}
	slices.Sort(scores)
	at := func(share int) int64 { return max(1, scores[len(scores)-(len(scores)*share+99)/100]) }
	return bars{best: at(bestShare), good: at(goodShare)}
}

// bar is the least score that a level shows; count is asked for bars where the
// level has one.
func bar(level int, count func() (bars, error)) (int64, error) {
	if level >= 5 {
		return everything, nil
	}
	if level > 2 {
		return 0, nil
	}
	b, err := count()
	if level == 1 {
		return b.best, err
	}
	return b.good, err
}

// barSince is where the window of a page begins.
func barSince(at time.Time) int64 { return at.Truncate(barStep).Add(-barWindow).UnixMicro() }
