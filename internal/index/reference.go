package index

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// LegacyPostCollection is the older form of posts. It is neither indexed nor
// written; references to it mean the post with that key which the community in
// front of it admitted, with several the earliest admitted.
const LegacyPostCollection syntax.NSID = "social.coves.community.post"

// targetKind says what sort of record a reference names.
type targetKind uint8

const (
	toPost targetKind = iota + 1
	toLegacyPost
	toComment
)

// target names a record that another record refers to, seen or not.
type target struct {
	kind targetKind
	did  syntax.DID // of the author; of the community for toLegacyPost
	rkey syntax.RecordKey
}

// item is a target's row. alias is the row in legacy_post of a reference in
// the older form, and id is then filled in by settleLegacy.
type item struct{ id, alias int64 }

// strongRef reads com.atproto.repo.strongRef at a field. Only records that can
// be referred to here are understood, named by DID and by a key that they can have.
func strongRef(record map[string]any, field string) (target, syntax.CID, error) {
	ref, _ := record[field].(map[string]any)
	t, err := parseTarget(text(ref, "uri"))
	if err != nil {
		return target{}, "", fmt.Errorf("%s: %w", field, err)
	}
	return t, syntax.CID(text(ref, "cid")), nil
}

func parseTarget(uri string) (target, error) {
	rest, ok := strings.CutPrefix(uri, "at://")
	authority, path, found := strings.Cut(rest, "/")
	collection, key, whole := strings.Cut(path, "/")
	if !ok || !found || !whole {
		return target{}, flawed(ReasonReference, "not the URI of a record")
	}
	t := target{kind: targetKindOf(collection), did: syntax.DID(authority), rkey: syntax.RecordKey(key)}
	_, err := syntax.ParseDID(authority)
	if t.kind == 0 || err != nil || len(authority) > MaxDIDBytes || !isTID(t.rkey) {
		return target{}, flawed(ReasonReference, "not a post or comment named by DID")
	}
	return t, nil
}

func targetKindOf(collection string) targetKind {
	switch collection {
	case string(PostCollection):
		return toPost
	case string(LegacyPostCollection):
		return toLegacyPost
	case string(CommentCollection):
		return toComment
	}
	return 0
}

// admissionKey is the key of acceptances and removals of a post: lower-case
// unpadded base32 of the SHA-256 of its AT-URI.
func admissionKey(uri syntax.ATURI) syntax.RecordKey {
	sum := sha256.Sum256([]byte(uri))
	return syntax.RecordKey(strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])))
}

// isAdmissionKey accepts what admissionKey can give.
func isAdmissionKey(k syntax.RecordKey) bool {
	return len(k) == 52 && strings.Trim(string(k), "abcdefghijklmnopqrstuvwxyz234567") == ""
}

// wanted is a record whose row is to be found.
type wanted struct {
	itemKey
	rkey syntax.RecordKey
}

// wants is the n-th account's record that a change names.
func (b *batch) wants(ch *change, n int, t target) wanted {
	return wanted{itemKey{t.kind, b.accounts.rows[ch.named[n]], tidNumber(t.rkey)}, t.rkey}
}

// resolve finds the rows of records. Those not seen before get rows that wait
// for their record, so that what refers to them counts when it comes.
func (b *batch) resolve(ctx context.Context, list []wanted) error {
	byKind := map[targetKind][]wanted{}
	for _, w := range b.strangers(list) {
		byKind[w.kind] = append(byKind[w.kind], w)
	}
	for kind, find := range map[targetKind]func(context.Context, []wanted) error{
		toPost: b.findPosts, toLegacyPost: b.findLegacy, toComment: b.findComments,
	} {
		list := byKind[kind]
		slices.SortFunc(list, func(p, q wanted) int {
			return cmp.Or(cmp.Compare(p.account, q.account), cmp.Compare(p.rkey, q.rkey))
		})
		if err := find(ctx, list); err != nil {
			return err
		}
	}
	return nil
}

// strangers takes the rows of records that are remembered, and returns the
// others.
func (b *batch) strangers(list []wanted) []wanted {
	b.memory.mu.Lock()
	defer b.memory.mu.Unlock()
	var out []wanted
	for _, w := range list {
		if _, met := b.items[w.itemKey]; met || w.kind == 0 {
			continue
		}
		id := int64(0)
		if b.current && w.kind != toLegacyPost { // which may mean another post by now
			id, _ = b.memory.items.get(w.itemKey)
		}
		if b.items[w.itemKey] = (item{id: id}); id == 0 {
			out = append(out, w)
		}
	}
	return out
}

