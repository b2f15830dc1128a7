package index

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"slices"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// AuthorQuery asks for what somebody wrote, the last first.
type AuthorQuery struct {
	Author syntax.DID
	// Community bounds it to one community; empty for all.
	Community syntax.DID
	// After is the number at which the page before ended; 0 begins.
	After int64
	Limit int
}

// written is a post, or a comment and its post, by the number of its key.
type written struct{ id, root, number int64 }

// PostsBy returns posts by one author, as the viewer sees them. next is where
// the page ended, 0 on the last one.
func (x *Index) PostsBy(ctx context.Context, v Viewer, q AuthorQuery) (posts []Post, next int64, err error) {
	err = x.byAuthor(ctx, v, q, postList, &next, func(rows []written) ([]bool, error) {
		ids := make([]int64, len(rows))
		for i, r := range rows {
			ids[i] = r.id
		}
		seen, err := x.Posts(ctx, v, ByName, ids)
		shown := make([]bool, len(rows))
		for i, id := range ids {
			p, ok := seen[id]
			if shown[i] = ok; ok && len(posts) < q.Limit {
				posts = append(posts, p)
			}
		}
		return shown, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list posts of %s: %w", q.Author, err)
	}
	return posts, next, nil
}

// CommentsBy is PostsBy for comments: those on posts that the viewer sees.
func (x *Index) CommentsBy(ctx context.Context, v Viewer, q AuthorQuery) (comments []*Comment, next int64, err error) {
	err = x.byAuthor(ctx, v, q, commentList, &next, func(rows []written) ([]bool, error) {
		some, err := x.commentsOn(ctx, v, rows)
		shown := make([]bool, len(rows))
		for i, r := range rows {
			c := some[r.id]
			if shown[i] = c != nil && c.Gone == 0; shown[i] && len(comments) < q.Limit {
				c.More = false
				comments = append(comments, c)
			}
		}
		return shown, err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list comments of %s: %w", q.Author, err)
	}
	return comments, next, nil
}

// commentsOn reads comments on different posts, in three queries.
func (x *Index) commentsOn(ctx context.Context, v Viewer, rows []written) (map[int64]*Comment, error) {
	of := map[int64][]int64{}
	var roots []int64
	for _, r := range rows {
		if len(of[r.root]) == 0 {
			roots = append(roots, r.root)
		}
		of[r.root] = append(of[r.root], r.id)
	}
	posts, err := x.Posts(ctx, v, ByName, roots)
	if err != nil {
		return nil, err
	}
	var ids []int64
	post := map[int64]Post{}
	for root, p := range posts {
		for _, id := range of[root] {
			ids = append(ids, id)
			post[id] = p
		}
	}
	out, err := x.comments(ctx, v, Post{}, ids)
	for id, c := range out {
		p := post[id]
		c.Post = Ref{p.URI(), p.CID}
	}
	return out, err
}

// authorList is how a sort of records is listed by author: the query, and how
// the number of a key is written in it and read.
type authorList struct {
	query string
	bound func(number int64) any
	scan  func(*sql.Rows) (written, error)
}

var postList = authorList{query: `
	SELECT p.id, p.rkey FROM account a CROSS JOIN post p LEFT JOIN account c ON c.id = p.community_id
	WHERE a.did = $1 AND p.author_id = a.id AND NOT p.deleted AND ($2 = '' OR c.did = $2) AND p.rkey < $3
	ORDER BY p.rkey DESC LIMIT $4`,
	bound: func(number int64) any { return tidText(number) },
	scan: func(rows *sql.Rows) (w written, err error) {
		var key syntax.RecordKey
		err = rows.Scan(&w.id, &key)
		w.root, w.number = w.id, tidNumber(key)
		return w, err
	},
}

var commentList = authorList{query: `
	SELECT k.id, k.root_id, k.tid FROM account a CROSS JOIN comment k CROSS JOIN post p LEFT JOIN account c ON c.id = p.community_id
	WHERE a.did = $1 AND k.author_id = a.id AND NOT k.deleted AND p.id = k.root_id AND ($2 = '' OR c.did = $2) AND k.tid < $3
	ORDER BY k.tid DESC LIMIT $4`,
	bound: func(number int64) any { return number },
	scan: func(rows *sql.Rows) (w written, err error) {
		err = rows.Scan(&w.id, &w.root, &w.number)
		return w, err
	},
}

// byAuthor reads rows until enough of them are shown; show says which of some
// are. Where most are hidden it looks at many at once.
func (x *Index) byAuthor(ctx context.Context, v Viewer, q AuthorQuery, list authorList, next *int64, show func([]written) ([]bool, error)) error {
	before, have := int64(math.MaxInt64), 0
	if q.After != 0 {
		before = q.After
	}
	for step := q.Limit + 1; ; step = max(step, hiddenStep) {
		rows, err := x.writtenBefore(ctx, q, before, step, list)
		if err != nil {
			return err
		}
		some, err := x.onShown(ctx, v, q, rows)
		if err != nil {
			return err
		}
		for part := range slices.Chunk(some, q.Limit+1) {
			shown, err := show(part)
			if err != nil {
				return err
			}
			for i, r := range part {
				if shown[i] && have == q.Limit { // the one too many proves another page
					*next = before
					return nil
				}
				if shown[i] {
					have++
				}
				before = r.number
			}
		}
		if len(rows) < step {
			return nil
		}
		before = rows[step-1].number
	}
}

// hiddenStep is how many rows are looked at at once where most are hidden.
const hiddenStep = 512

// onShown leaves out what is on posts that the viewer does not see, where there
// are more rows than it takes to read whole.
func (x *Index) onShown(ctx context.Context, v Viewer, q AuthorQuery, rows []written) ([]written, error) {
	if len(rows) <= q.Limit+1 {
		return rows, nil
	}
	roots := make([]int64, len(rows))
	for i, r := range rows {
		roots[i] = r.root
	}
	seen, err := x.Shown(ctx, v, ByName, roots)
	return slices.DeleteFunc(slices.Clone(rows), func(r written) bool { return !seen[r.root] }), err
}

func (x *Index) writtenBefore(ctx context.Context, q AuthorQuery, before int64, limit int, list authorList) ([]written, error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, list.query, q.Author, string(q.Community), list.bound(before), limit)
	if err != nil {
		return nil, err
	}
	var out []written
	err = each(rows, func() error {
		w, err := list.scan(rows)
		out = append(out, w)
		return err
	})
	return out, err
}
