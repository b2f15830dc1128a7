package ingest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atcrypto"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
)

// world holds repositories as the specification describes them, with signed
// commits, and is the directory that knows their keys. It shares no code with
// what it is to test.
type world struct {
	mu    sync.Mutex
	repos map[string]*fakeRepo
	// pds is where all of them are served; empty means nowhere.
	pds string
	// hidden makes the directory know nothing.
	hidden bool
	// rotated gives accounts another key than the one their DID leads to.
	rotated map[string]*atcrypto.PrivateKeyK256
}

func newWorld() *world {
	return &world{repos: map[string]*fakeRepo{}, rotated: map[string]*atcrypto.PrivateKeyK256{}}
}

type fakeRepo struct {
	records map[string]cid.Cid
	blocks  map[cid.Cid][]byte
	rev     string
	data    *cid.Cid // nil before the first commit
	head    cid.Cid
}

// keyOf is an account's key: anybody who knows the DID can sign in tests.
func keyOf(did string) *atcrypto.PrivateKeyK256 {
	sum := sha256.Sum256([]byte("key of " + did))
	key, err := atcrypto.ParsePrivateBytesK256(sum[:])
	if err != nil {
		panic(err)
	}
	return key
}

func (w *world) key(did string) *atcrypto.PrivateKeyK256 {
	if key := w.rotated[did]; key != nil {
		return key
	}
	return keyOf(did)
}

// LookupFresh implements Directory.
func (w *world) LookupFresh(ctx context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error) {
	return w.LookupDocument(ctx, id.DID(), maxAge)
}

// LookupDocument implements Directory.
func (w *world) LookupDocument(_ context.Context, did syntax.DID, _ time.Duration) (*sdk.Identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hidden {
		return nil, sdk.ErrDIDNotFound
	}
	public, err := w.key(did.String()).PublicKey()
	if err != nil {
		return nil, err
	}
	return &sdk.Identity{DID: did, Handle: syntax.HandleInvalid,
		Keys: map[string]sdk.VerificationMethod{"atproto": {Type: "Multikey", PublicKeyMultibase: public.Multibase()}}}, nil
}

// VerifyHandle implements Directory.
func (w *world) VerifyHandle(context.Context, syntax.DID, syntax.Handle) error { return nil }

// PDS implements Directory.
func (w *world) PDS(*sdk.Identity) (string, error) {
	if w.pds == "" {
		return "", errors.New("none")
	}
	return w.pds, nil
}

// event is a commit before it becomes a frame; forgeries change it.
type commitEvent = comatproto.SyncSubscribeRepos_Commit

// commit writes to a repository and returns the frame that tells of it.
func (w *world) commit(seq int64, did string, rev syntax.TID, ops ...recordOp) sent {
	return frame(seq, "#commit", body{w.event(seq, did, rev, ops...)})
}

// event writes to a repository and returns the event that tells of it.
func (w *world) event(seq int64, did string, rev syntax.TID, ops ...recordOp) *commitEvent {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.repos[did]
	if r == nil {
		r = &fakeRepo{records: map[string]cid.Cid{}, blocks: map[cid.Cid][]byte{}}
		w.repos[did] = r
	}
	e := &commitEvent{
		Seq: seq, Repo: did, Rev: string(rev), Time: time.Now().UTC().Format(syntax.AtprotoDatetimeLayout),
		Blobs: []lexutil.LexLink{},
	}
	if r.data != nil {
		before := lexutil.LexLink(*r.data)
		e.PrevData, e.Since = &before, &r.rev
	}
	var written [][]byte
	before := maps.Clone(r.records)
	for _, op := range ops {
		o := &comatproto.SyncSubscribeRepos_RepoOp{Action: op.action, Path: op.path}
		if c, had := before[op.path]; had {
			prev := lexutil.LexLink(c)
			o.Prev = &prev
		}
		raw := op.raw
		if op.record != nil {
			raw = encodeRecord(op.record)
		}
		if raw == nil {
			delete(r.records, op.path)
		} else {
			c := cidOf(raw)
			l := lexutil.LexLink(c)
			o.Cid = &l
			r.records[op.path], r.blocks[c] = c, raw
			written = append(written, raw)
		}
		e.Ops = append(e.Ops, o)
	}
	root, nodes := treeOf(r.records)
	head := signedCommit(w.key(did), did, string(rev), root)
	r.rev, r.data, r.head = string(rev), &root, cidOf(head)
	r.blocks[r.head] = head
	e.Commit = lexutil.LexLink(r.head)
	e.Blocks = carOf(r.head, append(append([][]byte{head}, nodes...), written...)...)
	return e
}

// export is the whole repository as a CAR.
func (w *world) export(did string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.repos[did]
	if r == nil {
		return nil
	}
	_, list := treeOf(r.records)
	list = append(list, r.blocks[r.head])
	for _, c := range r.records {
		list = append(list, r.blocks[c])
	}
	return carOf(r.head, list...)
}

// proof is a CAR with the commit, the tree, and the record at a path, if any.
func (w *world) proof(did, path string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.repos[did]
	if r == nil {
		return nil
	}
	_, list := treeOf(r.records)
	list = append(list, r.blocks[r.head])
	if c, ok := r.records[path]; ok {
		list = append(list, r.blocks[c])
	}
	return carOf(r.head, list...)
}

