package index

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/atoll-social/atoll/internal/store"
)

// Trace says what a transaction may have changed in what is shown, so that
// whoever keeps some of that knows what is over: posts, by their rows, with
// their votes and what their communities decided; accounts, with how they are
// shown and what they say as communities; and readers, accounts that stand
// otherwise to what they see: by votes, subscriptions, blocks. All are in order.
// It may name more than has changed, never less.
type Trace struct {
	Seq                      int64
	Posts, Accounts, Readers []int64
}

func (t *Trace) lists() []*[]int64 { return []*[]int64{&t.Posts, &t.Accounts, &t.Readers} }

// traceMost is how much a trace names at most. One of more names nothing, which
// means everything.
const traceMost = 20_000

// leaveTrace writes what the batch may have changed.
func (b *batch) leaveTrace(ctx context.Context, changes []change) {
	t := Trace{Seq: b.seq, Readers: b.revoted, Posts: slices.AppendSeq(slices.Collect(maps.Keys(b.posts)), maps.Keys(b.touched))}
	for _, ch := range changes {
		switch ch.kind.nsid {
		case PostCollection, CommentCollection, AcceptanceCollection, RemovalCollection: // their posts are named
		case VoteCollection, SubscriptionCollection, PersonBlockCollection, CommunityBlockCollection:
			t.Readers = append(t.Readers, ch.account)
		default:
			t.Accounts = append(t.Accounts, ch.account)
		}
	}
	for _, ids := range t.lists() {
		slices.Sort(*ids)
		*ids = slices.Compact(*ids)
	}
	b.upsert(ctx, "shown_change", "seq, changed_at, trace", []string{"BIGINT", "BIGINT", "BYTEA"}, [][]any{{b.seq, b.now, t.encode()}}, "")
}

func writeTrace(ctx context.Context, tx *store.Tx, now int64, t Trace) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO shown_change (seq, changed_at, trace) VALUES ($1, $2, $3)`, t.Seq, now, t.encode())
	if err != nil {
		return fmt.Errorf("write what transaction %d shows otherwise: %w", t.Seq, err)
	}
	return nil
}

// The first byte of a trace.
const (
	namesNothing = iota // everything may be other than before
	namesSome
)

// encode writes the lists as their lengths and the distances between ids.
func (t *Trace) encode() []byte {
	if len(t.Posts)+len(t.Accounts)+len(t.Readers) > traceMost {
		return []byte{namesNothing}
	}
	out := []byte{namesSome}
	for _, ids := range t.lists() {
		out = binary.AppendUvarint(out, uint64(len(*ids)))
		last := int64(0)
		for _, id := range *ids {
			out = binary.AppendUvarint(out, uint64(id-last))
			last = id
		}
	}
	return out
}

var errBadTrace = errors.New("a trace that cannot be read")

// decode reads what encode wrote; ok is false for one that names nothing.
func (t *Trace) decode(raw []byte) (ok bool, err error) {
	if len(raw) == 0 || raw[0] > namesSome {
		return false, errBadTrace
	}
	if raw[0] == namesNothing {
		return false, nil
	}
	raw = raw[1:]
	next := func() uint64 {
		n, size := binary.Uvarint(raw)
		if size <= 0 {
			err, size = errBadTrace, len(raw)
		}
		raw = raw[size:]
		return n
	}
	for _, ids := range t.lists() {
		n := next()
		if n > traceMost {
			return false, errBadTrace
		}
		last := int64(0)
		for range n {
			last += int64(next())
			*ids = append(*ids, last)
		}
	}
	return err == nil, err
}

// Traces lists what the transactions after one up to another may have changed,
// in their order. ok is false where that is not known of all of them: then
// everything may be other than before.
func (x *Index) Traces(ctx context.Context, after, upTo int64) (all []Trace, ok bool, err error) {
	if upTo-after > tracesMost {
		return nil, false, nil
	}
	//nolint:sqlclosecheck // each closes the rows
	rows, err := x.db.Read().QueryContext(ctx, `
		SELECT seq, trace FROM shown_change WHERE seq > $1 AND seq <= $2 ORDER BY seq`, after, upTo)
	if err != nil {
		return nil, false, fmt.Errorf("read what is shown otherwise: %w", err)
	}
	ok = true
	err = each(rows, func() error {
		var t Trace
		var raw []byte
		if err := rows.Scan(&t.Seq, &raw); err != nil {
			return err
		}
		some, err := t.decode(raw)
		ok = ok && some
		all = append(all, t)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("read what is shown otherwise: %w", err)
	}
	return all, ok && int64(len(all)) == upTo-after, nil
}

// tracesMost is how many traces are worth reading.
const tracesMost = 64
