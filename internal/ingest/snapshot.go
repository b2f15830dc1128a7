package ingest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// maxBlock is the largest block of a repository that is read, in bytes.
const maxBlock = 2 << 20

var (
	errTooLarge = errors.New("the repository is larger than what is fetched")
	errAbsent   = errors.New("the host does not give the repository out")
	errBehind   = errors.New("the host's copy is older than what it has sent")
)

// snapshot is a repository as its host gave it out, verified: the signature,
// every node of the tree, and each record of ours.
type snapshot struct {
	did  syntax.DID
	rev  syntax.TID
	data digest
	// records are those of ours, in key order. Data is nil where the block is
	// missing or holds another type of record than its collection says.
	records []snapshotRecord
}

type snapshotRecord struct {
	path string
	cid  digest
	data []byte
}

// download fetches and verifies a repository.
func (in *Ingester) download(ctx context.Context, did syntax.DID) (*snapshot, error) {
	ident, err := in.cfg.Directory.LookupDocument(ctx, did, foundFor)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", did, err)
	}
	origin, err := in.cfg.Directory.PDS(ident)
	if err != nil {
		return nil, fmt.Errorf("find the server of %s: %w", did, err)
	}
	release, err := in.fetch.hosts.enter(ctx, origin)
	if err != nil {
		return nil, err
	}
	defer release()
	root, b, err := in.getRepo(ctx, origin, did)
	if err != nil {
		return nil, fmt.Errorf("get the repository from %s: %w", origin, err)
	}
	return in.readSnapshot(ctx, did, root, b)
}

// getRepo streams a repository and keeps what is needed of it: the tree, and
// the blocks that may be records of ours (com.atproto.sync.getRepo).
func (in *Ingester) getRepo(ctx context.Context, origin string, did syntax.DID) (root digest, b blocks, err error) {
	address := origin + "/xrpc/com.atproto.sync.getRepo?did=" + url.QueryEscape(did.String())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return root, nil, err
	}
	req.Header.Set("Accept", "application/vnd.ipld.car")
	res, err := in.cfg.Repos.Do(req)
	if err != nil {
		return root, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return root, nil, refusal(res)
	}
	body := &io.LimitedReader{R: res.Body, N: in.cfg.Limits.Repo}
	root, b, err = in.readRepo(bufio.NewReaderSize(body, 64<<10))
	if err != nil && body.N <= 0 {
		err = errTooLarge
	}
	return root, b, err
}

// refusal reads why a host does not give a repository out.
func refusal(res *http.Response) error {
	var said struct {
		Error string `json:"error"`
	}
	_ = json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said)
	switch said.Error {
	case "RepoNotFound", "RepoTakendown", "RepoSuspended", "RepoDeactivated":
		return fmt.Errorf("%w: %s", errAbsent, said.Error)
	}
	return fmt.Errorf("status %d %s", res.StatusCode, short(said.Error))
}

// readRepo reads a CAR as a stream.
func (in *Ingester) readRepo(r *bufio.Reader) (root digest, b blocks, err error) {
	section, err := readSection(r, nil)
	if err != nil {
		return root, nil, err
	}
	if root, err = carRoot(in.decode, section); err != nil {
		return root, nil, err
	}
	b = blocks{}
	kept := int64(0)
	ours := collections()
	for {
		section, err = readSection(r, section)
		if errors.Is(err, io.EOF) {
			return root, b, nil
		}
		if err != nil {
			return root, nil, err
		}
		d, data, ok := cutCID(section)
		if !ok || d != root && !isNode(data) && !names(data, ours) {
			continue
		}
		if kept += int64(len(data)) + 128; kept > in.cfg.Limits.RepoKept {
			return root, nil, errTooLarge
		}
		b[d] = bytes.Clone(data)
	}
}

// names reports whether a block may be a record of one of the collections.
func names(block []byte, collections [][]byte) bool {
	return slices.ContainsFunc(collections, func(c []byte) bool { return bytes.Contains(block, c) })
}

// collections lists the record types of ours as a block holds them.
func collections() (out [][]byte) {
	for _, c := range index.RecordTypes() {
		out = append(out, []byte(c))
	}
	return out
}

