package index

import (
	"context"
	"maps"
	"slices"

	"github.com/atoll-social/atoll/internal/store"
)

// accountTally counts what accounts do and what communities have, or the
// change of that.
type accountTally struct {
	posts, comments, subscriptions int64 // as a person
	subscribers, accepted          int64 // as a community
}

// commentTally counts what others say to a comment, or the change of that.
type commentTally struct{ upvotes, downvotes, replies int64 }

// isComment tells the ids of comments, which are negative, from those of posts.
func isComment(id int64) bool { return id < 0 }

func (b *batch) person(id int64, change func(*accountTally)) {
	t := b.people[id]
	change(&t)
	b.people[id] = t
}

func (b *batch) comment(id int64, change func(*commentTally)) {
	if id != 0 {
		t := b.talk[id]
		change(&t)
		b.talk[id] = t
	}
}

// post is what happens to a post; to none in particular for id 0.
func (b *batch) post(id int64) *postDelta {
	d := b.posts[id]
	if d == nil {
		if len(b.deltas) == cap(b.deltas) {
			b.deltas = make([]postDelta, 0, min(max(8, 2*cap(b.deltas)), 1024))
		}
		b.deltas = append(b.deltas, postDelta{})
		d = &b.deltas[len(b.deltas)-1]
		b.posts[id] = d
	}
	return d
}

// settlePeople adds what was gathered to the counters, in key order, so that
// every transaction locks them in the same order.
func (b *batch) settlePeople(ctx context.Context) error {
	var rows [][]any
	for _, id := range slices.Sorted(maps.Keys(b.people)) {
		if t := b.people[id]; t != (accountTally{}) {
			rows = append(rows, []any{t.posts, t.comments, t.subscriptions, t.subscribers, t.accepted, id})
		}
	}
	clear(b.people)
	b.tx.Later().Add(ctx, "account_tally", store.Table{Names: "posts, comments, subscriptions, subscribers, accepted, account_id",
		Types: slices.Repeat([]string{"BIGINT"}, 6), Rows: rows})
	return nil
}

// settleTalk is settlePeople for comments.
func (b *batch) settleTalk(ctx context.Context) error {
	var rows [][]any
	for _, id := range slices.Sorted(maps.Keys(b.talk)) {
		if t := b.talk[id]; t != (commentTally{}) {
			rows = append(rows, []any{t.upvotes, t.downvotes, t.upvotes - t.downvotes, t.replies, id})
		}
	}
	clear(b.talk)
	b.tx.Later().Add(ctx, "comment_tally", store.Table{Names: "upvotes, downvotes, score, replies, comment_id",
		Types: slices.Repeat([]string{"BIGINT"}, 5), Rows: rows})
	return nil
}
