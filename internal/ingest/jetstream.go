package ingest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// Jetstream and Jetstream2 are the kinds of sources that speak Jetstream, in
// its first version (/subscribe) and its second
// (network.bsky.jetstream.subscribeEvents). What they send is not signed: the
// host is believed.
const (
	Jetstream  = "jetstream"
	Jetstream2 = "jetstream2"
)

const (
	// jetstreamProtocol is the WebSocket subprotocol of the second version.
	jetstreamProtocol = "xrpc.v1.json"
	// leastTime is where cursors of the second version begin to be times, in
	// microseconds.
	leastTime = 1_000_000_000_000_000
	// seam is read again on every connection: where a host's replay meets what
	// is live, order is not kept.
	seam = 2 * time.Second
	// rewind is read again from another host, which has seen things at
	// another time.
	rewind = time.Minute
	// leap is how far a host may jump ahead before something must be missing.
	leap = 5 * time.Minute
)

// flatCommit is one operation as Jetstream tells it.
type flatCommit struct {
	Rev        string          `json:"rev"`
	Operation  string          `json:"operation"`
	Collection string          `json:"collection"`
	RKey       string          `json:"rkey"`
	Record     json.RawMessage `json:"record"`
	CID        string          `json:"cid"`
	// ahead is what was done with it before its turn.
	ahead *flatAhead
}

// flatAhead is what can be known of an operation without the database.
type flatAhead struct {
	rev    int64
	failed *dropError  // of the revision
	ops    []index.Op  // the operation
	drop   *index.Drop // of the operation
	commit index.Commit
	drops  []index.Drop // of the commit
}

// prepare decodes and validates, once.
func (c *flatCommit) prepare(in *Ingester, did syntax.DID) *flatAhead {
	if c.ahead != nil {
		return c.ahead
	}
	a := &flatAhead{}
	c.ahead = a
	if a.rev, a.failed = in.revision(c.Rev); a.failed != nil {
		return a
	}
	op, drop := c.operation()
	if a.drop = drop; drop == nil {
		a.ops = []index.Op{op}
		a.commit, a.drops = in.cfg.Index.Prepare(did, syntax.TID(c.Rev), a.ops)
	}
	c.Record = nil
	return a
}

// jetstreamAccount is an account or identity event as its host sent it.
type jetstreamAccount struct {
	DID    string `json:"did"`
	Time   string `json:"time"`
	Active bool   `json:"active"`
	Status string `json:"status"`
}

// JetstreamPath is where hosts of a kind (Jetstream, Jetstream2) give out their stream.
func JetstreamPath(kind string) string {
	if kind == Jetstream2 {
		return "/xrpc/network.bsky.jetstream.subscribeEvents"
	}
	return "/subscribe"
}

// jetstreamURL is where a stream is read, from a cursor on. Only the first
// version is asked to compress.
func jetstreamURL(kind, origin string, cursor *int64, compress bool) string {
	q := url.Values{}
	filter := "wantedCollections"
	if kind == Jetstream2 {
		filter = "collections"
		q["kinds"] = []string{"commit", "identity", "account", "sync"}
	}
	if compress && kind == Jetstream {
		q.Set("compress", "true")
	}
	for _, c := range index.RecordTypes() {
		q.Add(filter, c.String())
	}
	if cursor != nil {
		at := *cursor
		if kind == Jetstream {
			at -= seam.Microseconds()
		}
		q.Set("cursor", strconv.FormatInt(at, 10))
	}
	return "ws" + strings.TrimPrefix(origin, "http") + JetstreamPath(kind) + "?" + q.Encode()
}

// decodeJetstream reads one frame of the first version. Its times, which are
// also its cursors, are not later than now.
func decodeJetstream(frame []byte, now time.Time) (event, error) {
	if f, ok := readFlat(frame); ok {
		return f.event(now)
	}
	var f flatFrame
	if err := readJSON(frame, &f); err != nil {
		return event{}, err
	}
	return f.event(now)
}

// readJSON decodes a frame. Bad UTF-8 would be replaced without a word.
func readJSON(frame []byte, into any) error {
	if !utf8.Valid(frame) {
		return dropped(reasonFrame, errors.New("bad UTF-8"))
	}
	if err := json.Unmarshal(frame, into); err != nil {
		return dropped(reasonFrame, err)
	}
	return nil
}

