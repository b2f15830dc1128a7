package login

import (
	"context"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

// How many sign-ins begin at one server, and how long one waits for its turn
// before the member is asked to come back.
const (
	pushEvery = 100 * time.Millisecond
	pushBurst = 50
	pushWait  = 3 * time.Second
)

// PushLimit limits how many sign-ins begin at one server. It knows servers
// only: nobody can be locked out by others who type their name (S11).
type PushLimit struct{ limiter *httpserver.Limiter }

// NewPushLimit returns a PushLimit for client.Config.BeforePush.
func NewPushLimit() (*PushLimit, error) {
	limiter, err := httpserver.NewLimiter(httpserver.LimiterConfig{Every: pushEvery, Burst: pushBurst})
	if err != nil {
		return nil, err
	}
	return &PushLimit{limiter: limiter}, nil
}

// Wait returns when a request may be pushed to issuer. When that is more than
// three seconds away it returns a fault instead.
func (p *PushLimit) Wait(ctx context.Context, issuer string) error {
	waited := time.Duration(0)
	for {
		wait, ok := p.limiter.Allow(issuer)
		if ok {
			return nil
		}
		if waited += wait; waited > pushWait {
			return fault.New(fault.Limited, "Very many people are signing in through your server right now. Please try again in a minute.").
				WithCode("RateLimitExceeded").After(wait)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}
