package index

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// Person is somebody as they are shown beside what they wrote.
type Person struct {
	Account
	DisplayName string
	Avatar      syntax.CID // of the picture in their repository; empty without one
}

// Place is a community as it is shown beside a post.
type Place struct {
	Account
	// Name and DisplayName are empty where the account says nothing of itself.
	Name, DisplayName string
	Avatar            syntax.CID
}

// Post is a post as it is shown.
type Post struct {
	// ID is the post's row, CommunityID that of the community.
	ID, CommunityID int64
	Author          Person
	RKey            syntax.RecordKey
	CID             syntax.CID
	Community       Place
	// Record is the whole record as the data model's JSON.
	Record    json.RawMessage
	CreatedAt time.Time // clamped
	IndexedAt time.Time
	EditedAt  time.Time // zero when it never was
	State     State
	// Warnings is what the post or its community warns of.
	Warnings Warnings
	// Upvotes, Downvotes and Comments are counted here, never taken from
	// records.
	Upvotes, Downvotes, Comments int64
	// Viewer is nil for a visitor.
	Viewer *Stance
}

// Stance is how a member stands to a post.
type Stance struct {
	// Vote is nil when they have not voted.
	Vote *Vote
	// Follows is how much of the post's community they want to see, 0 when they
	// do not follow it.
	Follows int
}

// URI names the post on the network.
func (p Post) URI() syntax.ATURI { return recordURI(p.Author.DID, PostCollection, p.RKey) }

// postFields and postTables read whole posts. The joins are in the order in
// which SQLite is to take them.
const (
	postFields = `p.id, p.community_id, p.rkey, p.cid, p.record, p.created_at, p.indexed_at, COALESCE(p.edited_at, 0), p.state,
	a.did, COALESCE(a.handle, ''), COALESCE(i.display_name, ''), COALESCE(i.avatar, ''),
	c.did, COALESCE(c.handle, ''), COALESCE(m.name, ''), COALESCE(m.display_name, ''), COALESCE(m.avatar, ''),
	COALESCE(m.warnings, 0), COALESCE(r.upvotes, 0), COALESCE(r.downvotes, 0), COALESCE(r.comments, 0)`
	postTables = `post p CROSS JOIN account a CROSS JOIN account c
	LEFT JOIN community m ON m.account_id = p.community_id LEFT JOIN post_rank r ON r.post_id = p.id
	LEFT JOIN actor_profile i ON i.account_id = p.author_id`
	postJoins = `a.id = p.author_id AND c.id = p.community_id`
)

