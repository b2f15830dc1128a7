package dpop

import (
	"crypto/sha256"
	"sync"
	"time"
)

// Replays remembers the proofs of the window in which they would be accepted,
// in memory bounded by a number of proofs. When a flood fills it, it forgets
// the oldest second whole and refuses, with ErrTime, every proof dated before
// the end of it: the window shrinks under load, but no proof is ever accepted
// twice. Safe for concurrent use.
type Replays struct {
	mu      sync.Mutex
	limit   int
	count   int
	seconds map[int64]map[[16]byte]struct{} // by iat
	oldest  int64                           // no second before this one is kept
	floor   int64                           // proofs dated before are refused
}

// NewReplays makes a memory of at most limit proofs, about 40 bytes each.
func NewReplays(limit int) *Replays {
	return &Replays{limit: max(limit, 1), seconds: make(map[int64]map[[16]byte]struct{})}
}

// Len returns how many proofs are remembered.
func (r *Replays) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count
}

// use records a proof; ErrReplayed when it was recorded before. The jti counts
// per key. Nothing before oldest would be accepted any more, so it is dropped.
func (r *Replays) use(thumbprint, id string, at, oldest time.Time) error {
	hash := sha256.Sum256([]byte(thumbprint + "|" + id))
	key := [16]byte(hash[:16])
	second := at.Unix()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.expire(oldest.Unix())
	if second < max(r.floor, r.oldest) { // oldest counts too: our clock may have gone back
		return ErrTime
	}
	if _, ok := r.seconds[second][key]; ok {
		return ErrReplayed
	}
	if r.count >= r.limit {
		r.shrink()
		if second < r.floor {
			return ErrTime
		}
	}
	if r.seconds[second] == nil {
		r.seconds[second] = make(map[[16]byte]struct{})
	}
	r.seconds[second][key] = struct{}{}
	r.count++
	return nil
}

// expire drops the seconds before limit, which the window has left behind.
func (r *Replays) expire(limit int64) {
	if limit <= r.oldest {
		return
	}
	for second, proofs := range r.seconds {
		if second < limit {
			r.count -= len(proofs)
			delete(r.seconds, second)
		}
	}
	r.oldest = limit
}

// shrink drops the oldest second and refuses it, and all before it, from now on.
func (r *Replays) shrink() {
	first := int64(0)
	for second := range r.seconds {
		if first == 0 || second < first {
			first = second
		}
	}
	r.count -= len(r.seconds[first])
	delete(r.seconds, first)
	r.floor = max(r.floor, first+1)
}
