package httpserver

import (
	"errors"
	"io"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
)

// Intake bounds how much of large bodies is in memory at once: in all, and of
// each of those who send them, so that nobody keeps out the others. It is safe
// for concurrent use.
type Intake struct {
	total, each int64
	mu          sync.Mutex
	held        int64
	byKey       map[string]int64 // only those who hold something
}

// NewIntake returns an Intake of so many bytes in all, and for each key.
func NewIntake(total, each int64) *Intake {
	return &Intake{total: total, each: each, byKey: map[string]int64{}}
}

// ErrCrowded is in what reading fails with while there is no room.
var ErrCrowded = errors.New("too much is coming in at once")

// crowdedFor is when to try again.
const crowdedFor = 5 * time.Second

func crowded() error {
	return fault.Wrap(fault.Unavailable, ErrCrowded, "Too many pictures are coming in just now. Please try again in a moment.").After(crowdedFor)
}

// Stay is what one request holds of an Intake. It belongs to one goroutine.
type Stay struct {
	in   *Intake
	key  string
	held int64
}

// Enter begins the stay of a request of whoever key names. What its readers give
// counts until Leave. A nil Intake has room for everything.
func (in *Intake) Enter(key string) *Stay { return &Stay{in: in, key: key} }

// Reader counts what is read from r, and fails with ErrCrowded when there is no
// room for more.
func (s *Stay) Reader(r io.Reader) io.Reader { return &countedReader{s, r} }

// Leave gives back all that was read. It may be called again.
func (s *Stay) Leave() {
	if s.in == nil || s.held == 0 {
		return
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.held -= s.held
	if s.in.byKey[s.key] -= s.held; s.in.byKey[s.key] == 0 {
		delete(s.in.byKey, s.key)
	}
	s.held = 0
}

// take holds n bytes more, if there is room.
func (s *Stay) take(n int64) bool {
	if s.in == nil {
		return true
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.held+n > s.in.total || s.in.byKey[s.key]+n > s.in.each {
		return false
	}
	s.in.held += n
	s.in.byKey[s.key] += n
	s.held += n
	return true
}

type countedReader struct {
	stay *Stay
	r    io.Reader
}

// Read implements io.Reader.
func (c *countedReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if n > 0 && !c.stay.take(int64(n)) {
		return 0, crowded()
	}
	return n, err
}
