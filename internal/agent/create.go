package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
)

const (
	// writeTimeout bounds a write, from looking up the server to its answer.
	writeTimeout = 30 * time.Second
	// lookTimeout bounds reading back what may have been written.
	lookTimeout = 10 * time.Second
)

// Write is a record to create. The key must have been chosen before the first
// attempt; see Key.
type Write struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// Record holds the types of atdata and its $type. It must be the same at
	// every attempt.
	Record map[string]any
}

// Done is a record that is in the repository.
type Done struct {
	URI syntax.ATURI
	CID syntax.CID
	// Rev is the revision of the repository that has it, or an earlier one.
	// Empty when the server does not say, or holds something else than was
	// sent; the network's stream will tell.
	Rev syntax.TID
}

// Create writes a record in the actor's own repository. It may be called again
// with the same key and record after any error, and then finds what an earlier
// call has written. A request that ends early does not end the write.
// Errors: *Error, or one of our own.
func (a *Agent) Create(ctx context.Context, actor Actor, w Write) (Done, error) {
	place := pds.Place{Repo: actor.DID, Collection: w.Collection, RKey: w.RKey}
	ctx = context.WithoutCancel(ctx)
	done, err := onceMore(func() (Done, error) { return a.create(ctx, actor, place, w.Record) })
	if err != nil {
		return Done{}, fmt.Errorf("create %s: %w", place.URI(), a.explain(err, scope(w.Collection, pds.Create)))
	}
	return done, nil
}

// onceMore makes a second attempt where a server has answered that it failed at
// the first and has nothing of it: official servers do when a record names a new
// file twice. do must be safe to repeat.
func onceMore(do func() (Done, error)) (Done, error) {
	done, err := do()
	var refused *pds.Error
	if errors.As(err, &refused) && refused.Status == http.StatusInternalServerError {
		return do()
	}
	return done, err
}

func (a *Agent) create(ctx context.Context, actor Actor, place pds.Place, record map[string]any) (Done, error) {
	return a.createBy(ctx, place, record, func(ctx context.Context, do func(context.Context, *pds.Client) error) (string, error) {
		return a.attempt(ctx, actor, scope(place.Collection, pds.Create), do)
	})
}

// createBy creates a record by an attempt that somebody else makes; see attempt.
func (a *Agent) createBy(ctx context.Context, place pds.Place, record map[string]any,
	attempt func(ctx context.Context, do func(context.Context, *pds.Client) error) (origin string, err error)) (Done, error) {
	want, err := RecordCID(record)
	if err != nil {
		return Done{}, err
	}
	var written *pds.Written
	origin, err := attempt(ctx, func(ctx context.Context, server *pds.Client) error {
		var err error
		written, err = server.CreateRecord(ctx, pds.CreateRecord{Place: place, Record: record})
		return err
	})
	if err == nil {
		return exact(Done{URI: written.URI, CID: written.CID, Rev: written.Rev}, want), nil
	}
	if !maybeWritten(err) {
		return Done{}, err
	}
	return a.settle(ctx, origin, place, want, err)
}

// exact forgets the revision of a record that is not what was sent: it must
// not be taken for ours.
func exact(d Done, want syntax.CID) Done {
	if d.CID != want {
		d.Rev = ""
	}
	return d
}

// settle reads back what may have been created. cause is why that is unclear.
func (a *Agent) settle(ctx context.Context, origin string, place pds.Place, want syntax.CID, cause error) (Done, error) {
	there, err := a.look(ctx, origin, place, cause)
	switch {
	case err != nil:
		return Done{}, err
	case there.cid == "":
		return Done{}, cause
	case there.cid != want:
		return Done{}, taken(place)
	}
	return a.foundDone(ctx, place, there, cause), nil
}

// RecordCID computes a record's CID (AT Protocol data model: DAG-CBOR,
// SHA-256).
func RecordCID(record map[string]any) (syntax.CID, error) {
	raw, err := atdata.MarshalCBOR(record)
	if err != nil {
		return "", fault.Wrap(fault.Invalid, err, "This cannot be written as a record.")
	}
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(raw)
	if err != nil {
		return "", fmt.Errorf("hash record: %w", err)
	}
	return syntax.CID(c.String()), nil
}
