package index

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Gone is why a comment is only a place in its thread.
type Gone int

// The reasons. Zero is a comment that is there.
const (
	GoneDeleted Gone = iota + 1 // by its author, or never seen here
	GoneShutOut                 // the community has shut its author out
	GoneAccount                 // the author's account is not active
	GoneBlocked                 // the viewer has blocked its author
)

// Ref names a record and a version of it.
type Ref struct {
	URI syntax.ATURI
	CID syntax.CID // empty when it is not known
}

// Comment is a comment as it is shown. Of one that is gone only the key, the
// times, the references and what answers it are set.
type Comment struct {
	// ID is the comment's row.
	ID     int64
	Gone   Gone
	GoneAt time.Time // when it was deleted; zero when it was not
	URI    syntax.ATURI
	Author Person
	CID    syntax.CID
	// Record is the whole record as the data model's JSON.
	Record    json.RawMessage
	CreatedAt time.Time // clamped
	IndexedAt time.Time
	EditedAt  time.Time // zero when it never was
	// Post is the root of the thread. Parent is nil for an answer to it.
	Post   Ref
	Parent *Ref
	// Replies counts the answers that are there.
	Upvotes, Downvotes, Replies int64
	// Vote is the viewer's, nil without one.
	Vote *Vote
	// Answers are the first ones in the order of the thread, More tells that
	// there are others.
	Answers []*Comment
	More    bool
}

// ThreadQuery asks for a part of a thread.
type ThreadQuery struct {
	Post Post
	// Under is the comment whose answers are wanted, 0 for those to the post.
	Under int64
	Order Order
	// Since bounds when the first level was made, in microseconds; 0 is no bound.
	Since int64
	// Seq is as of which transaction the first level is wanted, 0 the last one.
	// Those of more than ten minutes ago may be forgotten.
	Seq int64
	// After is where the page before ended; nil begins.
	After *RankKey
	// Limit is how many of the first level are wanted, Answers how many below
	// each, Depth how many levels there are at most, Most how many comments.
	Limit, Answers, Depth, Most int
}

func (q ThreadQuery) under() int64 {
	if q.Under == 0 {
		return q.Post.ID
	}
	return q.Under
}

// branch is a comment's place in a page.
type branch struct {
	id, under, created, hot, score int64
}

func (b branch) key(o Order) RankKey {
	return RankKey{map[Order]int64{ByHot: b.hot, ByTop: b.score, ByNew: b.created}[o], b.id}
}

func compareBranches(o Order) func(a, b branch) int {
	return func(a, b branch) int {
		p, q := a.key(o), b.key(o)
		return cmp.Or(cmp.Compare(q.Key, p.Key), cmp.Compare(q.Post, p.Post))
	}
}

// Thread returns part of a thread as the viewer sees it: the first level as it
// stood at q.Seq, with what is below it now, in five queries, six for the pages
// after the first. next is where the page ended, nil on the last one.
func (x *Index) Thread(ctx context.Context, v Viewer, q ThreadQuery) (comments []*Comment, next *RankKey, err error) {
	if q.Seq == 0 {
		if q.Seq, err = x.Seq(ctx); err != nil {
			return nil, nil, err
		}
	}
	first, next, err := x.firstLevel(ctx, q)
	if err != nil {
		return nil, nil, fmt.Errorf("read a thread: %w", err)
	}
	below, err := x.below(ctx, q, first)
	if err != nil {
		return nil, nil, fmt.Errorf("read a thread: %w", err)
	}
	kept, more := trim(append(first, below...), q)
	ids := make([]int64, len(kept))
	for i, b := range kept {
		ids[i] = b.id
	}
	all, err := x.comments(ctx, v, q.Post, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("read comments: %w", err)
	}
	for _, b := range kept {
		c := all[b.id]
		if c == nil || c.Gone == GoneDeleted && !c.More { // it held its place for nothing any more
			continue
		}
		if parent := all[b.under]; parent != nil {
			parent.Answers = append(parent.Answers, c)
		} else {
			comments = append(comments, c)
		}
	}
	for id, c := range all {
		c.More = more[id] || c.More && len(c.Answers) == 0
		c.rememberCID()
	}
	return comments, next, nil
}

