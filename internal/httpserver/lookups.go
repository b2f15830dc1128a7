package httpserver

import (
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
)

// LookUps bounds what other servers are asked because of a request here: for each
// address, and for all strangers together, so that nobody can have us ask others
// for them. It is safe for concurrent use; nil means no bound.
type LookUps struct {
	each      *AddrLimiter
	strangers *Limiter
}

// NewLookUps checks the two bounds.
func NewLookUps(each, strangers LimiterConfig) (*LookUps, error) {
	byAddr, err := NewAddrLimiter(each)
	if err != nil {
		return nil, err
	}
	all, err := NewLimiter(strangers)
	if err != nil {
		return nil, err
	}
	return &LookUps{byAddr, all}, nil
}

// Of returns what is to be called each time before others are asked because of
// r; member says that it is known who sent it. Its errors are faults: Limited
// for the address, Unavailable while strangers ask too much in all.
func (l *LookUps) Of(r *http.Request, member bool) func() error {
	return func() error {
		if l == nil {
			return nil
		}
		if err := l.each.Spend(ClientAddr(r)); err != nil || member {
			return err
		}
		if wait, ok := l.strangers.Allow(""); !ok {
			return fault.New(fault.Unavailable, "Very much is looked up here just now that nobody has asked for before. Please try again in a moment.").
				After(max(wait, time.Second))
		}
		return nil
	}
}
