// Package record writes records in a member's name and has the index know them
// at once: what the index would not take is not written, and what the member's
// server has answered is applied by the same function as the network's copy.
package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// Directory answers who an account is; identity.Directory does.
type Directory interface {
	Lookup(ctx context.Context, id syntax.AtIdentifier) (*sdk.Identity, error)
	PDS(ident *sdk.Identity) (string, error)
}

// Agent writes to repositories; agent.Agent does.
type Agent interface {
	Create(ctx context.Context, actor agent.Actor, w agent.Write) (agent.Done, error)
	Put(ctx context.Context, actor agent.Actor, p agent.Put) (agent.Done, error)
	Delete(ctx context.Context, actor agent.Actor, d agent.Delete) (agent.Removed, error)
	Read(ctx context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error)
}

// Config is what a Writer needs.
type Config struct {
	DB        *store.DB
	Index     *index.Index
	Agent     Agent
	Directory Directory
	Logger    *slog.Logger
	// Applied is called when something was applied; nil: nobody cares. It must
	// not block.
	Applied func()
}

// Writer writes records. It is safe for concurrent use.
type Writer struct {
	cfg   Config
	log   *slog.Logger
	turns turns
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Writer, error) {
	if cfg.DB == nil || cfg.Index == nil || cfg.Agent == nil || cfg.Directory == nil || cfg.Logger == nil {
		return nil, errors.New("record: database, index, agent, directory and logger are required")
	}
	return &Writer{cfg: cfg, log: cfg.Logger.With("component", "record")}, nil
}

// ErrUnfit is in errors about records that the index would not take: the
// lexicon, or what goes beyond it, forbids them.
var ErrUnfit = errors.New("record does not fit")

// Check reports why the index would not take a record of did's; nil when it
// would. Errors: ErrUnfit, and those of agent.RecordCID.
func (w *Writer) Check(did syntax.DID, write agent.Write) error {
	op, err := operation(index.Create, write)
	if err != nil {
		return err
	}
	// Any revision will do: the commit is not applied.
	_, err = w.prepare(did, syntax.NewTID(time.Now().UnixMicro(), 0), []index.Op{op})
	return err
}

// Create writes a record that must not exist yet into the actor's repository,
// and applies it. The accounts named in people are made known to the index, so
// that pages show their names; the actor's own is looked up. Errors: those of
// Check and of agent.Create. That the index could not be written is none: the
// network's stream will bring the record.
func (w *Writer) Create(ctx context.Context, actor agent.Actor, write agent.Write, people ...index.Identity) (agent.Done, error) {
	if err := w.Check(actor.DID, write); err != nil {
		return agent.Done{}, err
	}
	done, err := w.cfg.Agent.Create(ctx, actor, write)
	if err == nil {
		w.apply(ctx, actor.DID, done.Rev, people, wrote{index.Create, write})
	}
	return done, err
}

// Put writes a record in place of the one under its key, if there is one, and
// applies it; see Create. Errors: those of Check and of agent.Put.
func (w *Writer) Put(ctx context.Context, actor agent.Actor, put agent.Put, people ...index.Identity) (agent.Done, error) {
	if err := w.Check(actor.DID, put.Write); err != nil {
		return agent.Done{}, err
	}
	done, err := w.cfg.Agent.Put(ctx, actor, put)
	if err == nil {
		action := index.Update
		if put.Swap == agent.SwapNone {
			action = index.Create
		}
		w.apply(ctx, actor.DID, done.Rev, people, wrote{action, put.Write})
	}
	return done, err
}

// Delete removes a record, and applies that; see Create. One that is not there
// is removed. Errors: those of agent.Delete.
func (w *Writer) Delete(ctx context.Context, actor agent.Actor, del agent.Delete) error {
	removed, err := w.cfg.Agent.Delete(ctx, actor, del)
	if err == nil {
		w.apply(ctx, actor.DID, removed.Rev, nil, wrote{index.Delete, agent.Write{Collection: del.Collection, RKey: del.RKey}})
	}
	return err
}

