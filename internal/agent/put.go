package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/pds"
)

// Swap is the state that a record must be in for a write to be made. The zero
// Swap demands nothing.
type Swap = pds.Swap

// SwapNone demands that there is no such record.
const SwapNone = pds.SwapNone

// SwapCID demands that the record is the one with this CID.
func SwapCID(c syntax.CID) Swap { return pds.SwapCID(c) }

// Put is a record to write in place of the one under its key, if there is one.
type Put struct {
	Write
	Swap Swap
}

// Put writes a record, new or not, in the actor's own repository. It may be
// called again with the same record and Swap after any error. A request that
// ends early does not end the write. Errors: *Error, with the Kind Stale when the
// record is not as Swap demands; or one of our own.
func (a *Agent) Put(ctx context.Context, actor Actor, p Put) (Done, error) {
	place := pds.Place{Repo: actor.DID, Collection: p.Collection, RKey: p.RKey}
	ctx = context.WithoutCancel(ctx)
	done, err := onceMore(func() (Done, error) { return a.put(ctx, actor, place, p) })
	if err != nil {
		return Done{}, fmt.Errorf("put %s: %w", place.URI(), a.explain(err, scope(p.Collection, pds.Create, pds.Update)))
	}
	return done, nil
}

func (a *Agent) put(ctx context.Context, actor Actor, place pds.Place, p Put) (Done, error) {
	want, err := RecordCID(p.Record)
	if err != nil {
		return Done{}, err
	}
	var written *pds.Written
	origin, err := a.attempt(ctx, actor, scope(place.Collection, pds.Create, pds.Update), func(ctx context.Context, server *pds.Client) error {
		var err error
		written, err = server.PutRecord(ctx, pds.PutRecord{Place: place, Record: p.Record, Swap: p.Swap})
		return err
	})
	switch {
	case err == nil && written.Rev == "" && written.CID == want:
		return a.sinceWhen(ctx, origin, place, want), nil
	case err == nil:
		return exact(Done{URI: written.URI, CID: written.CID, Rev: written.Rev}, want), nil
	case !maybeWritten(err):
		return Done{}, err
	}
	there, looking := a.look(ctx, origin, place, err)
	switch {
	case looking != nil:
		return Done{}, looking
	case there.cid == want:
		return a.foundDone(ctx, place, there, err), nil
	case errors.Is(err, pds.ErrSwap), !refusedForGood(err) && p.Swap != "" && !fits(p.Swap, there):
		return Done{}, stale(place, err)
	}
	return Done{}, err
}

// sinceWhen finds a revision for a record that the server had already, so that
// the index can be told of one that it has missed.
func (a *Agent) sinceWhen(ctx context.Context, origin string, place pds.Place, want syntax.CID) Done {
	done := Done{URI: place.URI(), CID: want}
	if there, err := a.look(ctx, origin, place, nil); err == nil && there.cid == want {
		done.Rev = there.rev
	}
	return done
}

// fits reports that the record is still as swap demands.
func fits(swap Swap, there state) bool {
	if there.cid == "" {
		return swap == SwapNone
	}
	return swap == SwapCID(there.cid)
}