// meet notes the row of a post or comment.
func (b *batch) meet(key itemKey, id int64) {
	b.items[key] = item{id: id}
	b.lesson.items[key] = id
}

func (b *batch) findPosts(ctx context.Context, list []wanted) error {
	err := b.probe(ctx, "n, author_id, rkey", []string{"BIGINT", "BIGINT", "TEXT"}, wantedKeys(list, byText), `
		SELECT w.n, p.id FROM wanted w CROSS JOIN post p WHERE p.author_id = w.author_id AND p.rkey = w.rkey`,
		b.scanItems(list))
	if err != nil {
		return err
	}
	var rows [][]any
	for _, w := range list {
		if b.items[w.itemKey].id == 0 {
			id := b.ids.next()
			b.meet(w.itemKey, id)
			rows = append(rows, []any{id, w.account, w.rkey, int64(0), true, int64(0), int64(Pending)})
		}
	}
	b.upsert(ctx, "post", `id, author_id, rkey, rev, deleted, indexed_at, state`,
		[]string{"BIGINT", "BIGINT", "TEXT", "BIGINT", "BOOLEAN", "BIGINT", "SMALLINT"}, rows, "")
	return nil
}

func (b *batch) findComments(ctx context.Context, list []wanted) error {
	err := b.probe(ctx, "n, author_id, tid", []string{"BIGINT", "BIGINT", "BIGINT"}, wantedKeys(list, byNumber), `
		SELECT w.n, c.id FROM wanted w CROSS JOIN comment c WHERE c.author_id = w.author_id AND c.tid = w.tid`,
		b.scanItems(list))
	if err != nil {
		return err
	}
	var rows [][]any
	for _, w := range list {
		if b.items[w.itemKey].id == 0 {
			id := -b.ids.next() // see isComment
			b.meet(w.itemKey, id)
			rows = append(rows, []any{id, w.account, w.tid, int64(0), true, int64(0)})
		}
	}
	b.upsert(ctx, "comment", `id, author_id, tid, rev, deleted, indexed_at`,
		[]string{"BIGINT", "BIGINT", "BIGINT", "BIGINT", "BOOLEAN", "BIGINT"}, rows, "")
	return nil
}

// How the key of a record is written.
func byText(w wanted) any   { return w.rkey }
func byNumber(w wanted) any { return w.tid }

func wantedKeys(list []wanted, key func(wanted) any) [][]any {
	out := make([][]any, len(list))
	for i, w := range list {
		out[i] = []any{int64(i), w.account, key(w)}
	}
	return out
}

func (b *batch) scanItems(list []wanted) func(store.Row) error {
	return func(rows store.Row) error {
		var n, id int64
		err := rows.Scan(&n, &id)
		if err == nil {
			b.meet(list[n].itemKey, id)
		}
		return err
	}
}

// tidNumber is a key that is a TID as the integer that orders the same.
// It is 0 for any other key.
func tidNumber(k syntax.RecordKey) int64 {
	if len(k) != 13 {
		return 0
	}
	var n int64
	for i := range len(k) {
		switch c := k[i]; {
		case c >= '2' && c <= '7':
			n = n<<5 | int64(c-'2')
		case c >= 'a' && c <= 'z':
			n = n<<5 | int64(c-'a'+6)
		default:
			return 0
		}
	}
	return n
}

// tidText is the key of a number, all of its bits: the SDK leaves out the greatest,
// which the pattern of TIDs allows, and would name another record.
func tidText(n int64) syntax.RecordKey {
	const alphabet = "234567abcdefghijklmnopqrstuvwxyz" // AT Protocol TID specification
	var key [13]byte
	for i, rest := len(key)-1, uint64(n); i >= 0; i, rest = i-1, rest>>5 {
		key[i] = alphabet[rest&31]
	}
	return syntax.RecordKey(key[:])
}

// clampCreated is when a record was made: what it says, but not later than its
// key, where that is a time, and not later than it was first indexed.
func clampCreated(said int64, rkey syntax.RecordKey, indexed int64) int64 {
	if isTID(rkey) {
		said = min(said, store.Micros(syntax.TID(rkey).Time()))
	}
	return min(said, indexed)
}
