package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/pds"
)

// Delete is a record to remove.
type Delete struct {
	Collection syntax.NSID
	RKey       syntax.RecordKey
	// Swap demands that the record is the one with a certain CID.
	Swap Swap
}

// Removed is a record that is not in the repository any more.
type Removed struct {
	// Rev is a revision of the repository that does not have it. Empty when the
	// server does not say; the network's stream will tell.
	Rev syntax.TID
}

// Delete removes a record from the actor's own repository; one that is not
// there is removed. It may be called again after any error. A request that ends
// early does not end it. Errors: *Error, with the Kind Stale when another record
// is there than Swap demands; or one of our own.
func (a *Agent) Delete(ctx context.Context, actor Actor, d Delete) (Removed, error) {
	place := pds.Place{Repo: actor.DID, Collection: d.Collection, RKey: d.RKey}
	removed, err := a.remove(context.WithoutCancel(ctx), actor, place, d.Swap)
	if err != nil {
		return Removed{}, fmt.Errorf("delete %s: %w", place.URI(), a.explain(err, scope(d.Collection, pds.Delete)))
	}
	return removed, nil
}

func (a *Agent) remove(ctx context.Context, actor Actor, place pds.Place, swap Swap) (Removed, error) {
	if swap == SwapNone {
		return Removed{}, errors.New("a record that is not there cannot be removed")
	}
	var rev syntax.TID
	origin, err := a.attempt(ctx, actor, scope(place.Collection, pds.Delete), func(ctx context.Context, server *pds.Client) error {
		var err error
		rev, err = server.DeleteRecord(ctx, place, swap)
		return err
	})
	if err == nil && rev != "" {
		return Removed{Rev: rev}, nil
	}
	if err != nil && !maybeWritten(err) {
		return Removed{}, err
	}
	there, looking := a.look(ctx, origin, place, err)
	switch {
	case looking == nil && there.cid == "":
		return Removed{Rev: there.rev}, nil
	case err == nil && looking != nil:
		return Removed{}, nil //nolint:nilerr // the server says that it is gone; only since when is not known
	case err == nil:
		return Removed{}, unreachable(fmt.Errorf("%w: %s is said to be removed, and is there", pds.ErrBadAnswer, place.URI()))
	case looking != nil:
		return Removed{}, looking
	case errors.Is(err, pds.ErrSwap), !refusedForGood(err) && swap != "" && !fits(swap, there):
		return Removed{}, stale(place, err)
	}
	return Removed{}, err
}