// trim leaves out the one too many of each comment's answers, which proves that
// there are more, with what is below it.
func trim(branches []branch, q ThreadQuery) (kept []branch, more map[int64]bool) {
	count, in := map[int64]int{}, map[int64]bool{q.under(): true}
	more = map[int64]bool{}
	for _, b := range branches {
		switch {
		case !in[b.under]:
		case b.under != q.under() && count[b.under] == q.Answers:
			more[b.under] = true
		default:
			count[b.under]++
			in[b.id] = true
			kept = append(kept, b)
		}
	}
	return kept, more
}

// rememberCID finds the version of a comment that is gone in what its answers
// say that they answer.
func (c *Comment) rememberCID() {
	for _, a := range c.Answers {
		var r struct {
			Reply struct {
				Parent struct {
					CID syntax.CID `json:"cid"`
				} `json:"parent"`
			} `json:"reply"`
		}
		if c.Gone != 0 && c.CID == "" && json.Unmarshal(a.Record, &r) == nil {
			c.CID = r.Reply.Parent.CID
		}
	}
}

// movedMeanwhile is how many comments may move between two queries without one of
// them being asked again.
const movedMeanwhile = 8

// firstLevel reads the first level of a page as it stood at q.Seq: what is there
// now without what has moved since, and that where it was.
func (x *Index) firstLevel(ctx context.Context, q ThreadQuery) (level []branch, next *RankKey, err error) {
	moved := map[int64]branch{}
	seq := q.Seq
	if q.After != nil { // some may have moved since the first page
		if seq, err = x.movedComments(ctx, q, q.Seq, moved); err != nil {
			return nil, nil, err
		}
	}
	wanted := q.Limit + 1 + len(moved) + movedMeanwhile
	now, err := x.levelNow(ctx, q, wanted)
	if err != nil {
		return nil, nil, err
	}
	known := len(moved)
	// After that, so that no move between the two is missed.
	if _, err := x.movedComments(ctx, q, seq, moved); err != nil {
		return nil, nil, err
	}
	if len(moved) > known+movedMeanwhile && len(now) == wanted { // some may have been pushed out
		return x.firstLevel(ctx, q)
	}
	for _, b := range now {
		if _, gone := moved[b.id]; !gone {
			level = append(level, b)
		}
	}
	for _, b := range moved {
		key := b.key(q.Order)
		if b.under == q.under() && (q.Since == 0 || b.created >= q.Since) &&
			(q.After == nil || key.Key < q.After.Key || key.Key == q.After.Key && key.Post < q.After.Post) {
			level = append(level, b)
		}
	}
	slices.SortFunc(level, compareBranches(q.Order))
	if len(level) > q.Limit {
		level = level[:q.Limit]
		key := level[q.Limit-1].key(q.Order)
		next = &key
	}
	return level, next, nil
}

