package record

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
)

const (
	// maxRevisions is how often a change is made anew because another process
	// was faster, and revisePause how long it waits first, at most, each time a
	// little longer.
	maxRevisions = 12
	revisePause  = 20 * time.Millisecond
)

// Revise reads a record of the actor's own, has change make the next one of it,
// and writes that, as long as nobody has written in between; otherwise it begins
// anew. is is nil where there is no record. Nothing is written when nothing
// changes. Revisions of one record in this process take turns, so that none of
// many at once is lost. Errors: those of change, of agent.Read and of Put, Kind
// Stale (Conflict, InvalidSwap) when others keep changing it.
func (w *Writer) Revise(ctx context.Context, actor agent.Actor, at pds.Place, change func(is map[string]any) (map[string]any, error),
	people ...index.Identity) (agent.Done, error) {
	at.Repo = actor.DID
	defer w.turns.take(at)()
	for try := 1; ; try++ {
		done, err := w.reviseOnce(ctx, actor, at, change, people)
		var known *agent.Error
		if !errors.As(err, &known) || known.Kind != agent.Stale || try == maxRevisions {
			return done, err
		}
		pause := time.NewTimer(rand.N(time.Duration(try) * revisePause))
		select {
		case <-ctx.Done():
			pause.Stop()
			return agent.Done{}, err
		case <-pause.C:
		}
	}
}

func (w *Writer) reviseOnce(ctx context.Context, actor agent.Actor, at pds.Place, change func(map[string]any) (map[string]any, error),
	people []index.Identity) (agent.Done, error) {
	put := agent.Put{Write: agent.Write{Collection: at.Collection, RKey: at.RKey}, Swap: agent.SwapNone}
	is, err := w.cfg.Agent.Read(ctx, at.Repo, at.Collection, at.RKey)
	switch {
	case errors.Is(err, pds.ErrRecordNotFound):
	case err != nil:
		return agent.Done{}, err
	default:
		put.Swap = agent.SwapCID(is.CID)
	}
	if put.Record, err = change(maps.Clone(is.Record)); err != nil {
		return agent.Done{}, err
	}
	if cid, err := agent.RecordCID(put.Record); err != nil || cid == is.CID {
		return agent.Done{URI: at.URI(), CID: cid}, err
	}
	return w.Put(ctx, actor, put, people...)
}

// turns lets one at a time do something about a place.
type turns struct {
	mu   sync.Mutex
	held map[pds.Place]*turn
}

type turn struct {
	sync.Mutex
	wanted int
}

// take waits for the turn; what it returns ends it.
func (t *turns) take(at pds.Place) (end func()) {
	t.mu.Lock()
	if t.held == nil {
		t.held = map[pds.Place]*turn{}
	}
	mine, ok := t.held[at]
	if !ok {
		mine = &turn{}
		t.held[at] = mine
	}
	mine.wanted++
	t.mu.Unlock()
	mine.Lock()
	return func() {
		mine.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.wanted--; mine.wanted == 0 {
			delete(t.held, at)
		}
	}
}
