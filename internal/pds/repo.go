package pds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"slices"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
)

// Swap is the state that a record must be in for a write to be made. The zero
// Swap demands nothing.
type Swap string

// SwapNone demands that there is no such record.
const SwapNone Swap = "none"

// SwapCID demands that the record is the one with this CID.
func SwapCID(c syntax.CID) Swap { return Swap(c) }

// MarshalJSON writes the CID, or the null of SwapNone.
func (s Swap) MarshalJSON() ([]byte, error) {
	if s == SwapNone {
		return []byte("null"), nil
	}
	return []byte(strconv.Quote(string(s))), nil
}

// writtenAnswer is what the server says of a record that it has written.
type writtenAnswer struct {
	URI    string        `json:"uri"`
	CID    string        `json:"cid"`
	Commit *commitAnswer `json:"commit"`
}

type commitAnswer struct {
	Rev string `json:"rev"`
}

// rev is empty when the server does not say.
func (c *commitAnswer) rev() (syntax.TID, error) {
	if c == nil {
		return "", nil
	}
	rev, err := syntax.ParseTID(c.Rev)
	if err != nil {
		return "", fmt.Errorf("%w: rev %.100q", ErrBadAnswer, c.Rev)
	}
	return rev, nil
}

func (a *writtenAnswer) check(place Place) (*Written, error) {
	c, err := checkRecord(place, a.URI, a.CID)
	if err != nil {
		return nil, err
	}
	rev, err := a.Commit.rev()
	return &Written{URI: place.URI(), CID: c, Rev: rev}, err
}

// PutRecord is a record to write in place of the one that is there, if any.
type PutRecord struct {
	Place
	// Record is encoded with encoding/json and carries its $type.
	Record any
	Swap   Swap
}

// PutRecord writes a record, new or not (com.atproto.repo.putRecord). The
// answer has no Rev when the very same record was there already. Errors: those of
// CreateRecord; errors.Is ErrSwap when the record is not as Swap demands.
func (c *Client) PutRecord(ctx context.Context, put PutRecord) (*Written, error) {
	const method = syntax.NSID("com.atproto.repo.putRecord")
	if err := put.Place.check(); err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	in := struct {
		Repo       syntax.DID       `json:"repo"`
		Collection syntax.NSID      `json:"collection"`
		RKey       syntax.RecordKey `json:"rkey"`
		Record     any              `json:"record"`
		Swap       Swap             `json:"swapRecord,omitempty"`
	}{put.Repo, put.Collection, put.RKey, put.Record, put.Swap}
	var out writtenAnswer
	if err := c.procedure(ctx, method, in, &out); err != nil {
		return nil, err
	}
	written, err := out.check(put.Place)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return written, nil
}

