package session

import (
	"context"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// EventKind says what happened to a session.
type EventKind string

// The kinds of events. Each leaves an audit row too.
const (
	EventUpdated EventKind = "updated" // its tokens or its scope are new
	EventMoved   EventKind = "moved"   // its account is at another PDS under the same issuer
	EventEnded   EventKind = "ended"   // it is over; Reason says why
	EventPaused  EventKind = "paused"  // its account is not active at its server; Reason says how
	EventResumed EventKind = "resumed" // its account is active again
)

// Event is something that this process has done to a session. It holds no secret.
type Event struct {
	Kind      EventKind
	SessionID string
	DID       syntax.DID
	Reason    Reason // of EventEnded and EventPaused
	At        time.Time
}

// Subscribe calls fn with every event of this process after its change has been
// committed, in the goroutine that made the change: fn must be quick and must
// not call the Manager. Events of one session come in order unless two
// goroutines change it at once. cancel ends the subscription; a call that is
// under way may still end after it.
func (m *Manager) Subscribe(fn func(Event)) (cancel func()) {
	m.subscribers.Lock()
	defer m.subscribers.Unlock()
	own := &fn
	m.subscribers.list = append(m.subscribers.list, own)
	return func() {
		m.subscribers.Lock()
		defer m.subscribers.Unlock()
		m.subscribers.list = slices.DeleteFunc(slices.Clone(m.subscribers.list),
			func(other *func(Event)) bool { return other == own })
	}
}

func (m *Manager) publish(events []Event) {
	if len(events) == 0 {
		return
	}
	m.subscribers.Lock()
	list := m.subscribers.list
	m.subscribers.Unlock()
	for _, e := range events {
		for _, fn := range list {
			(*fn)(e)
		}
	}
}

// change is a transaction, the time at which it happens, and what it does to
// sessions.
type change struct {
	*store.Tx
	now    time.Time
	events []Event
}

// change runs fn in a transaction and publishes its events once it is committed.
func (m *Manager) change(ctx context.Context, fn func(tx *change) error) error {
	var done *change
	err := m.db.Tx(ctx, func(tx *store.Tx) error {
		done = &change{Tx: tx, now: m.now()} // anew with every attempt
		return fn(done)
	})
	if err != nil {
		return err
	}
	m.publish(done.events)
	return nil
}

// happened notes an event.
func (tx *change) happened(kind EventKind, id string, did syntax.DID, why Reason) {
	tx.events = append(tx.events, Event{Kind: kind, SessionID: id, DID: did, Reason: why, At: tx.now})
}

// record adds a row to the audit trail.
func (tx *change) record(ctx context.Context, e Entry) error { return record(ctx, tx, e, tx.now) }
