package post

import (
	"context"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	// PageBytes is about how much of records one page of posts holds. A page is
	// read by anybody and as often as they like; a hundred of the longest posts
	// would be megabytes of work for each of them.
	PageBytes = 1 << 20
	// pageStep is how many posts are read at once, so that little is read in vain.
	pageStep = 10
)

// Lister lists the newest posts. It is index.Index.
type Lister interface {
	Discover(ctx context.Context, limit int, after *index.Position) ([]index.Post, *index.Position, error)
}

// Newest returns a page of posts of all communities, newest first, after the
// position if there is one. It holds limit of them at most, and fewer when their
// records are larger than PageBytes together, but one at least. next is where
// the page ended, nil on the last one.
func Newest(ctx context.Context, list Lister, limit int, after *index.Position) (page []index.Post, next *index.Position, err error) {
	room := PageBytes
	for {
		posts, end, err := list.Discover(ctx, min(pageStep, limit-len(page)), after)
		if err != nil {
			return nil, nil, err
		}
		n := fitting(posts, &room)
		switch {
		case n == len(posts):
		case n == 0 && len(page) > 0:
			return page, after, nil
		default: // the page ends earlier than what was read: where is that?
			posts, end, err = list.Discover(ctx, max(1, n), after)
			return append(page, posts...), end, err
		}
		page = append(page, posts...)
		if end == nil || len(page) == limit {
			return page, end, nil
		}
		after = end
	}
}

// fitting tells how many of posts there is room for, and takes it.
func fitting(posts []index.Post, room *int) int {
	for i, p := range posts {
		if *room -= len(p.Record); *room < 0 {
			return i
		}
	}
	return len(posts)
}