// Posts returns those of the posts with these ids that the viewer may see in a
// listing, whole, in two queries. At most store.MaxList ids.
func (x *Index) Posts(ctx context.Context, v Viewer, in Listing, ids []int64) (map[int64]Post, error) {
	if len(ids) == 0 {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	list, args := store.List(3, ids)
	posts, err := x.readPosts(ctx, v, in, `p.id IN `+list, args)
	if err != nil {
		return nil, fmt.Errorf("read posts: %w", err)
	}
	out := make(map[int64]Post, len(posts))
	for _, p := range posts {
		if !p.shielded(v, in) {
			out[p.ID] = p
		}
	}
	return out, nil
}

// Shown tells which of the posts with these ids the viewer may see in a listing,
// as far as that does not depend on what their authors warn of.
func (x *Index) Shown(ctx context.Context, v Viewer, in Listing, ids []int64) (map[int64]bool, error) {
	list, args := store.List(3, ids)
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT p.id FROM post p CROSS JOIN account a CROSS JOIN account c LEFT JOIN community m ON m.account_id = p.community_id
		WHERE `+postJoins+` AND p.id IN `+list+` AND `+postShown(v, in), append(x.sight(v), args...)...)
	if err != nil {
		return nil, fmt.Errorf("look which posts are shown: %w", err)
	}
	out := map[int64]bool{}
	err = each(rows, func() error {
		var id int64
		err := rows.Scan(&id)
		out[id] = true
		return err
	})
	return out, err
}

// readPosts reads posts under a condition whose parameters begin at $3, with
// how the viewer stands to them.
func (x *Index) readPosts(ctx context.Context, v Viewer, in Listing, cond string, args []any) ([]Post, error) {
	stance := `0`
	if v.ID != 0 {
		stance = follows("p.community_id")
	}
	rows, err := x.db.Read().QueryContext(ctx, `SELECT `+postFields+`, `+stance+` FROM `+postTables+
		` WHERE `+postJoins+` AND `+cond+` AND `+postShown(v, in), append(x.sight(v), args...)...)
	if err != nil {
		return nil, err
	}
	var out []Post
	err = each(rows, func() error {
		p, follows, err := scanPost(rows)
		if v.DID != "" {
			p.Viewer = &Stance{Follows: follows}
		}
		out = append(out, p)
		return err
	})
	if err != nil || v.ID == 0 {
		return out, err
	}
	ids := make([]int64, len(out))
	for i, p := range out {
		ids[i] = p.ID
	}
	votes, err := x.votesOn(ctx, v, ids)
	for i := range out {
		out[i].Viewer.Vote = votes[out[i].ID]
	}
	return out, err
}

// scanPost reads postFields, how much of the community is followed, and more.
func scanPost(rows *sql.Rows, more ...any) (p Post, follows int, err error) {
	var created, indexed, edited int64
	var record []byte
	err = rows.Scan(append([]any{&p.ID, &p.CommunityID, &p.RKey, &p.CID, &record, &created, &indexed, &edited, &p.State,
		&p.Author.DID, &p.Author.Handle, &p.Author.DisplayName, &p.Author.Avatar,
		&p.Community.DID, &p.Community.Handle, &p.Community.Name, &p.Community.DisplayName, &p.Community.Avatar,
		&p.Warnings, &p.Upvotes, &p.Downvotes, &p.Comments, &follows}, more...)...)
	p.Record = record
	p.CreatedAt, p.IndexedAt = time.UnixMicro(created).UTC(), store.FromMicros(indexed)
	p.EditedAt = store.FromMicros(edited)
	p.Warnings |= labelled(record)
	return p, follows, err
}

// votesOn finds the votes of a member on posts or comments: of several on one
// the one with the greatest key.
func (x *Index) votesOn(ctx context.Context, v Viewer, ids []int64) (map[int64]*Vote, error) {
	if v.ID == 0 || len(ids) == 0 {
		return nil, nil //nolint:nilnil // nothing was asked for
	}
	list, args := store.List(2, ids)
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT v.subject_id, v.tid, v.value FROM vote v WHERE v.subject_id IN `+list+` AND v.account_id = $1
		ORDER BY v.tid`, append([]any{v.ID}, args...)...)
	if err != nil {
		return nil, err
	}
	out := map[int64]*Vote{}
	err = each(rows, func() error {
		var subject, tid, value int64
		err := rows.Scan(&subject, &tid, &value)
		out[subject] = &Vote{URI: recordURI(v.DID, VoteCollection, tidText(tid)), Up: value > 0}
		return err
	})
	return out, err
}

// labelled is what the author of a record warns of by labels of their own
// (com.atproto.label.defs#selfLabels).
func labelled(record []byte) Warnings {
	if !bytes.Contains(record, []byte(`"labels"`)) {
		return 0
	}
	var r struct {
		Labels struct {
			Values []struct {
				Val string `json:"val"`
			} `json:"values"`
		} `json:"labels"`
	}
	if json.Unmarshal(record, &r) != nil {
		return 0 // labels of another kind
	}
	var w Warnings
	for _, v := range r.Labels.Values {
		w |= warningOf(v.Val)
	}
	return w
}

// warningOf knows the words of this network and those of the protocol's labels.
func warningOf(word string) Warnings {
	switch word {
	case "nsfw", "porn", "sexual", "nudity":
		return Adult
	case "violence", "graphic-media", "gore":
		return Violence
	case "spoilers", "spoiler":
		return Spoilers
	}
	return 0
}

// PostRef names a post: by its author, or in the older form by its community.
type PostRef = syntax.ATURI

