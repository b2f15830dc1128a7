package agent

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/pds"
)

// Op is one write of a batch.
type Op struct {
	// Action says whether the record is new (pds.Create), there already
	// (pds.Update), or to be removed (pds.Delete, without Record).
	Action pds.Action
	Write
}

// Batch does several writes in the actor's own repository in one commit: all of
// them or none, at most 200. It may be called again with the same ops after any
// error. The result has one element for each op; that of a delete has no CID.
// A record that is to be updated or removed must be there: otherwise the batch
// is refused. Errors: *Error, with the Kind Taken when a key of a create is in
// use; or one of our own.
func (a *Agent) Batch(ctx context.Context, actor Actor, ops []Op) ([]Done, error) {
	done, err := a.batch(context.WithoutCancel(ctx), actor, ops)
	if err != nil {
		return nil, fmt.Errorf("write %d records of %s: %w", len(ops), actor.DID, a.explain(err, strings.Fields(scopes(ops))...))
	}
	return done, nil
}

// scopes are what the ops take, each once.
func scopes(ops []Op) string {
	var all []string
	for _, op := range ops {
		if one := scope(op.Collection, op.Action); !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return strings.Join(all, " ")
}

func (a *Agent) batch(ctx context.Context, actor Actor, ops []Op) ([]Done, error) {
	wants, err := wanted(ops)
	if err != nil {
		return nil, err
	}
	var written []pds.Written
	origin, err := a.attempt(ctx, actor, scopes(ops), func(ctx context.Context, server *pds.Client) error {
		var err error
		written, err = server.ApplyWrites(ctx, actor.DID, operations(ops))
		return err
	})
	if err != nil && !maybeWritten(err) {
		return nil, err
	}
	if err == nil && written != nil {
		done := make([]Done, len(ops))
		for i, w := range written {
			done[i] = exact(Done{URI: w.URI, CID: w.CID, Rev: w.Rev}, wants[i])
		}
		return done, nil
	}
	return a.settleBatch(ctx, origin, actor.DID, ops, wants, err)
}

// wanted are the CIDs of the records, empty for deletes.
func wanted(ops []Op) ([]syntax.CID, error) {
	wants := make([]syntax.CID, len(ops))
	places := map[string]bool{}
	for i, op := range ops {
		place := op.Collection.String() + "/" + op.RKey.String()
		if places[place] {
			return nil, fmt.Errorf("%s stands twice in one batch", place)
		}
		places[place] = true
		if op.Action == pds.Delete {
			continue
		}
		var err error
		if wants[i], err = RecordCID(op.Record); err != nil {
			return nil, err
		}
	}
	return wants, nil
}

func operations(ops []Op) []pds.Op {
	all := make([]pds.Op, len(ops))
	for i, op := range ops {
		all[i] = pds.Op{Action: op.Action, Collection: op.Collection, RKey: op.RKey}
		if op.Action != pds.Delete {
			all[i].Record = op.Record
		}
	}
	return all
}

// settleBatch reads back what may have been written, all of it or nothing.
// cause is why that is unclear; nil when the server said yes and no more.
func (a *Agent) settleBatch(ctx context.Context, origin string, did syntax.DID, ops []Op, wants []syntax.CID, cause error) ([]Done, error) {
	done := make([]Done, len(ops))
	all, some := true, false
	for i, op := range ops {
		place := pds.Place{Repo: did, Collection: op.Collection, RKey: op.RKey}
		there, err := a.look(ctx, origin, place, cause)
		if err != nil {
			return nil, err
		}
		done[i] = exact(Done{URI: place.URI(), CID: wants[i], Rev: there.rev}, there.cid)
		switch {
		case there.cid == wants[i]:
			// Nobody else has chosen that key, so it was us.
			some = some || op.Action == pds.Create
		case op.Action == pds.Create && there.cid != "":
			return nil, taken(place)
		default:
			all = false
		}
	}
	switch {
	case !all && !some && cause == nil:
		return nil, unreachable(fmt.Errorf("%w: nothing of what is said to be written is there", pds.ErrBadAnswer))
	case !all && !some:
		return nil, cause
	}
	if cause != nil {
		a.log.InfoContext(ctx, "records were written although the answer was lost", "did", did, "records", len(ops), "cause", cause)
	}
	return done, nil
}