// flatEvent fills in what happened.
func flatEvent(e event, who, kind string, commit *flatCommit, account *jetstreamAccount) (event, error) {
	did, err := parseDID(who)
	if err != nil {
		return e, err
	}
	e.did = did
	switch {
	case kind == "commit" && commit != nil:
		if index.Indexes(syntax.NSID(commit.Collection)) {
			e.flat = commit
		}
	case kind == "identity":
		e.account = &index.AccountEvent{DID: did}
	case kind == "account" && account != nil:
		at := parseTime(account.Time)
		if at.IsZero() || !isStatus(account.Status) || account.DID != who {
			return e, dropped(reasonEvent, errors.New("account event without time, or with a malformed status"))
		}
		e.account = &index.AccountEvent{DID: did, Status: &index.Status{Active: account.Active, Reason: account.Status, At: at}}
	case kind == "commit" || kind == "account":
		return e, dropped(reasonEvent, fmt.Errorf("%s without its content", kind))
	}
	return e, nil
}

// decodeJetstream2 reads one frame of the second version.
func decodeJetstream2(frame []byte) (event, error) {
	var f struct {
		Type    string          `json:"$type"`
		Payload json.RawMessage `json:"payload"`
		Error   string          `json:"error"`
		Message string          `json:"message"`
	}
	if err := readJSON(frame, &f); err != nil {
		return event{}, err
	}
	switch f.Type {
	case "message":
		return decodePayload(f.Payload)
	case "error":
		return event{}, &infoError{Name: short(f.Error), Message: short(f.Message), Final: true}
	}
	return event{}, dropped(reasonFrame, fmt.Errorf("type %.50q", f.Type))
}

func decodePayload(raw []byte) (event, error) {
	var p struct {
		Type        string            `json:"$type"`
		Seq         int64             `json:"seq"`
		DID         string            `json:"did"`
		Time        string            `json:"time"`
		WitnessedAt string            `json:"witnessedAt"`
		Account     *jetstreamAccount `json:"account"`
		Sync        *struct {
			Rev    string `json:"rev"`
			Blocks struct {
				Bytes string `json:"$bytes"`
			} `json:"blocks"`
		} `json:"sync"`
		Name    string `json:"name"`
		Message string `json:"message"`
		flatCommit
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return event{}, dropped(reasonFrame, err)
	}
	_, kind, _ := strings.Cut(p.Type, "#")
	if kind == "info" {
		// A cursor of another archive: what is sent now is not what was asked for.
		return event{}, &infoError{Name: short(p.Name), Message: short(p.Message), Final: p.Name == futureCursor}
	}
	if p.Seq <= 0 || p.Seq >= leastTime {
		return event{}, dropped(reasonFrame, errors.New("no sequence number"))
	}
	e := event{seq: p.Seq, time: parseTime(p.WitnessedAt)}
	if e.time.IsZero() {
		e.time = parseTime(p.Time)
	}
	e, err := flatEvent(e, p.DID, kind, &p.flatCommit, p.Account)
	if err == nil && kind == "sync" && p.Sync != nil {
		blocks, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(p.Sync.Blocks.Bytes, "="))
		if err != nil {
			return e, dropped(reasonEvent, err)
		}
		e.sync = &syncBody{Rev: p.Sync.Rev, Blocks: blocks}
	}
	return e, err
}

// operation reads the record of a Jetstream event.
func (c *flatCommit) operation() (index.Op, *index.Drop) {
	op := index.Op{Collection: syntax.NSID(c.Collection), RKey: syntax.RecordKey(c.RKey)}
	if len(c.RKey) > index.MaxKeyBytes {
		return op, &index.Drop{Collection: op.Collection, Reason: index.ReasonLongKey}
	}
	if !index.IsTID(c.RKey) { // which is one
		if _, err := syntax.ParseRecordKey(c.RKey); err != nil {
			return op, &index.Drop{Collection: op.Collection, Reason: reasonPath, Err: err}
		}
	}
	switch c.Operation {
	case "delete":
		op.Action = index.Delete
		return op, nil
	case "create":
		op.Action = index.Create
	case "update":
		op.Action = index.Update
	default:
		return op, &index.Drop{Collection: op.Collection, RKey: op.RKey, Reason: reasonPath,
			Err: fmt.Errorf("operation %.20q", c.Operation)}
	}
	record, plain, err := readRecord(c.Collection, c.Record)
	if err != nil || len(c.CID) > 2*atdata.MAX_CID_BYTES {
		op.Malformed = reasonJSON
		return op, nil
	}
	op.CID, op.Record, op.Plain = syntax.CID(c.CID), record, plain
	return op, nil
}

// readRecord reads a record from JSON, the short way where that is possible.
func readRecord(collection string, raw []byte) (map[string]any, *index.Plain, error) {
	if p, ok := index.ReadPlain(collection, raw); ok {
		return nil, p, nil
	}
	record, err := atdata.UnmarshalJSON(raw)
	return record, nil, err
}