// Found is what a reference to a post leads to.
type Found struct {
	Post
	// Blocked tells that the post is there, but not for this viewer, who has
	// blocked its author or its community. Post is empty then.
	Blocked bool
}

// PostsByURI returns the posts that URIs mean, in either form, as far as the
// viewer may see them; what is not there or is hidden is missing. The number of
// queries does not depend on the number of URIs.
func (x *Index) PostsByURI(ctx context.Context, v Viewer, uris []syntax.ATURI) (map[syntax.ATURI]Found, error) {
	ids, err := x.locatePosts(ctx, uris)
	if err != nil {
		return nil, fmt.Errorf("find posts: %w", err)
	}
	var all []int64
	for _, id := range ids {
		all = append(all, id)
	}
	posts, err := x.Posts(ctx, v, ByName, all)
	if err != nil {
		return nil, err
	}
	var missing []int64
	for _, id := range all {
		if _, ok := posts[id]; !ok {
			missing = append(missing, id)
		}
	}
	others := map[int64]Post{}
	if v.ID != 0 && len(missing) > 0 {
		// What a visitor would see is hidden by the viewer's own blocks.
		if others, err = x.Posts(ctx, Viewer{}, ByName, missing); err != nil {
			return nil, err
		}
	}
	out := map[syntax.ATURI]Found{}
	for uri, id := range ids {
		if p, ok := posts[id]; ok {
			out[uri] = Found{Post: p}
		} else if _, ok := others[id]; ok {
			out[uri] = Found{Blocked: true}
		}
	}
	return out, nil
}

// PostID finds the row of the post that a URI means, in either form.
func (x *Index) PostID(ctx context.Context, uri syntax.ATURI) (id int64, ok bool, err error) {
	if id, ok, err = x.locate(ctx, uri); err != nil {
		return 0, false, fmt.Errorf("find a post: %w", err)
	}
	return id, ok && !isComment(id), nil
}

// locatePosts finds the rows of posts, in two queries.
func (x *Index) locatePosts(ctx context.Context, uris []syntax.ATURI) (map[syntax.ATURI]int64, error) {
	var direct, legacy []any
	byKey := map[[3]string]syntax.ATURI{}
	for _, uri := range uris {
		t, err := parseTarget(string(uri))
		if err != nil {
			continue
		}
		switch t.kind {
		case toPost:
			direct = append(direct, string(t.did), string(t.rkey))
			byKey[[3]string{"p", string(t.did), string(t.rkey)}] = uri
		case toLegacyPost:
			legacy = append(legacy, string(t.did), string(t.rkey))
			byKey[[3]string{"l", string(t.did), string(t.rkey)}] = uri
		}
	}
	out := map[syntax.ATURI]int64{}
	read := func(form, query string, args []any) error {
		if len(args) == 0 {
			return nil
		}
		//nolint:sqlclosecheck // each closes the rows
		rows, err := x.db.Read().QueryContext(ctx, `WITH wanted (did, rkey) AS (VALUES `+
			tuples(len(args)/2, "TEXT", "TEXT")+`) `+query, args...)
		if err != nil {
			return err
		}
		return each(rows, func() error {
			var did, rkey string
			var id int64
			err := rows.Scan(&did, &rkey, &id)
			if uri := byKey[[3]string{form, did, rkey}]; out[uri] == 0 {
				out[uri] = id
			}
			return err
		})
	}
	if err := read("p", `
		SELECT w.did, w.rkey, p.id FROM wanted w CROSS JOIN account a CROSS JOIN post p
		WHERE a.did = w.did AND p.author_id = a.id AND p.rkey = w.rkey`, direct); err != nil {
		return nil, err
	}
	return out, read("l", `
		SELECT w.did, w.rkey, p.id FROM wanted w CROSS JOIN account c CROSS JOIN post p CROSS JOIN admission n
		WHERE c.did = w.did AND p.community_id = c.id AND p.rkey = w.rkey AND NOT p.deleted AND p.state IN (1, 2)
		  AND n.post_id = p.id AND n.community_id = p.community_id
		ORDER BY n.accept_rev, n.rkey`, legacy)
}