// Wrote applies a record that somebody else has had written, as Create and Put
// do.
func (w *Writer) Wrote(ctx context.Context, done agent.Done, write agent.Write, people ...index.Identity) {
	w.apply(ctx, syntax.DID(done.URI.Authority().String()), done.Rev, people, wrote{index.Update, write})
}

// wrote is one thing that a revision of a repository did.
type wrote struct {
	action index.Action
	write  agent.Write // without a record for index.Delete
}

func operation(action index.Action, write agent.Write) (index.Op, error) {
	op := index.Op{Action: action, Collection: write.Collection, RKey: write.RKey}
	if action == index.Delete {
		return op, nil
	}
	cid, err := agent.RecordCID(write.Record)
	if err != nil {
		return index.Op{}, err
	}
	op.CID, op.Record = cid, write.Record
	return op, nil
}

// prepare makes the commit that the index is to apply.
func (w *Writer) prepare(did syntax.DID, rev syntax.TID, ops []index.Op) (index.Commit, error) {
	commit, drops := w.cfg.Index.Prepare(did, rev, ops)
	for _, d := range drops {
		return index.Commit{}, fmt.Errorf("%w: %s: %w", ErrUnfit, d.Reason, d.Err)
	}
	return commit, nil
}

// apply puts what a server has answered into the index, before the stream
// brings it. It goes on when the request ends. When it fails the stream still
// brings it, so that the member is told that it is written, which it is. A
// revision that the server did not tell is left to the stream, too.
func (w *Writer) apply(ctx context.Context, did syntax.DID, rev syntax.TID, people []index.Identity, all ...wrote) {
	if rev == "" {
		return
	}
	ctx = context.WithoutCancel(ctx)
	var ops []index.Op
	for _, one := range all {
		op, err := operation(one.action, one.write)
		if err != nil {
			w.late(ctx, did, one, err)
			return
		}
		ops = append(ops, op)
	}
	commit, err := w.prepare(did, rev, ops)
	if err == nil {
		people = append(w.author(ctx, did), people...)
		err = w.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return w.store(ctx, tx, commit, people) })
	}
	if err != nil {
		w.late(ctx, did, all[0], err)
	}
}

func (w *Writer) late(ctx context.Context, did syntax.DID, one wrote, err error) {
	w.log.ErrorContext(ctx, "record is written but not indexed yet", "did", did,
		"collection", one.write.Collection, "rkey", one.write.RKey, "error", err)
}

func (w *Writer) store(ctx context.Context, tx *store.Tx, commit index.Commit, people []index.Identity) error {
	if _, err := w.cfg.Index.Apply(ctx, tx, []index.Commit{commit}); err != nil {
		return err
	}
	for _, id := range people {
		if err := w.cfg.Index.Identify(ctx, tx, id); err != nil {
			return err
		}
	}
	if w.cfg.Applied != nil {
		tx.AfterCommit(w.cfg.Applied)
	}
	return nil
}

// lookTimeout bounds looking up names that are only for show.
const lookTimeout = 2 * time.Second

// author is who writes, so that the page shows the name at once. The agent has
// just asked, so the answer is at hand; otherwise it is found out in the
// background.
func (w *Writer) author(ctx context.Context, did syntax.DID) []index.Identity {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	ident, err := w.cfg.Directory.Lookup(ctx, did.AtIdentifier())
	if err != nil {
		return nil
	}
	return []index.Identity{Identity(w.cfg.Directory, ident)}
}

// Identity is what the index keeps of a directory's answer.
func Identity(d Directory, ident *sdk.Identity) index.Identity {
	id := index.Identity{DID: ident.DID, Handle: ident.Handle}
	if ident.Handle.IsInvalidHandle() {
		id.Handle, id.Unchecked = "", true // the background look-up tells why
	}
	if origin, err := d.PDS(ident); err == nil {
		id.PDS = origin
	}
	return id
}
