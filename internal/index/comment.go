package index

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// CommentCollection is the record type of comments.
const CommentCollection syntax.NSID = "social.coves.community.comment"

func commentKind() kind {
	return kind{nsid: CommentCollection, key: isTID, read: readComment, apply: applyComments, quietRefs: true}
}

// commentValue is a comment as it is stored.
type commentValue struct {
	root target
	// parent is the comment that is answered; without one it is the post.
	parent    target
	createdAt int64 // as the record says
	record    []byte
}

func (c commentValue) refs() refs { return refs{c.root.did, c.parent.did} }

// answers tells that a comment is what this one answers.
func (c commentValue) answers(author syntax.DID, key syntax.RecordKey) bool {
	return c.parent == target{toComment, author, key}
}

var errSelfAnswer = flawed(ReasonReference, "it answers itself")

func readComment(in input) (value, error) {
	reply, _ := in.record["reply"].(map[string]any)
	root, _, err := strongRef(reply, "root")
	if err != nil {
		return nil, err
	}
	parent, _, err := strongRef(reply, "parent")
	if err != nil {
		return nil, err
	}
	switch {
	case root.kind == toComment:
		return nil, flawed(ReasonReference, "the root is no post")
	case commentValue{parent: parent}.answers(in.did, in.rkey):
		return nil, errSelfAnswer
	case parent.kind != toComment && parent.kind == root.kind && parent != root:
		return nil, flawed(ReasonReference, "the parent is another post than the root")
	case parent.kind != toComment:
		parent = target{}
	}
	created, err := moment(in.record, "createdAt")
	if err != nil {
		return nil, err
	}
	return commentValue{root: root, parent: parent, createdAt: created, record: in.raw}, checkFacets(in.record, "content", "facets")
}

// commentRow is a comment's row as it was.
type commentRow struct {
	id, rev, indexed, root, parent int64
	deleted                        bool
}

// applyComments writes comments and counts them at their post, at what they
// answer, and for their author.
func applyComments(ctx context.Context, b *batch, changes []change) (int64, error) {
	var answered []wanted
	for i := range changes {
		if c, ok := changes[i].value.(commentValue); ok {
			answered = append(answered, b.wants(&changes[i], 0, c.root))
			if c.parent.kind != 0 {
				answered = append(answered, b.wants(&changes[i], 1, c.parent))
			}
		}
	}
	if err := b.resolve(ctx, answered); err != nil {
		return 0, err
	}
	// After resolving: that may have made rows for comments of this very batch.
	have, err := b.loadComments(ctx, changes)
	if err != nil {
		return 0, err
	}
	var rows toWrite
	var applied int64
	for i, ch := range changes {
		old, there := have[i]
		if ch.rev <= old.rev {
			continue
		}
		if !there {
			old.id, old.deleted = -b.ids.next(), true // see isComment
		}
		b.threads[old.id] = 0
		row, root, parent := b.commentRow(old, ch)
		applied++
		rows.add(row, there)
		b.meet(itemKey{toComment, ch.account, ch.tid}, old.id)
		is, was := int64(b2i(ch.value != nil)), int64(b2i(!old.deleted))
		b.person(ch.account, func(t *accountTally) { t.comments += is - was })
		b.post(old.root).comments -= was
		b.post(root).comments += is
		b.comment(old.parent, func(t *commentTally) { t.replies -= was })
		b.comment(parent, func(t *commentTally) { t.replies += is })
	}
	b.write(ctx,
		"comment", `id, author_id, tid, rev, deleted, indexed_at, root_id, alias_id, parent_id, cid, created_at, edited_at, record`,
		[]string{"BIGINT", "BIGINT", "BIGINT", "BIGINT", "BOOLEAN", "BIGINT", "BIGINT", "BIGINT", "BIGINT", "TEXT", "BIGINT", "BIGINT", "BYTEA"}, rows, `
		ON CONFLICT (author_id, tid) DO UPDATE SET rev = excluded.rev, deleted = excluded.deleted,
		    indexed_at = excluded.indexed_at, root_id = excluded.root_id, alias_id = excluded.alias_id,
		    parent_id = excluded.parent_id, cid = excluded.cid, created_at = excluded.created_at,
		    edited_at = excluded.edited_at, record = excluded.record,
		    gone_root = CASE WHEN excluded.deleted THEN COALESCE(comment.root_id, comment.gone_root) END,
		    gone_parent = CASE WHEN NOT excluded.deleted THEN NULL
		        WHEN comment.root_id IS NULL THEN comment.gone_parent ELSE comment.parent_id END`)
	return applied, nil
}

func (b *batch) loadComments(ctx context.Context, changes []change) (map[int]commentRow, error) {
	keys := make([][]any, len(changes))
	for i, ch := range changes {
		keys[i] = []any{int64(i), ch.account, ch.tid}
	}
	have := make(map[int]commentRow, len(changes))
	err := b.probe(ctx, "n, author_id, tid", []string{"BIGINT", "BIGINT", "BIGINT"}, keys, `
		SELECT w.n, c.id, c.rev, c.indexed_at, COALESCE(c.root_id, 0), COALESCE(c.parent_id, 0), c.deleted
		FROM wanted w CROSS JOIN comment c WHERE c.author_id = w.author_id AND c.tid = w.tid`,
		func(rows store.Row) error {
			var n int
			var r commentRow
			err := rows.Scan(&n, &r.id, &r.rev, &r.indexed, &r.root, &r.parent, &r.deleted)
			have[n] = r
			return err
		})
	return have, err
}

// commentRow is the row that a change leaves. A comment that is gone forgets
// what it answered, as if it had never been seen; its answers still name it.
func (b *batch) commentRow(old commentRow, ch change) (row []any, root, parent int64) {
	indexed := old.indexed
	if old.rev == 0 {
		indexed = b.now
	}
	row = []any{old.id, ch.account, ch.tid, ch.rev, ch.value == nil, indexed, nil, nil, nil, nil, nil, nil, nil}
	c, ok := ch.value.(commentValue)
	if !ok {
		return row, 0, 0
	}
	it := b.items[b.wants(&ch, 0, c.root).itemKey]
	if c.parent.kind != 0 {
		parent = b.items[b.wants(&ch, 1, c.parent).itemKey].id
	}
	row[6], row[7], row[8] = idOrNull(it.id), idOrNull(it.alias), idOrNull(parent)
	row[9], row[12] = ch.cid, c.record
	row[10], row[11] = clampCreated(c.createdAt, ch.rkey, indexed), ch.editedAt()
	return row, it.id, parent
}