// holders lists the accounts that have records in a collection, or any.
func (w *world) holders(collection string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for did, r := range w.repos {
		for path := range r.records {
			if strings.HasPrefix(path, collection) {
				out = append(out, did)
				break
			}
		}
	}
	slices.Sort(out)
	return out
}

// syncFrame tells where a repository is.
func (w *world) syncFrame(seq int64, did string) sent {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.repos[did]
	return frame(seq, "#sync", body{&comatproto.SyncSubscribeRepos_Sync{
		Seq: seq, Did: did, Rev: r.rev, Blocks: carOf(r.head, r.blocks[r.head]),
		Time: time.Now().UTC().Format(syntax.AtprotoDatetimeLayout)}})
}

// post is a commit that creates one post.
func (w *world) post(seq int64, did string, n int, title string) sent {
	return w.commit(seq, did, rev(n), recordOp{action: "create", path: postPath(key(n)), record: postRecord(commons, title)})
}

// signedCommit writes a commit object, version 3.
func signedCommit(key *atcrypto.PrivateKeyK256, did, rev string, data cid.Cid) []byte {
	object := map[string]any{"did": did, "version": 3, "rev": rev, "prev": nil, "data": tagged(data)}
	sig, err := key.HashAndSign(dagCBOR(object))
	if err != nil {
		panic(err)
	}
	object["sig"] = sig
	return dagCBOR(object)
}

// treeOf builds a tree from the top: the keys with the most leading zeros are
// its root's, and what is between them is below.
func treeOf(records map[string]cid.Cid) (root cid.Cid, nodes [][]byte) {
	top := 0
	for path := range records {
		top = max(top, zeroPairs(path))
	}
	var build func(paths []string, level int) any
	build = func(paths []string, level int) any {
		if len(paths) == 0 && (level < top || len(records) > 0) {
			return nil
		}
		entries := []any{}
		var left any
		var between []string
		last := ""
		below := func() {
			child := build(between, level-1)
			if between = nil; len(entries) == 0 {
				left = child
			} else {
				entries[len(entries)-1].(map[string]any)["t"] = child
			}
		}
		for _, p := range paths {
			if zeroPairs(p) < level {
				between = append(between, p)
				continue
			}
			below()
			same := 0
			for same < len(p) && same < len(last) && p[same] == last[same] {
				same++
			}
			entries = append(entries, map[string]any{"k": []byte(p[same:]), "p": same, "t": nil, "v": tagged(records[p])})
			last = p
		}
		below()
		raw := dagCBOR(map[string]any{"e": entries, "l": left})
		nodes = append(nodes, raw)
		root = cidOf(raw)
		return tagged(root)
	}
	build(slices.Sorted(maps.Keys(records)), top)
	return root, nodes
}

// zeroPairs counts pairs of leading zero bits of a path's hash.
func zeroPairs(path string) int {
	sum := sha256.Sum256([]byte(path))
	return bits.LeadingZeros64(binary.BigEndian.Uint64(sum[:])) / 2
}

func tagged(c cid.Cid) cbor.Tag {
	return cbor.Tag{Number: 42, Content: append([]byte{0}, c.Bytes()...)}
}

func dagCBOR(v any) []byte {
	mode, err := cbor.CoreDetEncOptions().EncMode()
	if err != nil {
		panic(err)
	}
	raw, err := mode.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}

// carOf writes blocks as CAR version 1.
func carOf(root cid.Cid, blocks ...[]byte) []byte {
	head := dagCBOR(map[string]any{"version": 1, "roots": []any{tagged(root)}})
	out := append(binary.AppendUvarint(nil, uint64(len(head))), head...)
	for _, b := range blocks {
		k := cidOf(b).Bytes()
		out = binary.AppendUvarint(out, uint64(len(k)+len(b)))
		out = append(append(out, k...), b...)
	}
	return out
}

// repoState is what is stored of a repository.
func repoState(t *testing.T, r *rig, did string) (rev, base int64, wanted bool, reason, failure string) {
	t.Helper()
	err := r.db.Read().QueryRowContext(t.Context(),
		`SELECT rev, base, wanted, reason, error FROM ingest_repo WHERE did = $1`, did).
		Scan(&rev, &base, &wanted, &reason, &failure)
	if err != nil {
		t.Fatalf("state of %s: %v", did, err)
	}
	return rev, base, wanted, reason, failure
}

type lexCID = cid.Cid

func mustMode() cbor.DecMode {
	m, err := newDecMode()
	if err != nil {
		panic(err)
	}
	return m
}

func newReader(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }

// slowDirectory never answers about a did:web.
type slowDirectory struct{ *world }

func (d *slowDirectory) LookupFresh(ctx context.Context, id syntax.AtIdentifier, age time.Duration) (*sdk.Identity, error) {
	return d.LookupDocument(ctx, id.DID(), age)
}

func (d *slowDirectory) LookupDocument(ctx context.Context, did syntax.DID, age time.Duration) (*sdk.Identity, error) {
	if did.Method() == "web" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return d.world.LookupDocument(ctx, did, age)
}

// slowHandles has every document, and handles whose hosts never answer.
type slowHandles struct{ *world }

func (d *slowHandles) LookupFresh(ctx context.Context, _ syntax.AtIdentifier, _ time.Duration) (*sdk.Identity, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
