package login_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// line is what lies between the instance and a PDS. When it is slow, every
// answer takes almost as long as is waited for one, and comes without a
// network, so that a test can have its own time.
type line struct {
	pds  *pds
	slow atomic.Bool
}

func (l *line) wait(ctx context.Context) error {
	if l == nil || !l.slow.Load() {
		return ctx.Err()
	}
	select {
	case <-time.After(14 * time.Second):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if !l.slow.Load() {
		return http.DefaultTransport.RoundTrip(r)
	}
	if err := l.wait(r.Context()); err != nil {
		return nil, err
	}
	answer := httptest.NewRecorder()
	l.pds.Config.Handler.ServeHTTP(answer, r)
	return answer.Result(), nil
}

// A member whose server takes its time at every step is told so before the page
// is given up, which is after a minute.
func TestStartingEndsBeforeThePageIsGivenUp(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	synctest.Test(t, func(t *testing.T) {
		i.line.slow.Store(true)
		began := time.Now()
		started, err := i.Start(t.Context(), login.Start{Identifier: "alice.example"})
		f := wantFault(t, "start at a slow server", err, fault.Unavailable)
		if took := time.Since(began); took > 50*time.Second || !strings.Contains(f.Public, "does not answer") {
			t.Errorf("after %v: %q, want to be told within 50 s that the server does not answer", took, f.Public)
		}
		if started.URL != "" || len(started.Cookies) != 0 {
			t.Errorf("Start = %+v with an error", started)
		}
	})
	if n := i.count(`SELECT count(*) FROM login_attempt`); n != 0 {
		t.Errorf("%d attempts are stored, want none", n)
	}
}

// S20: tokens that come when nobody waits for the page any more are revoked; a
// session that its member does not know of would be left otherwise.
func TestASignInThatTakesTooLongIsUndone(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		i := newInstance(t, db)
		b := i.browser()
		q := i.pds.approve(b.start("alice.example", "/"))
		synctest.Test(t, func(t *testing.T) {
			i.line.slow.Store(true)
			_, err := b.comeBack(q)
			wantFault(t, "callback from a slow server", err, fault.Unavailable)
		})
		if n := i.pds.count("/oauth/token"); n != 1 {
			t.Errorf("the code was sent %d times, want once", n)
		}
		if n := i.pds.live(); n != 0 {
			t.Errorf("%d sessions live on at the server, want all revoked", n)
		}
		i.nothingStored()
	})
}
