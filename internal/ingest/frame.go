package ingest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/fxamacker/cbor/v2"

	"github.com/atoll-social/atoll/internal/index"
)

// The reasons for which this package drops what a stream sends; those for
// records are index's.
const (
	reasonFrame    index.Reason = "frame"       // no event can be read from it
	reasonOversize index.Reason = "frame_large" // over the limit for frames
	reasonDID      index.Reason = "did"
	reasonPath     index.Reason = "path"
	reasonBlocks   index.Reason = "blocks" // the record is not in the commit
	reasonCBOR     index.Reason = "cbor"   // the record cannot be decoded
	reasonJSON     index.Reason = "json"   // the same of Jetstream's
	reasonEvent    index.Reason = "event"  // a malformed account or identity event
)

// event is one message of a stream, read as far as to know whom it concerns.
type event struct {
	seq  int64
	time time.Time // when the host says it was sent; zero when it does not
	did  syntax.DID
	// what: at most one of them. None means that nothing here is ours.
	commit  *commitBody
	flat    *flatCommit
	sync    *syncBody
	account *index.AccountEvent
}

// concerns reports whether an event says anything at all.
func (e event) concerns() bool {
	return e.commit != nil || e.flat != nil || e.sync != nil || e.account != nil
}

// infoError is what a host says about the stream itself. Final ones end it
// (AT Protocol event stream specification, error frames).
type infoError struct {
	Name, Message string
	Final         bool
}

// Error returns the host's words for the log.
func (e *infoError) Error() string { return fmt.Sprintf("host says %s: %s", e.Name, e.Message) }

// dropError says that a frame is passed over, and why.
type dropError struct {
	reason index.Reason
	cause  error
}

func (e *dropError) Error() string { return fmt.Sprintf("%s: %v", e.reason, e.cause) }
func (e *dropError) Unwrap() error { return e.cause }

func dropped(reason index.Reason, cause error) error { return &dropError{reason, cause} }

// frameHeader begins every frame: op 1 for a message of type t, -1 for an error.
type frameHeader struct {
	Op   int64  `cbor:"op"`
	Type string `cbor:"t"`
}

// commitBody is com.atproto.sync.subscribeRepos#commit, as far as it is used.
type commitBody struct {
	Seq      int64    `cbor:"seq"`
	Repo     string   `cbor:"repo"`
	Commit   *link    `cbor:"commit"`
	Rev      string   `cbor:"rev"`
	Time     string   `cbor:"time"`
	Ops      []opBody `cbor:"ops"`
	Blocks   []byte   `cbor:"blocks"`
	PrevData *link    `cbor:"prevData"`
	TooBig   bool     `cbor:"tooBig"`
}

type opBody struct {
	Action string `cbor:"action"`
	Path   string `cbor:"path"`
	CID    *link  `cbor:"cid"`
	Prev   *link  `cbor:"prev"`
}

// accountBody is #account and, but for active and status, #identity; #sync
// has a commit instead.
type accountBody struct {
	Seq    int64  `cbor:"seq"`
	DID    string `cbor:"did"`
	Time   string `cbor:"time"`
	Active bool   `cbor:"active"`
	Status string `cbor:"status"`
	Rev    string `cbor:"rev"`
	Blocks []byte `cbor:"blocks"`
}

// syncBody is #sync: a repository is now at this commit, never mind how it
// came there.
type syncBody struct {
	Rev    string
	Blocks []byte // a CAR whose root is the commit
}

type infoBody struct {
	Name    string `cbor:"name" json:"name"`
	Error   string `cbor:"error" json:"error"`
	Message string `cbor:"message" json:"message"`
}

// decodeFrame reads one frame of subscribeRepos: two CBOR objects, header and
// body. An event whose seq is known comes with a *dropError too. Other errors
// are *infoError.
func decodeFrame(mode cbor.DecMode, frame []byte) (event, error) {
	var head frameHeader
	body, err := mode.UnmarshalFirst(frame, &head)
	if err != nil {
		return event{}, dropped(reasonFrame, err)
	}
	switch {
	case head.Op == -1:
		return event{}, decodeInfo(mode, body, true)
	case head.Op != 1:
		return event{}, dropped(reasonFrame, fmt.Errorf("op %d", head.Op))
	}
	switch head.Type {
	case "#commit":
		return decodeCommit(mode, body)
	case "#account", "#identity", "#sync":
		return decodeAccount(mode, head.Type, body)
	case "#info":
		return event{}, decodeInfo(mode, body, false)
	}
	// Types to come are passed over, as the specification asks.
	var e struct {
		Seq int64 `cbor:"seq"`
	}
	if err := mode.Unmarshal(body, &e); err != nil {
		return event{}, dropped(reasonFrame, err)
	}
	return event{seq: e.Seq}, nil
}

