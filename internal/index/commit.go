package index

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Limits of identifiers. Longer ones are legal on the network, and refused
// here because they become keys of database indexes.
const (
	MaxDIDBytes = 256
	MaxKeyBytes = 512
)

// MaxRecordBytes is how much JSON of one record is kept: the longest text with
// its facets fits twice. The network allows four times as much, and a page of
// such records would cost its readers seconds.
const MaxRecordBytes = 256 << 10

// Action is what an operation does to its record.
type Action uint8

// The actions of com.atproto.sync.subscribeRepos#repoOp.
const (
	Create Action = iota + 1
	Update
	Delete
)

// Op is one operation on one record, as a stream or a PDS told it.
type Op struct {
	Action     Action
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// CID and Record are the record after the operation; both are empty for
	// Delete. Record holds the types of atdata.
	CID    syntax.CID
	Record map[string]any
	// Plain is the record where ReadPlain has read it; Record is then nil.
	Plain *Plain
	// Malformed is set by a decoder that could not read the record. The
	// operation still counts: it ends what the record was before.
	Malformed Reason
}

// Reason says why something from the network was dropped; it is a metric's label.
type Reason string

// The reasons that this package gives.
const (
	ReasonLongDID    Reason = "did_too_long"
	ReasonLongKey    Reason = "key_too_long"
	ReasonKey        Reason = "key"          // not a key that the record type allows
	ReasonRev        Reason = "rev"          // a revision that is no time
	ReasonCollection Reason = "collection"   // not a record type of ours
	ReasonCID        Reason = "cid"          // a record without a usable CID
	ReasonText       Reason = "text"         // U+0000 or bad UTF-8
	ReasonLexicon    Reason = "lexicon"      // breaks its lexicon
	ReasonReference  Reason = "reference"    // names what cannot be here
	ReasonTooLarge   Reason = "record_large" // over the data model's limit
	ReasonFacet      Reason = "facet"        // marks text that is not there
	ReasonOwner      Reason = "owner"        // speaks for another repository
)

// Drop tells that one operation was not applied as it was meant.
type Drop struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	Reason     Reason
	// Err has the detail for a log; it may quote hostile input.
	Err error
}

// Commit is what one revision of one repository does to the index. Only
// Prepare makes it: it is folded and validated.
type Commit struct {
	changes []change
}

// Empty reports whether applying the commit does nothing.
func (c Commit) Empty() bool { return len(c.changes) == 0 }

// change is the state of one record after a revision.
type change struct {
	kind *kind
	did  syntax.DID
	// who and named are did and the accounts that the value names, in a Plan.
	who   int32
	named [2]int32
	// account is the row of did, which only applying knows. foreseen is that of
	// what the value speaks of, as far as a Plan knows it; see batch.foreseen.
	account, foreseen int64
	rkey              syntax.RecordKey
	tid               int64 // rkey's number
	rev               int64
	// edited tells that the record existed before the revision.
	edited bool
	cid    syntax.CID
	// value is nil when there is no readable record at this revision.
	value value
}

// editedAt is when the record was changed last, NULL when it never was.
func (c change) editedAt() any {
	if !c.edited {
		return nil
	}
	return revTime(c.rev)
}

// revTime is the time of a revision in microseconds.
func revTime(rev int64) int64 {
	return syntax.NewTIDFromInteger(uint64(rev)).Time().UnixMicro()
}

// recordKey names a record inside a commit.
type recordKey struct {
	collection syntax.NSID
	rkey       syntax.RecordKey
}

// Prepare folds the operations of one commit per record and validates what is
// left. It needs no storage and is safe for concurrent use. A record that
// cannot be read ends as absent at this revision, so that the index is the
// same whether or not it saw an earlier, readable version.
func (x *Index) Prepare(did syntax.DID, rev syntax.TID, ops []Op) (Commit, []Drop) {
	drops := &dropList{}
	number := rev.Integer()
	switch {
	case len(did) > MaxDIDBytes:
		return Commit{}, drops.all(ops, ReasonLongDID)
	case number == 0 || number > math.MaxInt64:
		return Commit{}, drops.all(ops, ReasonRev)
	}
	var out Commit
	for _, f := range fold(ops) {
		c, ok := x.change(did, f, drops)
		if !ok {
			continue
		}
		c.did, c.rev = did, int64(number)
		out.changes = append(out.changes, c)
	}
	return out, drops.list
}