// DeleteRecord removes a record (com.atproto.repo.deleteRecord); one that is
// not there is no error. rev is the repository's revision without it, empty when
// nothing was removed or the server does not say. A Swap of SwapNone makes no
// sense here. Errors: those of PutRecord.
func (c *Client) DeleteRecord(ctx context.Context, place Place, swap Swap) (rev syntax.TID, err error) {
	const method = syntax.NSID("com.atproto.repo.deleteRecord")
	if err := place.check(); err != nil {
		return "", fmt.Errorf("call %s: %w", method, err)
	}
	in := struct {
		Repo       syntax.DID       `json:"repo"`
		Collection syntax.NSID      `json:"collection"`
		RKey       syntax.RecordKey `json:"rkey"`
		Swap       Swap             `json:"swapRecord,omitempty"`
	}{place.Repo, place.Collection, place.RKey, swap}
	var out struct {
		Commit *commitAnswer `json:"commit"`
	}
	if err := c.procedure(ctx, method, in, &out); err != nil {
		return "", err
	}
	if rev, err = out.Commit.rev(); err != nil {
		return "", fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return rev, nil
}

// Action is what an operation does with a record. The values are those of
// scopes, too.
type Action string

// The actions.
const (
	Create Action = "create"
	Update Action = "update"
	Delete Action = "delete"
)

// Op is one operation of several that happen together or not at all.
type Op struct {
	Action     Action
	Collection syntax.NSID
	RKey       syntax.RecordKey
	Record     any // nil with Delete
}

// maxOps is how many operations one commit may have (AT Protocol repository
// specification).
const maxOps = 200

// ApplyWrites does all ops in one commit (com.atproto.repo.applyWrites), in
// order. The result has one element for each op, which for a Delete has no CID;
// it is nil when the server does not say what it wrote. Errors: those of
// CreateRecord.
func (c *Client) ApplyWrites(ctx context.Context, repo syntax.DID, ops []Op) ([]Written, error) {
	const method = syntax.NSID("com.atproto.repo.applyWrites")
	if repo == "" || len(ops) == 0 || len(ops) > maxOps {
		return nil, fmt.Errorf("call %s: %d operations; there must be a repository and 1 to %d", method, len(ops), maxOps)
	}
	in := struct {
		Repo   syntax.DID `json:"repo"`
		Writes []opJSON   `json:"writes"`
	}{Repo: repo}
	for _, op := range ops {
		if !slices.Contains([]Action{Create, Update, Delete}, op.Action) || op.Collection == "" || op.RKey == "" {
			return nil, fmt.Errorf("call %s: operation %q of %s/%s is incomplete", method, op.Action, op.Collection, op.RKey)
		}
		in.Writes = append(in.Writes, opJSON{method.String() + "#" + string(op.Action), op.Collection, op.RKey, op.Record})
	}
	var out batchAnswer
	if err := c.procedure(ctx, method, in, &out); err != nil {
		return nil, err
	}
	written, err := out.check(repo, ops)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return written, nil
}

type opJSON struct {
	Type       string           `json:"$type"`
	Collection syntax.NSID      `json:"collection"`
	RKey       syntax.RecordKey `json:"rkey"`
	Value      any              `json:"value,omitempty"`
}

type batchAnswer struct {
	Commit  *commitAnswer   `json:"commit"`
	Results []writtenAnswer `json:"results"`
}

func (a *batchAnswer) check(repo syntax.DID, ops []Op) ([]Written, error) {
	rev, err := a.Commit.rev()
	switch {
	case err != nil:
		return nil, err
	case len(a.Results) == 0:
		return nil, nil // the server does not say
	case len(a.Results) != len(ops):
		return nil, fmt.Errorf("%w: %d results for %d operations", ErrBadAnswer, len(a.Results), len(ops))
	}
	var all []Written
	for i, op := range ops {
		w := &Written{URI: (Place{repo, op.Collection, op.RKey}).URI()}
		if op.Action != Delete {
			if w, err = a.Results[i].check(Place{repo, op.Collection, op.RKey}); err != nil {
				return nil, err
			}
		}
		w.Rev = rev
		all = append(all, *w)
	}
	return all, nil
}

// UploadBlob stores bytes that a record is about to refer to
// (com.atproto.repo.uploadBlob). Doing it again changes nothing. The server may
// recognise another media type than the one given. Errors: those of
// CreateRecord; ErrBadAnswer when the server has stored something else.
func (c *Client) UploadBlob(ctx context.Context, kind string, body []byte) (atdata.Blob, error) {
	const method = syntax.NSID("com.atproto.repo.uploadBlob")
	if _, _, err := mime.ParseMediaType(kind); err != nil || len(body) == 0 {
		return atdata.Blob{}, fmt.Errorf("call %s: media type %.100q with %d bytes", method, kind, len(body))
	}
	var out struct {
		Blob json.RawMessage `json:"blob"`
	}
	if err := c.send(ctx, method, kind, body, &out); err != nil {
		return atdata.Blob{}, err
	}
	blob, err := checkBlob(out.Blob, body)
	if err != nil {
		return atdata.Blob{}, fmt.Errorf("call %s at %s: %w: %w", method, c.origin, ErrBadAnswer, err)
	}
	return blob, nil
}

// checkBlob makes sure that an answer is about body.
func checkBlob(answer json.RawMessage, body []byte) (atdata.Blob, error) {
	var blob atdata.Blob
	if err := json.Unmarshal(answer, &blob); err != nil {
		return blob, err
	}
	want, err := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(body)
	if err != nil {
		return blob, fmt.Errorf("hash: %w", err)
	}
	kind, _, err := mime.ParseMediaType(blob.MimeType)
	switch {
	case blob.Ref.CID() != want:
		return blob, fmt.Errorf("blob %s instead of %s", blob.Ref, want)
	case blob.Size != int64(len(body)):
		return blob, fmt.Errorf("blob of %d bytes instead of %d", blob.Size, len(body))
	case err != nil || kind != blob.MimeType:
		return blob, errors.New("blob without a media type")
	}
	return blob, nil
}

func (p Place) check() error {
	if p.Repo == "" || p.Collection == "" || p.RKey == "" {
		return errors.New("repository, collection and key must be given")
	}
	return nil
}