func decodeInfo(mode cbor.DecMode, body []byte, final bool) error {
	var info infoBody
	if err := mode.Unmarshal(body, &info); err != nil && !final {
		return dropped(reasonFrame, err)
	}
	name := info.Name
	if final {
		name = info.Error
	}
	return &infoError{Name: short(name), Message: short(info.Message), Final: final}
}

func decodeCommit(mode cbor.DecMode, body []byte) (event, error) {
	var c commitBody
	if err := mode.Unmarshal(body, &c); err != nil {
		return event{}, dropped(reasonFrame, err)
	}
	e := event{seq: c.Seq, time: parseTime(c.Time)}
	did, err := parseDID(c.Repo)
	if err != nil {
		return e, err
	}
	e.did = did
	e.commit = &c
	return e, nil
}

// concerns reports whether an operation is on a record of ours.
func (o opBody) concerns() bool {
	collection, _, _ := strings.Cut(o.Path, "/")
	return index.Indexes(syntax.NSID(collection))
}

// concerns reports whether any operation is on a record of ours.
func (c *commitBody) concerns() bool { return slices.ContainsFunc(c.Ops, opBody.concerns) }

func decodeAccount(mode cbor.DecMode, typ string, body []byte) (event, error) {
	var a accountBody
	if err := mode.Unmarshal(body, &a); err != nil {
		return event{}, dropped(reasonFrame, err)
	}
	e := event{seq: a.Seq, time: parseTime(a.Time)}
	did, err := parseDID(a.DID)
	if err != nil {
		return e, err
	}
	e.did = did
	switch {
	case typ == "#sync":
		e.sync = &syncBody{Rev: a.Rev, Blocks: a.Blocks}
	case typ == "#identity":
		e.account = &index.AccountEvent{DID: did}
	case typ == "#account" && (e.time.IsZero() || !isStatus(a.Status)):
		return e, dropped(reasonEvent, errors.New("account event without time, or with a malformed status"))
	case typ == "#account":
		e.account = &index.AccountEvent{DID: did, Status: &index.Status{Active: a.Active, Reason: a.Status, At: e.time}}
	}
	return e, nil
}

// isStatus accepts the open set of words for why an account is not active.
func isStatus(s string) bool {
	return len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

func parseDID(s string) (syntax.DID, error) {
	if len(s) > index.MaxDIDBytes {
		return "", dropped(index.ReasonLongDID, fmt.Errorf("DID of %d bytes", len(s)))
	}
	did, err := syntax.ParseDID(s)
	if err != nil {
		return "", dropped(reasonDID, err)
	}
	return did, nil
}

func parseTime(s string) time.Time {
	t, err := syntax.ParseDatetimeTime(s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// short keeps a stranger's words from filling the log.
func short(s string) string {
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// operations reads the records of ours among a commit's operations. What
// cannot be read stays in the list as malformed: it still ends what was there
// before.
func (c *commitBody) operations(mode cbor.DecMode) (ops []index.Op, drops []index.Drop) {
	b, _ := readCAR(c.Blocks) // no blocks are no records, which is told of each
	for _, o := range c.Ops {
		if !o.concerns() {
			continue
		}
		collection, key, _ := strings.Cut(o.Path, "/")
		op := index.Op{Collection: syntax.NSID(collection), RKey: syntax.RecordKey(key)}
		switch _, err := syntax.ParseRecordKey(key); {
		case len(key) > index.MaxKeyBytes:
			drops = append(drops, index.Drop{Collection: op.Collection, Reason: index.ReasonLongKey})
			continue
		case err != nil:
			drops = append(drops, index.Drop{Collection: op.Collection, Reason: reasonPath, Err: err})
			continue
		}
		switch o.Action {
		case "create":
			op.Action = index.Create
		case "update":
			op.Action = index.Update
		case "delete":
			op.Action = index.Delete
			ops = append(ops, op)
			continue
		default:
			drops = append(drops, index.Drop{Collection: op.Collection, RKey: op.RKey, Reason: reasonPath,
				Err: fmt.Errorf("action %.20q", o.Action)})
			continue
		}
		o.record(mode, b, &op)
		ops = append(ops, op)
	}
	return ops, drops
}

// record fills in the record of a create or update.
func (o opBody) record(mode cbor.DecMode, b blocks, op *index.Op) {
	if o.CID == nil {
		op.Malformed = index.ReasonCID
		return
	}
	d, ok := digestOf(o.CID.cid)
	data, found := b.get(d)
	if !ok || !found {
		op.Malformed = reasonBlocks
		return
	}
	record, err := decodeRecord(mode, data)
	if err != nil {
		op.Malformed = reasonCBOR
		return
	}
	op.CID, op.Record = syntax.CID(o.CID.cid.String()), record
}
