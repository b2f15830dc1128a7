package ingest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/fxamacker/cbor/v2"

	"github.com/atoll-social/atoll/internal/index"
)

// The reasons for which a commit is not believed.
const (
	reasonSignature index.Reason = "signature"
	reasonProof     index.Reason = "proof"  // the operations do not lead from the old tree to the new one
	reasonFuture    index.Reason = "future" // a revision that is yet to come
	reasonNoKey     index.Reason = "no_key" // the author's key could not be had in time
)

// maxAhead is how far a revision may be ahead of our clock.
const maxAhead = 5 * time.Minute

// maxOps is how many operations a commit may have (subscribeRepos, #commit).
const maxOps = 200

var (
	errSignature = errors.New("the signature is not by the account's key")
	errHead      = errors.New("the commit does not say what the event says")
)

// head is a repository's signed commit: what its whole content hangs on.
type head struct {
	did  syntax.DID
	rev  syntax.TID
	data digest
	prev *digest
	sig  []byte
}

// parseHead reads a commit object.
func parseHead(mode cbor.DecMode, raw []byte) (head, error) {
	var c struct {
		DID     string `cbor:"did"`
		Version int64  `cbor:"version"`
		Rev     string `cbor:"rev"`
		Data    *link  `cbor:"data"`
		Prev    *link  `cbor:"prev"`
		Sig     []byte `cbor:"sig"`
	}
	if err := mode.Unmarshal(raw, &c); err != nil {
		return head{}, fmt.Errorf("commit object: %w", err)
	}
	h := head{did: syntax.DID(c.DID), rev: syntax.TID(c.Rev), sig: c.Sig}
	_, err := syntax.ParseTID(c.Rev)
	if err != nil || c.Version != 3 || c.Data == nil || len(c.Sig) == 0 {
		return head{}, errors.New("commit object: a field is missing or wrong")
	}
	data, ok := digestOf(c.Data.cid)
	h.data = data
	if c.Prev != nil {
		var d digest
		d, prevOK := digestOf(c.Prev.cid)
		h.prev, ok = &d, ok && prevOK
	}
	if !ok {
		return head{}, errors.New("commit object: not a CID of a repository")
	}
	return h, nil
}

// unsigned is what the signature covers: the commit without it, as DAG-CBOR.
func (h head) unsigned() []byte {
	out := appendHead(nil, majorMap, 5)
	out = appendText(appendText(out, "did"), h.did.String())
	out = appendText(appendText(out, "rev"), h.rev.String())
	out = appendLink(appendText(out, "data"), &h.data)
	out = appendLink(appendText(out, "prev"), h.prev)
	return appendHead(appendText(out, "version"), majorUint, 3)
}

// checkSignature tells whether the account's key signed the commit. A key that
// does not fit is asked for once more. errKey and errSignature can be told apart.
func (in *Ingester) checkSignature(ctx context.Context, key knownKey, h head) error {
	if key.key == nil {
		return cmp.Or(key.why, errKey)
	}
	content := h.unsigned()
	if key.key.HashAndVerify(content, h.sig) == nil {
		return nil
	}
	key, ok := in.keys.newer(ctx, h.did, key)
	if !ok || key.key.HashAndVerify(content, h.sig) != nil {
		return errSignature
	}
	return nil
}

// eventHead finds the signed commit in an event's blocks and checks that it is
// of the repository and revision that the event names, and signed.
func (in *Ingester) eventHead(ctx context.Context, key knownKey, b blocks, at *digest, did syntax.DID, rev string) (head, error) {
	if at == nil {
		return head{}, fmt.Errorf("%w: it is not named", errHead)
	}
	raw, found := b.get(*at)
	if !found {
		return head{}, fmt.Errorf("%w: it is missing", errHead)
	}
	h, err := parseHead(in.decode, raw)
	if err != nil {
		return head{}, fmt.Errorf("%w: %w", errHead, err)
	}
	if h.did != did || h.rev.String() != rev {
		return head{}, errHead
	}
	return h, in.checkSignature(ctx, key, h)
}