// folded is all that one commit does to one record.
type folded struct {
	last    Op
	existed bool
}

// fold reduces the operations on each record to the last one, remembering
// whether the record existed before the first (the official PDS does send
// several in one commit).
func fold(ops []Op) []folded {
	if len(ops) == 1 {
		return []folded{{last: ops[0], existed: ops[0].Action != Create}}
	}
	var out []folded
	at := make(map[recordKey]int, len(ops))
	for _, op := range ops {
		key := recordKey{op.Collection, op.RKey}
		i, seen := at[key]
		if !seen {
			at[key] = len(out)
			out = append(out, folded{last: op, existed: op.Action != Create})
			continue
		}
		out[i].last = op
	}
	return out
}

// change validates one folded operation. ok is false when it leaves no trace.
func (x *Index) change(did syntax.DID, f folded, drops *dropList) (c change, ok bool) {
	op := f.last
	k, known := kindOf(op.Collection)
	switch {
	case !known:
		drops.add(op, ReasonCollection, nil)
		return change{}, false
	case len(op.RKey) > MaxKeyBytes:
		drops.add(op, ReasonLongKey, nil)
		return change{}, false
	case !k.key(op.RKey):
		drops.add(op, ReasonKey, nil)
		return change{}, false
	}
	c = change{kind: k, rkey: op.RKey, tid: tidNumber(op.RKey), edited: f.existed}
	if op.Action == Delete {
		return c, true
	}
	v, reason, err := x.read(k, did, op)
	if reason != "" {
		drops.add(op, reason, err)
		return c, true
	}
	c.cid, c.value = op.CID, v
	return c, true
}

// read validates a record and extracts what is stored of it.
func (x *Index) read(k *kind, did syntax.DID, op Op) (value, Reason, error) {
	if op.Malformed != "" {
		return nil, op.Malformed, nil
	}
	if !isCID(string(op.CID)) {
		return nil, ReasonCID, fmt.Errorf("CID %.100q", op.CID)
	}
	if op.Plain != nil {
		if c, ok := op.Plain.value.(commentValue); ok && c.answers(did, op.RKey) {
			return nil, ReasonReference, errSelfAnswer
		}
		return op.Plain.value, "", nil
	}
	if err := checkText(op.Record, 0); err != nil {
		return nil, ReasonText, err
	}
	if err := lexicon.ValidateRecord(x.catalog, op.Record, string(k.nsid), 0); err != nil {
		return nil, ReasonLexicon, err
	}
	in := input{did: did, rkey: op.RKey, record: op.Record}
	if !k.slim {
		raw, err := encode(op.Record)
		if err != nil || len(raw) > MaxRecordBytes {
			return nil, ReasonTooLarge, err
		}
		in.raw = raw
	}
	v, err := k.read(in)
	if err != nil {
		return nil, reasonOf(err), err
	}
	for _, did := range v.refs() {
		if did != "" && (len(did) > MaxDIDBytes || !accountMethod(did)) {
			return nil, ReasonReference, nil
		}
	}
	return v, "", nil
}

// accountMethod reports whether accounts of the network can have such a DID
// (AT Protocol DID specification). Others could never be resolved.
func accountMethod(did syntax.DID) bool {
	return strings.HasPrefix(string(did), "did:plc:") || strings.HasPrefix(string(did), "did:web:")
}

// flaw is what a record has that its lexicon cannot forbid.
type flaw struct {
	reason Reason
	text   string
}

func (f *flaw) Error() string { return f.text }

func flawed(reason Reason, text string) error { return &flaw{reason, text} }

func reasonOf(err error) Reason {
	var f *flaw
	if errors.As(err, &f) {
		return f.reason
	}
	return ReasonLexicon
}

// dropList gathers what a commit could not use.
type dropList struct{ list []Drop }

func (d *dropList) add(op Op, reason Reason, err error) {
	d.list = append(d.list, Drop{Collection: op.Collection, RKey: op.RKey, Reason: reason, Err: err})
}

func (d *dropList) all(ops []Op, reason Reason) []Drop {
	for _, op := range ops {
		d.add(op, reason, nil)
	}
	return d.list
}
