package httpserver

import (
	"container/list"
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/atoll-social/atoll/internal/fault"
)

// LimiterConfig says how much one key may do.
type LimiterConfig struct {
	// Every is the time in which one more request is granted.
	Every time.Duration
	// Burst is how many may come at once.
	Burst int
	// Keys is how many keys are remembered, default 65,536. The one used least
	// recently is forgotten, and starts again with a full burst.
	Keys int
}

// Limiter grants requests by key, each with a budget of its own.
type Limiter struct {
	cfg    LimiterConfig
	mu     sync.Mutex
	byKey  map[string]*list.Element
	recent *list.List // of *budget, last used first
}

type budget struct {
	key  string
	rate *rate.Limiter
}

// NewLimiter checks cfg.
func NewLimiter(cfg LimiterConfig) (*Limiter, error) {
	if cfg.Every <= 0 || cfg.Burst <= 0 || cfg.Keys < 0 {
		return nil, errors.New("rate limit: time and burst must be above zero")
	}
	if cfg.Keys == 0 {
		cfg.Keys = 1 << 16
	}
	return &Limiter{cfg: cfg, byKey: map[string]*list.Element{}, recent: list.New()}, nil
}

// Allow spends one request of key. When there is none left it returns false
// and how long until there is one; asking again too early costs nothing.
func (l *Limiter) Allow(key string) (retryAfter time.Duration, ok bool) {
	now := time.Now()
	reservation := l.budget(key).ReserveN(now, 1)
	if wait := reservation.DelayFrom(now); wait > 0 {
		reservation.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// Spend is Allow for a handler: the fault to answer with when nothing is left. A
// nil Limiter allows everything.
func (l *Limiter) Spend(key string) error {
	if l == nil {
		return nil
	}
	if wait, ok := l.Allow(key); !ok {
		return Limited(wait)
	}
	return nil
}

func (l *Limiter) budget(key string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.byKey[key]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*budget).rate
	}
	b := &budget{key: key, rate: rate.NewLimiter(rate.Every(l.cfg.Every), l.cfg.Burst)}
	l.byKey[key] = l.recent.PushFront(b)
	if l.recent.Len() > l.cfg.Keys {
		oldest := l.recent.Remove(l.recent.Back()).(*budget)
		delete(l.byKey, oldest.key)
	}
	return b.rate
}

// AddrLimiter limits by client address and, with a larger budget, by the
// network around it, so that somebody who owns a whole network gains little.
type AddrLimiter struct{ narrow, wide *Limiter }

// wideFactor is how many times the budget of one address its network has.
const wideFactor = 16

// NewAddrLimiter gives each address (IPv4: one address; IPv6: a /64, which is
// what one customer gets) the budget of cfg, and each network (IPv4 /24,
// IPv6 /48) sixteen times as much.
func NewAddrLimiter(cfg LimiterConfig) (*AddrLimiter, error) {
	narrow, err := NewLimiter(cfg)
	if err != nil {
		return nil, err
	}
	cfg.Every, cfg.Burst = max(1, cfg.Every/wideFactor), cfg.Burst*wideFactor
	wide, err := NewLimiter(cfg)
	if err != nil {
		return nil, err
	}
	return &AddrLimiter{narrow: narrow, wide: wide}, nil
}

// Allow spends one request of addr and of its network; see Limiter.Allow.
func (l *AddrLimiter) Allow(addr netip.Addr) (retryAfter time.Duration, ok bool) {
	if wait, ok := l.narrow.Allow(AddrKey(addr)); !ok {
		return wait, false
	}
	return l.wide.Allow(networkKey(addr))
}

// Spend is Allow for a handler; see Limiter.Spend.
func (l *AddrLimiter) Spend(addr netip.Addr) error {
	if wait, ok := l.Allow(addr); !ok {
		return Limited(wait)
	}
	return nil
}

// AddrKey returns the limiter key of an address: itself for IPv4, its /64 for
// IPv6.
func AddrKey(addr netip.Addr) string { return prefixKey(addr, 32, 64) }

func networkKey(addr netip.Addr) string { return prefixKey(addr, 24, 48) }

func prefixKey(addr netip.Addr, bits4, bits6 int) string {
	addr = addr.Unmap().WithZone("")
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return "unknown" // no address: all such requests share one budget
	}
	return prefix.String()
}

// Limited is the fault for a refused request.
func Limited(retryAfter time.Duration) *fault.Error {
	return fault.New(fault.Limited, "Too many requests came from here in a short time. Please wait a moment and try again.").
		WithCode("RateLimitExceeded").After(retryAfter)
}

// LimitAddr refuses requests of addresses that sent too many.
func LimitAddr(limiter *AddrLimiter, render Renderer) Middleware {
	return func(next http.Handler) http.Handler {
		return Handler(render, func(w http.ResponseWriter, r *http.Request) error {
			if err := limiter.Spend(ClientAddr(r)); err != nil {
				return err
			}
			next.ServeHTTP(w, r)
			return nil
		})
	}
}