// proven is a commit whose signature and proof hold.
type proven struct {
	rev    syntax.TID
	before digest // the tree's root before the commit
	data   digest // and after it
}

// prove verifies a commit by itself: that its author signed it, that each
// record is in the signed tree, and that the operations are all that
// distinguishes that tree from the one before (inductive proof).
func (in *Ingester) prove(ctx context.Context, key knownKey, did syntax.DID, c *commitBody) (proven, error) {
	b, err := readCAR(c.Blocks)
	if err != nil {
		return proven{}, err
	}
	at, err := c.Commit.digest()
	if err != nil {
		return proven{}, err
	}
	h, err := in.eventHead(ctx, key, b, at, did, c.Rev)
	if err != nil {
		return proven{}, err
	}
	items, err := readTree(b, h.data)
	if err != nil {
		return proven{}, err
	}
	changes, err := foldOps(c.Ops, b)
	if err != nil {
		return proven{}, err
	}
	if items, err = undo(items, changes); err != nil {
		return proven{}, err
	}
	before, err := treeRoot(items)
	if err != nil {
		return proven{}, err
	}
	said, ok := emptyTree(), true
	if c.PrevData != nil {
		said, ok = digestOf(c.PrevData.cid)
	}
	if !ok || said != before {
		return proven{}, fmt.Errorf("%w: the tree before is another", errOps)
	}
	return proven{rev: h.rev, before: before, data: h.data}, nil
}

// emptyTree is the root of a repository without records, which is also what a
// first commit starts from.
func emptyTree() digest {
	d, err := treeRoot(nil)
	if err != nil {
		panic(err) // there is nothing unknown in nothing
	}
	return d
}

// foldOps reduces the operations on each path to one: from what was there
// before the commit (the first prev) to what is there after it (the last cid).
// The official PDS does send several. Records that are ours must come along.
func foldOps(ops []opBody, b blocks) ([]pathChange, error) {
	if len(ops) > maxOps {
		return nil, fmt.Errorf("%w: %d of them", errOps, len(ops))
	}
	var out []pathChange
	at := map[string]int{}
	for _, o := range ops {
		if err := o.check(); err != nil {
			return nil, err
		}
		i, seen := at[o.Path]
		if !seen {
			i = len(out)
			at[o.Path] = i
			before, err := o.Prev.digest()
			if err != nil || (before == nil) != (o.Action == "create") {
				return nil, fmt.Errorf("%w: %s without the value before, or with one too many", errOps, o.Action)
			}
			out = append(out, pathChange{path: o.Path, before: before})
		}
		after, err := o.CID.digest()
		if err != nil {
			return nil, err
		}
		out[i].after = after
	}
	for _, c := range out {
		if collection, _, _ := strings.Cut(c.path, "/"); c.after == nil || !index.Indexes(syntax.NSID(collection)) {
			continue
		}
		if _, ok := b.get(*c.after); !ok {
			return nil, fmt.Errorf("%w: a record is missing", errOps)
		}
	}
	return out, nil
}

// check tells whether an operation makes sense by itself.
func (o opBody) check() error {
	collection, key, ok := strings.Cut(o.Path, "/")
	known := o.Action == "create" || o.Action == "update" || o.Action == "delete"
	if !ok || collection == "" || key == "" || len(o.Path) > maxPath || !known || (o.CID == nil) != (o.Action == "delete") {
		return fmt.Errorf("%w: malformed operation", errOps)
	}
	return nil
}

// digest is the block that an optional link names, nil when there is no link.
func (l *link) digest() (*digest, error) {
	if l == nil {
		return nil, nil //nolint:nilnil // documented: no link
	}
	d, ok := digestOf(l.cid)
	if !ok {
		return nil, fmt.Errorf("%w: not a CID of a repository", errOps)
	}
	return &d, nil
}

// distrust names the reason for which a commit was not believed.
func distrust(err error) index.Reason {
	switch {
	case errors.Is(err, errKey):
		return reasonNoKey
	case errors.Is(err, errSignature):
		return reasonSignature
	}
	return reasonProof
}