// readSection reads the next section of a CAR into buf, which may grow to the
// size of a block. io.EOF tells that there is none.
func readSection(r *bufio.Reader, buf []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	switch {
	case errors.Is(err, io.EOF):
		return nil, io.EOF // or in the middle of a number; the tree will lack something then
	case err != nil:
		return nil, err
	case n == 0 || n > maxBlock:
		return nil, errCAR
	}
	buf = slices.Grow(buf[:0], int(n))[:n]
	if _, err := io.ReadFull(r, buf); err != nil {
		return nil, fmt.Errorf("%w: %w", errCAR, noEOF(err))
	}
	return buf, nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readSnapshot verifies a repository's blocks.
func (in *Ingester) readSnapshot(ctx context.Context, did syntax.DID, root digest, b blocks) (*snapshot, error) {
	h, err := in.fetchedHead(ctx, did, root, b)
	if err != nil {
		return nil, err
	}
	items, err := readTree(b, h.data)
	if err != nil {
		return nil, err
	}
	s := &snapshot{did: did, rev: h.rev, data: h.data}
	for _, it := range items {
		if it.key == "" {
			return nil, fmt.Errorf("%w: a node is missing", errTree)
		}
		collection, key, _ := strings.Cut(it.key, "/")
		if !index.Indexes(syntax.NSID(collection)) || strings.Contains(key, "/") {
			continue
		}
		record := snapshotRecord{path: it.key, cid: it.value}
		if data, ok := b.get(it.value); ok {
			record.data = data
		}
		s.records = append(s.records, record)
	}
	return s, nil
}

// fetchedHead finds the signed commit of did among blocks that were asked for.
func (in *Ingester) fetchedHead(ctx context.Context, did syntax.DID, root digest, b blocks) (head, error) {
	raw, ok := b.get(root)
	if !ok {
		return head{}, fmt.Errorf("%w: it is missing", errHead)
	}
	h, err := parseHead(in.decode, raw)
	if err != nil {
		return head{}, err
	}
	if h.did != did {
		return head{}, fmt.Errorf("%w: it is another account's", errHead)
	}
	if _, err := in.revision(h.rev.String()); err != nil {
		return head{}, err
	}
	return h, in.fetchedSignature(ctx, h)
}

// fetchedSignature checks a signature where there is time to ask for the key.
func (in *Ingester) fetchedSignature(ctx context.Context, h head) error {
	if key, ok := in.keys.current(h.did); ok && in.checkSignature(ctx, key, h) == nil {
		return nil
	}
	key, err := in.keys.ask(ctx, h.did, 0)
	if err != nil {
		return err
	}
	if key.key.HashAndVerify(h.unsigned(), h.sig) != nil {
		return errSignature
	}
	return nil
}

// difference is what a repository and the index do not agree on.
type difference struct {
	// ops make the index as the repository is.
	ops []index.Op
	// Missing, Extra and Different count them; Same those that agree. Where
	// the index keeps no CID, a record that it has counts as the same, but is
	// written again.
	Missing, Extra, Different, Same int
	// absent are those of ops that write what is missing.
	absent []int
}

// compare finds out what would make the index as the repository is.
func (in *Ingester) compare(ctx context.Context, s *snapshot) (difference, error) {
	held, err := in.cfg.Index.Held(ctx, s.did)
	if err != nil {
		return difference{}, err
	}
	have := make(map[string]syntax.CID, len(held))
	for _, h := range held {
		have[h.Collection.String()+"/"+h.RKey.String()] = h.CID
	}
	var d difference
	for _, r := range s.records {
		cid, there := have[r.path]
		delete(have, r.path)
		switch {
		case there && cid == syntax.CID(r.cid.cid().String()):
			d.Same++
			continue
		case there && cid == "":
			d.Same++
		case there:
			d.Different++
		default:
			d.Missing++
			d.absent = append(d.absent, len(d.ops))
		}
		d.ops = append(d.ops, in.snapshotOp(r))
	}
	for path := range have {
		d.Extra++
		collection, key, _ := strings.Cut(path, "/")
		d.ops = append(d.ops, index.Op{Action: index.Delete,
			Collection: syntax.NSID(collection), RKey: syntax.RecordKey(key)})
	}
	return d, nil
}

// snapshotOp is the operation that writes a record as it is now. When it was
// edited cannot be known.
func (in *Ingester) snapshotOp(r snapshotRecord) index.Op {
	collection, key, _ := strings.Cut(r.path, "/")
	op := index.Op{Action: index.Create, Collection: syntax.NSID(collection), RKey: syntax.RecordKey(key)}
	if r.data == nil {
		op.Malformed = reasonBlocks
		return op
	}
	record, err := decodeRecord(in.decode, r.data)
	if err != nil {
		op.Malformed = reasonCBOR
		return op
	}
	op.CID, op.Record = syntax.CID(r.cid.cid().String()), record
	return op
}
