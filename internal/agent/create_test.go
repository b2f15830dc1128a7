package agent

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
)

var actor = Actor{DID: alice, SessionID: "s1"}

func TestCreate(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	got, err := newAgent(t, s, nil).Create(t.Context(), actor, write("a"))
	cid, _ := RecordCID(write("a").Record)
	want := Done{URI: syntax.ATURI("at://" + string(alice) + "/" + string(collection) + "/3l2bbbbbbbb2b"), CID: cid, Rev: "3l2aaaaaaaa2a"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("create: %v (-want +got):\n%s", err, diff)
	}
}

// TestUnclearAnswers holds A1's "nothing twice": whatever happens to the
// answer, the record is there once in the end, and the agent says so.
func TestUnclearAnswers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		spoil   func(w http.ResponseWriter) (write bool)
		atOnce  bool // the first call already finds it
		attempt Kind // of the first call otherwise
	}{
		{"written, connection lost", func(w http.ResponseWriter) bool { cut(w); return true }, true, 0},
		{"written, 502", func(w http.ResponseWriter) bool { refuse(w, 502, "", ""); return true }, true, 0},
		{"written, HTML", func(w http.ResponseWriter) bool { page(w); return true }, true, 0},
		{"written, another record's answer", func(w http.ResponseWriter) bool {
			reply(w, map[string]any{"uri": "at://did:plc:x/a.b.c/d", "cid": "x"})
			return true
		}, true, 0},
		{"not written, connection lost", func(w http.ResponseWriter) bool { cut(w); return false }, false, Unreachable},
		{"not written, 502", func(w http.ResponseWriter) bool { refuse(w, 502, "", "x"); return false }, false, Unreachable},
		{"not written, HTML", func(w http.ResponseWriter) bool { page(w); return false }, false, Unreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.spoil = func(w http.ResponseWriter, n int) (bool, bool) {
				if n > 1 {
					return true, true
				}
				return tt.spoil(w), false
			}
			a := newAgent(t, s, nil)
			got, err := a.Create(t.Context(), actor, write("a"))
			if tt.atOnce && (err != nil || got.Rev != latest) {
				t.Errorf("first call: %+v, %v; want it found at %s", got, err, latest)
			}
			if !tt.atOnce && kindOf(err) != tt.attempt {
				t.Errorf("first call: %v, want %v", err, tt.attempt)
			}
			again, err := a.Create(t.Context(), actor, write("a"))
			if err != nil || again.URI == "" || len(s.records) != 1 {
				t.Errorf("second call: %+v, %v; %d records", again, err, len(s.records))
			}
		})
	}
}

func asError(err error) (*Error, bool) {
	var e *Error
	ok := errors.As(err, &e)
	return e, ok
}

func kindOf(err error) Kind {
	if e, ok := asError(err); ok {
		return e.Kind
	}
	return 0
}

// TestNobodyCanTell holds that a server which does not let us read back leaves
// the matter open, and that asking again closes it.
func TestNobodyCanTell(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.noRead = func(w http.ResponseWriter) { refuse(w, http.StatusBadGateway, "", "") }
	s.spoil = func(w http.ResponseWriter, n int) (bool, bool) {
		if n == 1 {
			cut(w)
		}
		return true, n > 1
	}
	a := newAgent(t, s, nil)
	if _, err := a.Create(t.Context(), actor, write("a")); kindOf(err) != Unreachable {
		t.Errorf("got %v, want unreachable", err)
	}
	s.mu.Lock()
	s.noRead = nil
	s.mu.Unlock()
	if _, err := a.Create(t.Context(), actor, write("a")); err != nil || len(s.records) != 1 {
		t.Errorf("again: %v, %d records", err, len(s.records))
	}
}

// TestRefusalThatCannotBeSettled holds that a refusal which may mean that the
// key is in use stays unclear when the record cannot be read back, however
// that fails.
func TestRefusalThatCannotBeSettled(t *testing.T) {
	t.Parallel()
	for name, noRead := range map[string]func(http.ResponseWriter){
		"connection lost": cut,
		"502":             func(w http.ResponseWriter) { refuse(w, http.StatusBadGateway, "", "") },
		"400":             func(w http.ResponseWriter) { refuse(w, http.StatusBadRequest, "InvalidRequest", "no reads now") },
		"429":             func(w http.ResponseWriter) { refuse(w, http.StatusTooManyRequests, "RateLimitExceeded", "") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.noRead = noRead
			s.spoil = func(w http.ResponseWriter, _ int) (bool, bool) {
				refuse(w, http.StatusBadRequest, "InvalidRequest", "there is a record already")
				return true, false
			}
			_, err := newAgent(t, s, nil).Create(t.Context(), actor, write("a"))
			if kindOf(err) != Unreachable || fault.KindOf(err) != fault.Unavailable {
				t.Errorf("got %v: %v, want unreachable", kindOf(err), err)
			}
		})
	}
}

// TestConcurrentRepetitions holds that the same request sent several times at
// once is one record, and that every call says so.
func TestConcurrentRepetitions(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if done, err := a.Create(context.Background(), actor, write("a")); err != nil || done.URI == "" {
				t.Errorf("create: %+v, %v", done, err)
			}
		})
	}
	wg.Wait()
	if len(s.records) != 1 {
		t.Errorf("%d records, want 1", len(s.records))
	}
}

func TestKeyTaken(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	if _, err := a.Create(t.Context(), actor, write("a")); err != nil {
		t.Fatal(err)
	}
	_, err := a.Create(t.Context(), actor, write("b"))
	if kindOf(err) != Taken || fault.KindOf(err) != fault.Conflict {
		t.Errorf("got %v, want taken", err)
	}
}

