// Package memstore keeps sign-ins and sessions in memory, with the semantics
// that package client demands of any store: for tests, command-line programs
// and trying things out. Everything is lost when the process ends.
package memstore

import (
	"container/list"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/atoll-social/atoll/oauth/client"
)

// Attempts is a client.AttemptStore. It holds a bounded number of attempts and
// drops the oldest ones for new ones, so that a flood refuses nobody. Expired
// ones go when a new one comes.
type Attempts struct {
	mu    sync.Mutex
	limit int
	now   func() time.Time
	order *list.List // of *client.Attempt, oldest first
	byKey map[string]*list.Element
}

// NewAttempts makes a store for at most limit attempts; now may be nil.
func NewAttempts(limit int, now func() time.Time) *Attempts {
	if now == nil {
		now = time.Now
	}
	return &Attempts{limit: max(limit, 1), now: now, order: list.New(), byKey: make(map[string]*list.Element)}
}

// Put stores a new attempt.
func (s *Attempts) Put(_ context.Context, a *client.Attempt) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for e := s.order.Front(); e != nil; e = s.order.Front() {
		if s.order.Len() < s.limit && !e.Value.(*client.Attempt).Expired(s.now()) {
			break
		}
		s.remove(e)
	}
	s.byKey[a.State] = s.order.PushBack(a.Clone())
	return nil
}

// Peek returns an attempt without using it up.
func (s *Attempts) Peek(_ context.Context, state string) (*client.Attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byKey[state]
	if !ok {
		return nil, client.ErrNotFound
	}
	return e.Value.(*client.Attempt).Clone(), nil
}

// Take returns an attempt and removes it.
func (s *Attempts) Take(_ context.Context, state string) (*client.Attempt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byKey[state]
	if !ok {
		return nil, client.ErrNotFound
	}
	s.remove(e)
	return e.Value.(*client.Attempt), nil
}

// Len returns how many attempts are kept.
func (s *Attempts) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.order.Len()
}

func (s *Attempts) remove(e *list.Element) {
	delete(s.byKey, e.Value.(*client.Attempt).State)
	s.order.Remove(e)
}

// Sessions is a client.SessionStore. It is not bounded: sessions are what a
// program is about.
type Sessions struct {
	mu    sync.Mutex
	byID  map[string]*client.SessionData
	ended map[string]client.Reason
}

// NewSessions makes an empty store.
func NewSessions() *Sessions {
	return &Sessions{byID: make(map[string]*client.SessionData), ended: make(map[string]client.Reason)}
}

// Get returns a copy of a session.
func (s *Sessions) Get(_ context.Context, id string) (*client.SessionData, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, ok := s.byID[id]
	if !ok {
		return nil, client.ErrNotFound
	}
	return d.Clone(), nil
}

// Save writes a session if nobody else did since it was read.
func (s *Sessions) Save(_ context.Context, d *client.SessionData) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.byID[d.ID]
	switch {
	case !ok && d.Version != 0:
		return client.ErrNotFound
	case ok && old.Version != d.Version:
		return client.ErrConflict
	}
	d.Version++
	s.byID[d.ID] = d.Clone()
	return nil
}

// Delete ends a session.
func (s *Sessions) Delete(_ context.Context, id string, why client.Reason) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byID[id]; ok {
		delete(s.byID, id)
		s.ended[id] = why
	}
	return nil
}

// Due returns sessions that may need something; see client.DueStore.
func (s *Sessions) Due(_ context.Context, q client.DueQuery) ([]client.DueSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []client.DueSession
	for id, d := range s.byID {
		if id > q.After && q.Wants(d) {
			due = append(due, d.Due())
		}
	}
	slices.SortFunc(due, func(a, b client.DueSession) int { return strings.Compare(a.ID, b.ID) })
	return due[:min(len(due), q.Limit)], nil
}

// Ended returns why a session was deleted; false for one that never was. Ids of
// ended sessions are remembered as long as the process lives.
func (s *Sessions) Ended(id string) (client.Reason, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	why, ok := s.ended[id]
	return why, ok
}

// Len returns how many sessions are kept.
func (s *Sessions) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID)
}