// movedComments adds where comments of a thread stood before they moved after a
// transaction, and returns the last one.
func (x *Index) movedComments(ctx context.Context, q ThreadQuery, after int64, moved map[int64]branch) (seq int64, err error) {
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT k.seq, COALESCE(h.comment_id, 0), COALESCE(h.under_id, 0), COALESCE(h.created_at, 0), COALESCE(h.hot, 0), COALESCE(h.score, 0)
		FROM index_clock k LEFT JOIN comment_change h ON h.seq > $1 AND h.root_id = $2
		WHERE k.id = 1 ORDER BY h.seq, h.comment_id`, after, q.Post.ID)
	if err != nil {
		return 0, err
	}
	err = each(rows, func() error {
		var b branch
		err := rows.Scan(&seq, &b.id, &b.under, &b.created, &b.hot, &b.score)
		if _, ok := moved[b.id]; !ok && b.id != 0 {
			moved[b.id] = b
		}
		return err
	})
	return seq, err
}

var threadColumns = map[Order]string{ByHot: `hot`, ByTop: `score`, ByNew: `created_at`}

// levelNow reads the first level as it is.
func (x *Index) levelNow(ctx context.Context, q ThreadQuery, limit int) ([]branch, error) {
	column := `x.` + threadColumns[q.Order]
	query, args := `SELECT x.comment_id, x.under_id, x.created_at, x.hot, x.score FROM comment_rank x
		WHERE x.under_id = $1 AND x.root_id = $2`, []any{q.under(), q.Post.ID, limit}
	if q.Since != 0 {
		args = append(args, q.Since)
		query += fmt.Sprintf(` AND x.created_at >= CAST($%d AS BIGINT)`, len(args))
	}
	if q.After != nil {
		args = append(args, q.After.Key, q.After.Post)
		query += fmt.Sprintf(` AND (%s, x.comment_id) < (CAST($%d AS BIGINT), CAST($%d AS BIGINT))`, column, len(args)-1, len(args))
	}
	return x.readBranches(ctx, query+` ORDER BY `+column+` DESC, x.comment_id DESC LIMIT $3`, args)
}

// below reads what is below a level, level by level, of each comment one answer
// more than is shown. What of the level is not there any more is not in it.
func (x *Index) below(ctx context.Context, q ThreadQuery, level []branch) ([]branch, error) {
	if len(level) == 0 || q.Depth <= 1 {
		return nil, nil
	}
	ids := make([]int64, len(level))
	for i, b := range level {
		ids[i] = b.id
	}
	list, args := store.List(5, ids)
	column := threadColumns[q.Order]
	order := ` ORDER BY x.` + column + ` DESC, x.comment_id DESC LIMIT $2`
	// The engines differ in how a subquery may depend on the row before it, and in
	// where a limit ends the search.
	step := `FROM tree t CROSS JOIN comment_rank r WHERE t.depth < $3 AND r.comment_id IN (
	    SELECT x.comment_id FROM comment_rank x WHERE x.under_id = t.id AND x.root_id = $1` + order + `) LIMIT $4`
	if x.db.Engine() == store.Postgres {
		step = `FROM tree t CROSS JOIN LATERAL (SELECT * FROM comment_rank x WHERE x.under_id = t.id AND x.root_id = $1` + order + `) r
			WHERE t.depth < $3`
	}
	return x.readBranches(ctx, `
		WITH RECURSIVE tree (id, under_id, created_at, hot, score, depth) AS (
		    SELECT r.comment_id, r.under_id, r.created_at, r.hot, r.score, 1 FROM comment_rank r WHERE r.comment_id IN `+list+`
		    UNION ALL SELECT r.comment_id, r.under_id, r.created_at, r.hot, r.score, t.depth + 1 `+step+`)
		SELECT id, under_id, created_at, hot, score FROM (SELECT * FROM tree LIMIT $4) f
		WHERE depth > 1 ORDER BY depth, `+column+` DESC, id DESC`,
		append([]any{q.Post.ID, q.Answers + 1, q.Depth, q.Most}, args...))
}

func (x *Index) readBranches(ctx context.Context, query string, args []any) ([]branch, error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	var out []branch
	err = each(rows, func() error {
		var b branch
		err := rows.Scan(&b.id, &b.under, &b.created, &b.hot, &b.score)
		out = append(out, b)
		return err
	})
	return out, err
}

// Ancestors lists what a comment answers, and what that answers, up to the
// post, the oldest first; the comment itself is the last. At most limit of them,
// the nearest.
func (x *Index) Ancestors(ctx context.Context, v Viewer, p Post, comment int64, limit int) ([]*Comment, error) {
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		WITH RECURSIVE up (id, under_id, height) AS (
		    SELECT k.comment_id, k.under_id, 0 FROM comment_rank k WHERE k.comment_id = $1
		    UNION ALL SELECT k.comment_id, k.under_id, u.height + 1 FROM up u CROSS JOIN comment_rank k
		    WHERE k.comment_id = u.under_id AND u.height < $2)
		SELECT id FROM up ORDER BY height DESC`, comment, limit)
	if err != nil {
		return nil, fmt.Errorf("read what a comment answers: %w", err)
	}
	var ids []int64
	err = each(rows, func() error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read what a comment answers: %w", err)
	}
	all, err := x.comments(ctx, v, p, ids)
	out := make([]*Comment, 0, len(ids))
	for _, id := range ids {
		if c := all[id]; c != nil {
			c.More = false
			out = append(out, c)
		}
	}
	return out, err
}

