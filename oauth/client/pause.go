package client

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Bounds of leaving a server, or one session at it, alone after trouble.
const (
	hostPause    = time.Second     // after the first failure of a host; doubles
	sessionPause = 5 * time.Second // after the first failure of one session; doubles
	maxPause     = 5 * time.Minute // unless the server asks for more
	pauseLimit   = 10_000          // of what is remembered, per half
)

// memory is a bounded map that forgets what was written longest ago, roughly:
// when the young half is full the old half is dropped. Safe for concurrent use.
type memory[V any] struct {
	mu         sync.Mutex
	young, old map[string]V
}

func (m *memory[V]) get(key string) (V, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(key)
}

func (m *memory[V]) find(key string) (V, bool) {
	if v, ok := m.young[key]; ok {
		return v, true
	}
	v, ok := m.old[key]
	return v, ok
}

// change replaces the value of key by what fn makes of it.
func (m *memory[V]) change(key string, fn func(V) V) V {
	m.mu.Lock()
	defer m.mu.Unlock()
	v, _ := m.find(key)
	v = fn(v)
	if _, ok := m.young[key]; !ok && len(m.young) >= pauseLimit {
		m.old, m.young = m.young, nil
	}
	if m.young == nil {
		m.young = make(map[string]V)
	}
	m.young[key] = v
	return v
}

func (m *memory[V]) drop(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.young, key)
	delete(m.old, key)
}

// pauses remembers until when something is to be left alone: the origin of a
// server, or the id of a session. What is forgotten costs one more request.
type pauses struct{ memory[pause] }

type pause struct {
	until    time.Time
	failures int
	cause    error
}

// current returns the pause that key is in at now.
func (p *pauses) current(key string, now time.Time) (pause, bool) {
	v, ok := p.get(key)
	return v, ok && now.Before(v.until)
}

// failed begins the next pause of key and returns its end: twice as long as the
// one before, starting with first, a fifth more or less; or until retryAt, where
// the server has named a time.
func (p *pauses) failed(key string, now time.Time, first time.Duration, retryAt time.Time, cause error) time.Time {
	return p.change(key, func(v pause) pause {
		length := min(first<<min(v.failures, 16), maxPause)
		length = time.Duration(float64(length) * (0.8 + 0.4*rand.Float64()))
		next := pause{until: now.Add(length), failures: v.failures + 1, cause: cause}
		if retryAt.After(now) {
			next.until = retryAt
		}
		return next
	}).until
}

// succeeded forgets the failures of key.
func (p *pauses) succeeded(key string) { p.drop(key) }