// TestAlteredRecord holds that what the server changed is not taken for ours.
func TestAlteredRecord(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	w := write("a")
	other, _ := RecordCID(write("b").Record)
	s.spoil = func(rw http.ResponseWriter, _ int) (bool, bool) {
		reply(rw, map[string]any{"uri": "at://" + string(alice) + "/" + string(collection) + "/" + string(w.RKey), "cid": other,
			"commit": map[string]any{"cid": other, "rev": "3l2aaaaaaaa2a"}})
		return true, false
	}
	if done, err := newAgent(t, s, nil).Create(t.Context(), actor, w); err != nil || done.Rev != "" || done.CID != other {
		t.Errorf("got %+v, %v; want no revision", done, err)
	}
}

// TestClosedTab holds that a request which ends does not end the write.
func TestClosedTab(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newAgent(t, s, nil).Create(ctx, actor, write("a")); err != nil || len(s.records) != 1 {
		t.Errorf("%v, %d records", err, len(s.records))
	}
}

// failing is a session that answers every request with an error.
type failing struct{ err error }

func (f failing) Do(*http.Request) (*http.Response, error) { return nil, f.err }

// TestKinds holds A6: every way to fail has a kind, a status and, where there
// is one, a way out.
func TestKinds(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour)
	access := func(reason error) error { return &client.AccessError{Reason: reason, Status: 401, RetryAt: until} }
	missing := &client.AccessError{Reason: client.ErrMissingScope, Status: 403}
	tests := []struct {
		name   string
		err    error
		kind   Kind
		public fault.Kind
	}{
		{"session gone", client.ErrNotFound, NeedsSignIn, fault.Unauthenticated},
		{"token expired", client.ErrTokenExpired, NeedsSignIn, fault.Unauthenticated},
		{"revoked", access(client.ErrRevoked), NeedsSignIn, fault.Unauthenticated},
		{"moved", client.ErrWrongHost, NeedsSignIn, fault.Unauthenticated},
		{"wrong scheme", access(client.ErrWrongScheme), NeedsSignIn, fault.Unauthenticated},
		{"scope", missing, NeedsScope, fault.Forbidden},
		{"rate limit", access(client.ErrRateLimited), RateLimited, fault.Limited},
		{"deactivated", access(client.ErrDeactivated), Refused, fault.Forbidden},
		{"taken down", access(client.ErrTakenDown), Refused, fault.Forbidden},
		{"nonce", access(client.ErrBadNonce), Unreachable, fault.Unavailable},
		{"clock", access(client.ErrClock), Unreachable, fault.Unavailable},
		{"unreachable", &client.ServerError{Kind: client.ErrUnreachable}, Unreachable, fault.Unavailable},
		{"redirected", &client.ServerError{Kind: client.ErrRedirected}, Unreachable, fault.Unavailable},
		{"ours", errors.New("a bug"), 0, fault.Internal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			a := newAgent(t, s, func(context.Context, Actor) (pds.Doer, error) { return failing{tt.err}, nil })
			_, err := a.Create(t.Context(), actor, write("a"))
			if kindOf(err) != tt.kind || fault.KindOf(err) != tt.public || !errors.Is(err, tt.err) {
				t.Errorf("got %v: %v, %v; want %v, %v", err, kindOf(err), fault.KindOf(err), tt.kind, tt.public)
			}
			var e *Error
			switch errors.As(err, &e); tt.kind {
			case NeedsScope:
				if diff := cmp.Diff([]string{"repo:" + string(collection) + "?action=create"}, e.Scopes); diff != "" {
					t.Errorf("scopes (-want +got):\n%s", diff)
				}
			case RateLimited:
				if !e.Until.Equal(until) || fault.From(err).RetryAfter < 50*time.Minute {
					t.Errorf("until %v, retry after %v", e.Until, fault.From(err).RetryAfter)
				}
			}
		})
	}
}

// TestRefusals holds that a server's refusal is told in its words, and that
// nothing is read back where nothing can have been written.
func TestRefusals(t *testing.T) {
	t.Parallel()
	reset := strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)
	tests := []struct {
		status int
		name   string
		kind   Kind
	}{
		{400, "InvalidRequest", Refused},
		{403, "Forbidden", Refused},
		{413, "PayloadTooLarge", Refused},
		{429, "RateLimitExceeded", RateLimited},
		{503, "", Unreachable},
	}
	for _, tt := range tests {
		t.Run(strconv.Itoa(tt.status), func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			s.spoil = func(w http.ResponseWriter, _ int) (bool, bool) {
				w.Header().Set("RateLimit-Reset", reset)
				refuse(w, tt.status, tt.name, "in its own words")
				return false, false
			}
			_, err := newAgent(t, s, nil).Create(t.Context(), actor, write("a"))
			if kindOf(err) != tt.kind {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			if wait := fault.From(err).RetryAfter; tt.kind == RateLimited && (wait < 59*time.Minute || wait > 61*time.Minute) {
				t.Errorf("retry after %v, want an hour", wait)
			}
		})
	}
}

// slow is a session whose server never answers.
type slow struct{}

func (slow) Do(req *http.Request) (*http.Response, error) {
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// TestServerThatNeverAnswers holds that a write ends, as unreachable.
func TestServerThatNeverAnswers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, func(context.Context, Actor) (pds.Doer, error) { return slow{}, nil })
	a.cfg.HTTP = slow{}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := a.Create(t.Context(), actor, write("a"))
		if took := time.Since(began); kindOf(err) != Unreachable || took > writeTimeout+2*lookTimeout {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