// CommentIn finds a comment of a thread by its author and key. Without an author
// it may be any with this key.
func (x *Index) CommentIn(ctx context.Context, p Post, author syntax.DID, key syntax.RecordKey) (id int64, ok bool, err error) {
	if !isTID(key) {
		return 0, false, nil
	}
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT k.comment_id FROM comment c CROSS JOIN comment_rank k CROSS JOIN account a
		WHERE c.tid = $1 AND k.comment_id = c.id AND k.root_id = $2 AND a.id = c.author_id AND (CAST($3 AS TEXT) = '' OR a.did = $3)
		ORDER BY c.id DESC LIMIT 1`, tidNumber(key), p.ID, author.String()).Scan(&id))
	if err != nil {
		return 0, false, fmt.Errorf("find a comment: %w", err)
	}
	return id, ok, nil
}

// goneBecause is why the viewer does not see comment c by account a in a
// community, as a number of Gone.
func goneBecause(v Viewer, community string) string {
	blocked := `CAST($1 AS BIGINT) < 0`
	if v.ID != 0 {
		blocked = blockedPerson("c.author_id")
	}
	return `CASE WHEN c.deleted THEN 1 WHEN ` + banHolds("c.author_id", community) + ` THEN 2 WHEN NOT a.active THEN 3 WHEN ` + blocked + ` THEN 4 ELSE 0 END`
}

// comments reads comments of one thread, in at most store.MaxList at once, with
// the viewer's votes; or without a post, comments on any.
func (x *Index) comments(ctx context.Context, v Viewer, p Post, ids []int64) (map[int64]*Comment, error) {
	community := `$3`
	if p.ID == 0 {
		community = `(SELECT d.community_id FROM post d WHERE d.id = c.root_id AND CAST($3 AS BIGINT) = 0)`
	}
	out := make(map[int64]*Comment, len(ids))
	for len(ids) > 0 {
		part := ids[:min(len(ids), store.MaxList)]
		ids = ids[len(part):]
		list, args := store.List(4, part)
		rows, err := x.db.Read().QueryContext(ctx, `SELECT `+commentFields+`, `+goneBecause(v, community)+`
			FROM comment c CROSS JOIN account a LEFT JOIN comment_tally t ON t.comment_id = c.id
			LEFT JOIN actor_profile i ON i.account_id = c.author_id
			LEFT JOIN comment o ON o.id = COALESCE(c.parent_id, c.gone_parent) LEFT JOIN account u ON u.id = o.author_id
			WHERE a.id = c.author_id AND c.id IN `+list, append(append(x.sight(v), p.CommunityID), args...)...)
		if err != nil {
			return nil, err
		}
		err = each(rows, func() error {
			c, err := scanComment(rows)
			c.Post = Ref{p.URI(), p.CID}
			out[c.ID] = c
			return err
		})
		if err != nil {
			return nil, err
		}
		votes, err := x.votesOn(ctx, v, part)
		if err != nil {
			return nil, err
		}
		for id, vote := range votes {
			if c := out[id]; c != nil && c.Gone == 0 {
				c.Vote = vote
			}
		}
	}
	return out, nil
}

const commentFields = `c.id, c.tid, c.rev, COALESCE(c.cid, ''), c.record, COALESCE(c.created_at, 0), c.indexed_at, COALESCE(c.edited_at, 0),
	a.did, COALESCE(a.handle, ''), COALESCE(i.display_name, ''), COALESCE(i.avatar, ''),
	COALESCE(t.upvotes, 0), COALESCE(t.downvotes, 0), COALESCE(t.replies, 0),
	COALESCE(u.did, ''), COALESCE(o.tid, 0), COALESCE(o.cid, ''), EXISTS (SELECT 1 FROM comment_rank z WHERE z.under_id = c.id)`

func scanComment(rows *sql.Rows) (*Comment, error) {
	c := &Comment{}
	var tid, rev, created, indexed, edited, parentTID int64
	var record []byte
	var parentDID syntax.DID
	var parentCID syntax.CID
	err := rows.Scan(&c.ID, &tid, &rev, &c.CID, &record, &created, &indexed, &edited,
		&c.Author.DID, &c.Author.Handle, &c.Author.DisplayName, &c.Author.Avatar, &c.Upvotes, &c.Downvotes, &c.Replies,
		&parentDID, &parentTID, &parentCID, &c.More, &c.Gone)
	c.URI = recordURI(c.Author.DID, CommentCollection, tidText(tid))
	c.CreatedAt, c.IndexedAt, c.EditedAt = time.UnixMicro(created).UTC(), store.FromMicros(indexed), store.FromMicros(edited)
	c.Record = record
	if parentDID != "" {
		c.Parent = &Ref{recordURI(parentDID, CommentCollection, tidText(parentTID)), parentCID}
	}
	switch c.Gone {
	case 0:
		return c, err
	case GoneDeleted:
		if c.CreatedAt = time.UnixMicro(revTime(tid)).UTC(); rev > 0 {
			c.GoneAt = time.UnixMicro(revTime(rev)).UTC()
		}
	}
	c.Author, c.Record, c.CID, c.EditedAt = Person{}, nil, "", time.Time{}
	c.Upvotes, c.Downvotes = 0, 0
	return c, err
}
