package pds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Place says where a record is: in whose repository, in which collection,
// under which key.
type Place struct {
	Repo       syntax.DID
	Collection syntax.NSID
	RKey       syntax.RecordKey
}

// URI returns the AT-URI of the place.
func (p Place) URI() syntax.ATURI {
	return syntax.ATURI("at://" + p.Repo.String() + "/" + p.Collection.String() + "/" + p.RKey.String())
}

// CreateRecord is what to write. All of Place must be set: the key is chosen
// before the first attempt, so that an attempt whose outcome is unclear can be
// looked up instead of made twice.
type CreateRecord struct {
	Place
	// Record is encoded with encoding/json and carries its $type.
	Record any
	// Validate says whether the server must know the lexicon and check the
	// record (true) or must not look (false); nil checks it if it is known.
	Validate *bool
}

// Written is a record that the server says it has written.
type Written struct {
	URI syntax.ATURI
	CID syntax.CID
	// Rev is the repository's revision that holds the record. Empty when the
	// server does not say; the specification lets it.
	Rev syntax.TID
}

// CreateRecord writes a new record (com.atproto.repo.createRecord). After an
// error for which Unclear is true it may have been written; GetRecord tells.
// Errors: *Error, ErrUnreachable, ErrBadAnswer, and those of the Doer.
func (c *Client) CreateRecord(ctx context.Context, create CreateRecord) (*Written, error) {
	const method = syntax.NSID("com.atproto.repo.createRecord")
	if err := create.Place.check(); err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	in := struct {
		Repo       syntax.DID       `json:"repo"`
		Collection syntax.NSID      `json:"collection"`
		RKey       syntax.RecordKey `json:"rkey"`
		Validate   *bool            `json:"validate,omitempty"`
		Record     any              `json:"record"`
	}{create.Repo, create.Collection, create.RKey, create.Validate, create.Record}
	var out writtenAnswer
	if err := c.procedure(ctx, method, in, &out); err != nil {
		return nil, err
	}
	written, err := out.check(create.Place)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return written, nil
}

// Record is a record as the server has it.
type Record struct {
	URI   syntax.ATURI
	CID   syntax.CID
	Value json.RawMessage // a JSON object
}

// GetRecord reads the record at place (com.atproto.repo.getRecord). Errors:
// *Error (errors.Is ErrRecordNotFound when there is none), ErrUnreachable,
// ErrBadAnswer, and those of the Doer.
func (c *Client) GetRecord(ctx context.Context, place Place) (*Record, error) {
	const method = syntax.NSID("com.atproto.repo.getRecord")
	var out struct {
		URI   string          `json:"uri"`
		CID   string          `json:"cid"`
		Value json.RawMessage `json:"value"`
	}
	params := url.Values{
		"repo": {place.Repo.String()}, "collection": {place.Collection.String()}, "rkey": {place.RKey.String()},
	}
	if err := c.query(ctx, method, params, &out); err != nil {
		return nil, err
	}
	cid, err := checkRecord(place, out.URI, out.CID)
	if err == nil && !strings.HasPrefix(string(out.Value), "{") {
		err = fmt.Errorf("%w: the record is no object", ErrBadAnswer)
	}
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return &Record{URI: place.URI(), CID: cid, Value: out.Value}, nil
}

// checkRecord makes sure that an answer is about the record that was meant.
func checkRecord(place Place, uri, cid string) (syntax.CID, error) {
	if uri != place.URI().String() {
		return "", fmt.Errorf("%w: about %.300q instead of %s", ErrBadAnswer, uri, place.URI())
	}
	parsed, err := parseRecordCID(cid)
	if err != nil {
		return "", fmt.Errorf("%w: CID %.100q: %w", ErrBadAnswer, cid, err)
	}
	return parsed, nil
}

// parseRecordCID takes the one form that records have (AT Protocol data model:
// CIDv1, DAG-CBOR, SHA-256, base32): a fixed head and 52 characters of digest,
// of which the first belongs to the head.
func parseRecordCID(s string) (syntax.CID, error) {
	cid, err := syntax.ParseCID(s)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(s, "bafyrei") || len(s) != 59 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz234567") != "" {
		return "", errors.New("not the CID of a record")
	}
	return cid, nil
}
