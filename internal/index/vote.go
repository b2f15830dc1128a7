package index

import (
	"context"
	"database/sql"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// VoteCollection is the record type of votes on posts and comments.
const VoteCollection syntax.NSID = "social.coves.feed.vote"

func voteKind() kind {
	return kind{nsid: VoteCollection, key: isTID, read: readVote, apply: voteBox().apply, quiet: true, quietRefs: true, slim: true}
}

func voteBox() box { return box{table: "vote", alias: true, timely: true, count: countVote} }

func readVote(in input) (value, error) {
	subject, _, err := strongRef(in.record, "subject")
	if err != nil {
		return nil, err
	}
	v := stand{subject: subject, value: 1}
	if text(in.record, "direction") == "down" {
		v.value = -1
	}
	return v, nil
}

func countVote(b *batch, p pair, before, after int64) {
	up := int64(b2i(after == 1) - b2i(before == 1))
	down := int64(b2i(after == -1) - b2i(before == -1))
	if isComment(p.subject) {
		b.comment(p.subject, func(t *commentTally) { t.upvotes += up; t.downvotes += down })
		return
	}
	d := b.post(p.subject)
	d.voters |= asVoter(p.account)
	d.upvotes += up
	d.downvotes += down
}

// retargetVotes lets the votes that use an alias count for another post.
func (b *batch) retargetVotes(ctx context.Context, alias, old, post int64) error {
	if err := b.writeVotes(); err != nil {
		return err
	}
	rows, err := b.tx.QueryContext(ctx, `SELECT account_id FROM vote WHERE alias_id = $1`, alias)
	if err != nil {
		return err
	}
	var pairs []pair
	lost := map[pair]bool{}
	err = each(rows, func() error {
		var account int64
		err := rows.Scan(&account)
		b.revoted = append(b.revoted, account)
		for _, subject := range []int64{old, post} {
			if p := (pair{subject, account}); subject != 0 {
				pairs, lost[p] = append(pairs, p), true
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	return voteBox().recount(ctx, b, pairs, lost, nil, func() error {
		_, err := b.tx.ExecContext(ctx, `UPDATE vote SET subject_id = $1 WHERE alias_id = $2`, idOrNull(post), alias)
		return err
	})
}

// Vote is what an account has voted on a subject: the record that counts.
type Vote struct {
	URI syntax.ATURI
	Up  bool
}

// VoteOf returns the vote of an account on a post or comment, named in either
// form. ok is false when there is none.
func (x *Index) VoteOf(ctx context.Context, voter syntax.DID, subject syntax.ATURI) (v Vote, ok bool, err error) {
	id, ok, err := x.locate(ctx, subject)
	if err != nil || !ok {
		return Vote{}, false, err
	}
	var tid, value int64
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT v.tid, v.value FROM vote v JOIN account a ON a.id = v.account_id
		WHERE v.subject_id = $1 AND a.did = $2 ORDER BY v.tid DESC LIMIT 1`, id, voter).Scan(&tid, &value))
	return Vote{URI: recordURI(voter, VoteCollection, tidText(tid)), Up: value > 0}, ok, err
}

// found turns the error of reading one row into whether it was there.
func found(err error) (bool, error) {
	if err == sql.ErrNoRows { //nolint:errorlint // Scan returns it bare
		return false, nil
	}
	return err == nil, err
}

// recordURI names a record.
func recordURI(did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) syntax.ATURI {
	return syntax.ATURI("at://" + string(did) + "/" + string(collection) + "/" + string(rkey))
}

// locate finds the row of a post or comment; ok is false for what is not known.
func (x *Index) locate(ctx context.Context, uri syntax.ATURI) (id int64, ok bool, err error) {
	t, err := parseTarget(string(uri))
	if err != nil {
		return 0, false, nil //nolint:nilerr // what cannot be here is not here
	}
	query, key := "", any(t.rkey)
	switch t.kind {
	case toPost:
		query = `SELECT p.id FROM post p JOIN account a ON a.id = p.author_id WHERE a.did = $1 AND p.rkey = $2`
	case toLegacyPost:
		query = legacyQuery
	case toComment:
		query = `SELECT c.id FROM comment c JOIN account a ON a.id = c.author_id WHERE a.did = $1 AND c.tid = $2`
		key = tidNumber(t.rkey)
	}
	ok, err = found(x.db.Read().QueryRowContext(ctx, query, t.did, key).Scan(&id))
	return id, ok, err
}

// legacyQuery is earliestAdmitted for reading.
const legacyQuery = `
SELECT p.id FROM account c JOIN post p ON p.community_id = c.id
JOIN admission m ON m.post_id = p.id AND m.community_id = p.community_id
WHERE c.did = $1 AND p.rkey = $2 AND NOT p.deleted AND p.state IN (1, 2)
ORDER BY m.accept_rev, m.rkey LIMIT 1`
