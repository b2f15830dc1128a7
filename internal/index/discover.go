package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Post is a post as it is shown.
type Post struct {
	Author    Account
	RKey      syntax.RecordKey
	CID       syntax.CID
	Community Account
	// Record is the whole record as the data model's JSON.
	Record    json.RawMessage
	CreatedAt time.Time // clamped
	IndexedAt time.Time
	EditedAt  time.Time // zero when it never was
	State     State
	// Upvotes, Downvotes and Comments are counted here, never taken from
	// records.
	Upvotes, Downvotes, Comments int64
}

// URI names the post on the network.
func (p Post) URI() syntax.ATURI {
	return syntax.ATURI("at://" + string(p.Author.DID) + "/" + string(PostCollection) + "/" + string(p.RKey))
}

// Position is where a page of newest posts ended.
type Position struct {
	createdAt, id int64
}

// visible is the condition under which anybody may see post p by account a in
// community c, whose profile m there need not be. Every read of posts uses it.
const visible = `NOT p.deleted AND a.active AND c.active AND p.state < 3 AND m.host_ok IS NOT FALSE`

// discoverQuery names the joins in the order in which SQLite is to take them.
// Communities that do not want to be found are left out.
const discoverQuery = `
SELECT p.id, p.rkey, p.cid, p.record, p.created_at, p.indexed_at, COALESCE(p.edited_at, 0), p.state,
       a.did, COALESCE(a.handle, ''), c.did, COALESCE(c.handle, ''),
       COALESCE(r.upvotes, 0), COALESCE(r.downvotes, 0), COALESCE(r.comments, 0)
FROM post p CROSS JOIN account a CROSS JOIN account c
LEFT JOIN community m ON m.account_id = p.community_id LEFT JOIN post_rank r ON r.post_id = p.id
WHERE a.id = p.author_id AND c.id = p.community_id AND COALESCE(m.visibility, 0) = 0 AND ` + visible

// Discover returns posts of all communities, newest first, whole in one query:
// limit of them at most, those after the position when one is given. next is
// nil on the last page.
func (x *Index) Discover(ctx context.Context, limit int, after *Position) (posts []Post, next *Position, err error) {
	query, args := discoverQuery, []any{limit + 1}
	if after != nil {
		query += ` AND (p.created_at, p.id) < (CAST($2 AS BIGINT), CAST($3 AS BIGINT))`
		args = append(args, after.createdAt, after.id)
	}
	rows, err := x.db.Read().QueryContext(ctx, query+` ORDER BY p.created_at DESC, p.id DESC LIMIT $1`, args...)
	if err != nil {
		return nil, nil, fmt.Errorf("read newest posts: %w", err)
	}
	var last []Position
	err = each(rows, func() error {
		p, at, err := scanPost(rows)
		posts, last = append(posts, p), append(last, at)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read newest posts: %w", err)
	}
	if len(posts) > limit { // the one too many proves another page
		return posts[:limit], &last[limit-1], nil
	}
	return posts, nil, nil
}

func scanPost(rows *sql.Rows) (Post, Position, error) {
	var p Post
	var at Position
	var indexed, edited int64
	var record []byte
	err := rows.Scan(&at.id, &p.RKey, &p.CID, &record, &at.createdAt, &indexed, &edited, &p.State,
		&p.Author.DID, &p.Author.Handle, &p.Community.DID, &p.Community.Handle, &p.Upvotes, &p.Downvotes, &p.Comments)
	p.Record = record
	p.CreatedAt, p.IndexedAt = time.UnixMicro(at.createdAt).UTC(), store.FromMicros(indexed)
	p.EditedAt = store.FromMicros(edited)
	return p, at, err
}
