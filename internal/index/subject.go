package index

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Subject is a post or comment that somebody is about to answer, vote on or
// quote.
type Subject struct {
	// URI is its own, also when it was asked for in the older form.
	URI syntax.ATURI
	// CID is empty when there is no such record now.
	CID    syntax.CID
	Author syntax.DID
	// Root is the post that a comment is below; for a post it is itself. Empty
	// while the post is not known. Community is that post's.
	Root      syntax.ATURI
	Community syntax.DID
	// Visible tells that anybody may see it: it is not deleted, nor is the post
	// above it removed or its community or author gone.
	Visible bool
}

// IsComment tells comments from posts.
func (s Subject) IsComment() bool { return s.URI.Collection() == CommentCollection }

// postSubject reads a post; what is not there is not to be seen.
const postSubject = `
SELECT a.did, p.rkey, COALESCE(p.cid, ''), COALESCE(c.did, ''), COALESCE(` + visible + `, FALSE)
FROM post p JOIN account a ON a.id = p.author_id LEFT JOIN account c ON c.id = p.community_id
LEFT JOIN community m ON m.account_id = p.community_id WHERE p.id = $1`

// Subject finds a post or comment by its URI, posts in either form. ok is false
// for what the index has never heard of.
func (x *Index) Subject(ctx context.Context, uri syntax.ATURI) (s Subject, ok bool, err error) {
	id, ok, err := x.locate(ctx, uri)
	if err != nil || !ok {
		return Subject{}, false, wrapSubject(uri, err)
	}
	if !isComment(id) {
		s, ok, err = x.postSubject(ctx, id)
		return s, ok, wrapSubject(uri, err)
	}
	var tid, root int64
	var there bool
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT a.did, c.tid, COALESCE(c.cid, ''), COALESCE(c.root_id, 0), a.active AND NOT c.deleted
		FROM comment c JOIN account a ON a.id = c.author_id WHERE c.id = $1`, id).
		Scan(&s.Author, &tid, &s.CID, &root, &there))
	if err != nil || !ok {
		return Subject{}, false, wrapSubject(uri, err)
	}
	s.URI = recordURI(s.Author, CommentCollection, tidText(tid))
	post, _, err := x.postSubject(ctx, root)
	s.Root, s.Community, s.Visible = post.URI, post.Community, there && post.Visible
	return s, true, wrapSubject(uri, err)
}

func (x *Index) postSubject(ctx context.Context, id int64) (s Subject, ok bool, err error) {
	var rkey syntax.RecordKey
	ok, err = found(x.db.Read().QueryRowContext(ctx, postSubject, id).Scan(&s.Author, &rkey, &s.CID, &s.Community, &s.Visible))
	if err != nil || !ok {
		return Subject{}, false, err
	}
	s.URI = recordURI(s.Author, PostCollection, rkey)
	s.Root = s.URI
	return s, true, nil
}

func wrapSubject(uri syntax.ATURI, err error) error {
	if err != nil {
		return fmt.Errorf("find %.300s: %w", uri, err)
	}
	return nil
}

// VotesOf lists all records by which an account votes on a post or comment,
// the one that counts first.
func (x *Index) VotesOf(ctx context.Context, voter syntax.DID, subject syntax.ATURI) (all []Vote, err error) {
	id, ok, err := x.locate(ctx, subject)
	if err != nil || !ok {
		return nil, wrapSubject(subject, err)
	}
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT v.tid, v.value FROM vote v JOIN account a ON a.id = v.account_id
		WHERE v.subject_id = $1 AND a.did = $2 ORDER BY v.tid DESC`, id, voter)
	if err == nil {
		err = each(rows, func() error {
			var tid, value int64
			err := rows.Scan(&tid, &value)
			all = append(all, Vote{URI: recordURI(voter, VoteCollection, tidText(tid)), Up: value > 0})
			return err
		})
	}
	return all, wrapSubject(subject, err)
}

// Apart reports whether one of two people has blocked the other.
func (x *Index) Apart(ctx context.Context, one, other syntax.DID) (bool, error) {
	var n int
	err := x.db.Read().QueryRowContext(ctx, `
		SELECT count(*) FROM person_block k JOIN account a ON a.id = k.account_id JOIN account s ON s.id = k.subject_id
		WHERE a.did IN ($1, $2) AND s.did IN ($1, $2) AND a.did <> s.did`, one, other).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for blocks between %s and %s: %w", one, other, err)
	}
	return n > 0, nil
}
