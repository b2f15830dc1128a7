package dpop

import (
	"net/http"
	"sync"
	"time"
)

// maxNonce bounds what is kept of a nonce, in bytes; official ones have 43.
const maxNonce = 512

// generations is a bounded map that forgets what was not used for longest,
// roughly: when the young half is full the old half is dropped. It holds
// 2*limit entries at most.
type generations[K comparable, V any] struct {
	mu         sync.Mutex
	limit      int
	young, old map[K]V
}

func (g *generations[K, V]) get(key K) (V, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v, ok := g.young[key]
	if !ok {
		if v, ok = g.old[key]; ok {
			g.put(key, v)
		}
	}
	return v, ok
}

func (g *generations[K, V]) set(key K, v V) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.put(key, v)
}

func (g *generations[K, V]) put(key K, v V) {
	if _, ok := g.young[key]; !ok && len(g.young) >= g.limit {
		g.old, g.young = g.young, nil
	}
	if g.young == nil {
		g.young = make(map[K]V)
	}
	g.young[key] = v
}

// Nonces keeps the latest nonce per key and origin, in memory (RFC 9449, 8).
// Every session has a proof key of its own, so this is per session and origin.
// It is bounded; a forgotten nonce costs one more request. Safe for concurrent
// use.
type Nonces struct{ m generations[nonceKey, string] }

type nonceKey struct{ thumbprint, origin string }

// NewNonces makes a keeper of at most 2*limit nonces.
func NewNonces(limit int) *Nonces {
	return &Nonces{generations[nonceKey, string]{limit: max(limit, 1)}}
}

// Get returns the nonce to send to origin with the key of that thumbprint, ""
// when none is known.
func (n *Nonces) Get(thumbprint, origin string) string {
	nonce, _ := n.m.get(nonceKey{thumbprint, origin})
	return nonce
}

// Learn keeps the nonce of a response, whatever its status, and returns it. A
// response without one, or with one that breaks RFC 9449 (8.1) or is longer
// than 512 bytes, changes nothing and returns "".
func (n *Nonces) Learn(thumbprint, origin string, response http.Header) string {
	values := response.Values(NonceHeader)
	if len(values) != 1 || !validNonce(values[0]) {
		return ""
	}
	n.m.set(nonceKey{thumbprint, origin}, values[0])
	return values[0]
}

// validNonce checks 1*NQCHAR of RFC 6749, appendix A.
func validNonce(s string) bool {
	if s == "" || len(s) > maxNonce {
		return false
	}
	for _, c := range []byte(s) {
		if c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// Limits of what Clocks believes.
const (
	minOffset = 5 * time.Second // less is latency and rounding: Date counts seconds
	maxOffset = 25 * time.Hour  // more is nonsense
)

// Clocks keeps how far the clock of each origin is ahead of ours, learnt from
// the header Date. Offsets under five seconds count as none. It is bounded and
// safe for concurrent use.
type Clocks struct {
	m generations[string, time.Duration]
}

// NewClocks makes a keeper for at most 2*limit origins.
func NewClocks(limit int) *Clocks {
	return &Clocks{generations[string, time.Duration]{limit: max(limit, 1)}}
}

// Offset returns what to add to our time to get origin's; negative where it is
// behind.
func (c *Clocks) Offset(origin string) time.Duration {
	offset, _ := c.m.get(origin)
	return offset
}

// Learn reads Date of a response that arrived at now and reports whether the
// offset changed by five seconds or more. Answers out of a cache (header Age)
// and dates more than 25 hours away are ignored.
func (c *Clocks) Learn(origin string, response http.Header, now time.Time) bool {
	if response.Get("Age") != "" {
		return false
	}
	date, err := http.ParseTime(response.Get("Date"))
	if err != nil {
		return false
	}
	offset := date.Sub(now.Truncate(time.Second))
	if offset.Abs() > maxOffset {
		return false
	}
	if offset.Abs() < minOffset {
		offset = 0
	}
	if (offset - c.Offset(origin)).Abs() < minOffset {
		return false
	}
	c.m.set(origin, offset)
	return true
}
