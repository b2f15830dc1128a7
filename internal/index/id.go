package index

import (
	"math/rand/v2"
	"sync"
	"time"
)

// idEpoch is 2025-01-01T00:00:00Z in microseconds: ids start there, so that
// 53 bits of time and 10 bits of process fit a positive int64 until 2310.
const (
	idEpoch    = 1_735_689_600_000_000
	idNodeBits = 10
)

// idSource makes row ids: they grow with time, which keeps the newest rows
// together in every index, and two processes do not make the same one.
type idSource struct {
	now  func() time.Time
	node int64

	mu   sync.Mutex
	last int64 // microseconds after idEpoch
}

func newIDSource(now func() time.Time) *idSource {
	return &idSource{now: now, node: rand.Int64N(1 << idNodeBits)}
}

// next returns an id above every earlier one of this source.
func (s *idSource) next() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last+1, s.now().UnixMicro()-idEpoch)
	return s.last<<idNodeBits | s.node
}
