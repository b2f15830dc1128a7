package agent

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
)

// spoilers are what may become of a write and its answer.
var spoilers = []struct {
	name    string
	written bool
	spoil   func(w http.ResponseWriter) (write bool)
}{
	{"written, connection lost", true, func(w http.ResponseWriter) bool { cut(w); return true }},
	{"written, 500", true, func(w http.ResponseWriter) bool { refuse(w, 500, "InternalServerError", ""); return true }},
	{"written, HTML", true, func(w http.ResponseWriter) bool { page(w); return true }},
	{"written, the CID of another record", true, func(w http.ResponseWriter) bool {
		reply(w, written("at://did:plc:x/a.b.c/d", "x"))
		return true
	}},
	{"not written, connection lost", false, func(w http.ResponseWriter) bool { cut(w); return false }},
	{"not written, 502", false, func(w http.ResponseWriter) bool { refuse(w, 502, "", ""); return false }},
	{"not written, HTML", false, func(w http.ResponseWriter) bool { page(w); return false }},
}

func page(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<html>all is well"))
}

// spoilFirst makes the server spoil its n-th write alone.
func (s *server) spoilOnly(n int, spoil func(w http.ResponseWriter) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.writes + n
	s.spoil = func(w http.ResponseWriter, n int) (bool, bool) {
		if n != at {
			return true, true
		}
		return spoil(w), false
	}
}

func put(title string, swap Swap) Put { return Put{Write: write(title), Swap: swap} }

func cidOf(title string) syntax.CID {
	c, _ := RecordCID(write(title).Record)
	return c
}

// TestServersThatStumble holds that a server which has failed once, and says so,
// is asked once more, and one that goes on failing no third time.
func TestServersThatStumble(t *testing.T) {
	t.Parallel()
	for name, do := range map[string]func(*Agent) (Done, error){
		"create": func(a *Agent) (Done, error) { return a.Create(t.Context(), actor, write("a")) },
		"put":    func(a *Agent) (Done, error) { return a.Put(t.Context(), actor, put("a", SwapNone)) },
	} {
		s := newServer(t)
		fails := 1
		s.spoil = func(w http.ResponseWriter, n int) (bool, bool) {
			if n <= fails {
				refuse(w, http.StatusInternalServerError, "InternalServerError", "")
			}
			return n > fails, n > fails
		}
		a := newAgent(t, s, nil)
		if got, err := do(a); err != nil || got.Rev != commitRev || len(s.records) != 1 || s.writes != 2 {
			t.Errorf("%s: %+v, %v; %d writes", name, got, err, s.writes)
		}
		clear(s.records)
		s.writes, fails = 0, 9
		if _, err := do(a); kindOf(err) != Unreachable || s.writes != 2 {
			t.Errorf("%s: %v after %d writes, want unreachable after 2", name, err, s.writes)
		}
	}
}

// TestPutUnclear holds A1 for replacing: whatever happens to the answer, the
// record is the wanted one in the end, and nobody else's change is lost.
func TestPutUnclear(t *testing.T) {
	t.Parallel()
	for _, tt := range spoilers {
		for name, noops := range map[string]bool{" (official)": true, "": false} {
			t.Run(tt.name+name, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				s.noops = noops
				a := newAgent(t, s, nil)
				if _, err := a.Put(t.Context(), actor, put("a", SwapNone)); err != nil {
					t.Fatal(err)
				}
				s.spoilOnly(1, tt.spoil)
				change := put("b", SwapCID(cidOf("a")))
				got, err := a.Put(t.Context(), actor, change)
				if tt.written && (err != nil || got.Rev != latest || got.CID != cidOf("b")) {
					t.Errorf("first: %+v, %v; want it found at %s", got, err, latest)
				}
				if !tt.written && kindOf(err) != Unreachable {
					t.Errorf("first: %v, want unreachable", err)
				}
				again, err := a.Put(t.Context(), actor, change)
				if err != nil || again.CID != cidOf("b") || again.Rev == "" {
					t.Errorf("again: %+v, %v", again, err)
				}
				if _, err := a.Put(t.Context(), actor, put("c", SwapCID(cidOf("a")))); kindOf(err) != Stale {
					t.Errorf("from the old one: %v, want stale", err)
				}
			})
		}
	}
}

// TestSwap holds that a write which depends on a state is not made in another,
// and that a person is told so.
func TestSwap(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		had  string
		swap Swap
		kind Kind // 0: written
	}{
		{"nothing demanded, nothing there", "", "", 0},
		{"nothing demanded, another there", "a", "", 0},
		{"none demanded, nothing there", "", SwapNone, 0},
		{"none demanded, another there", "a", SwapNone, Stale},
		{"the one there", "a", SwapCID(cidOf("a")), 0},
		{"another one there", "a", SwapCID(cidOf("x")), Stale},
		{"one demanded, nothing there", "", SwapCID(cidOf("x")), Stale},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			a := newAgent(t, s, nil)
			if tt.had != "" {
				if _, err := a.Create(t.Context(), actor, write(tt.had)); err != nil {
					t.Fatal(err)
				}
			}
			done, err := a.Put(t.Context(), actor, put("b", tt.swap))
			if kindOf(err) != tt.kind {
				t.Fatalf("put: %+v, %v; want %v", done, err, tt.kind)
			}
			if tt.kind == Stale && (fault.KindOf(err) != fault.Conflict || fault.From(err).Code != "InvalidSwap") {
				t.Errorf("put: %v %s, want a conflict InvalidSwap", fault.KindOf(err), fault.From(err).Code)
			}
			want := "b"
			if tt.kind != 0 {
				want = tt.had
			}
			read, err := a.Read(t.Context(), alice, collection, write("").RKey)
			if want == "" && !errors.Is(err, pds.ErrRecordNotFound) || want != "" && (err != nil || read.CID != cidOf(want)) {
				t.Errorf("there now: %+v, %v; want %q", read, err, want)
			}
		})
	}
}

// TestStaleWhileUnclear holds that an unclear answer is not taken for success
// when somebody else has changed the record since.
func TestStaleWhileUnclear(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	if _, err := a.Create(t.Context(), actor, write("somebody else's")); err != nil {
		t.Fatal(err)
	}
	s.spoilOnly(1, func(w http.ResponseWriter) bool { cut(w); return false })
	if _, err := a.Put(t.Context(), actor, put("b", SwapCID(cidOf("a")))); kindOf(err) != Stale {
		t.Errorf("put: %v, want stale", err)
	}
	s.spoilOnly(1, func(w http.ResponseWriter) bool { cut(w); return false })
	if _, err := a.Delete(t.Context(), actor, removal(SwapCID(cidOf("a")))); kindOf(err) != Stale {
		t.Errorf("delete: %v, want stale", err)
	}
}

// TestPutRefused holds that a refusal in words stays one, whatever is there.
func TestPutRefused(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	for _, swap := range []Swap{"", SwapNone, SwapCID(cidOf("a"))} {
		s.spoilOnly(1, func(w http.ResponseWriter) bool { refuse(w, 400, "InvalidRequest", "too long"); return false })
		if _, err := a.Put(t.Context(), actor, put("b", swap)); kindOf(err) != Refused {
			t.Errorf("put with %q: %v, want refused", swap, err)
		}
	}
}

func removal(swap Swap) Delete {
	return Delete{Collection: collection, RKey: write("").RKey, Swap: swap}
}

// TestDelete holds A1 for removing.
func TestDelete(t *testing.T) {
	t.Parallel()
	for _, tt := range spoilers[:3] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			a := newAgent(t, s, nil)
			if _, err := a.Create(t.Context(), actor, write("a")); err != nil {
				t.Fatal(err)
			}
			s.spoilOnly(1, tt.spoil)
			if got, err := a.Delete(t.Context(), actor, removal(SwapCID(cidOf("a")))); err != nil || got.Rev != latest {
				t.Errorf("delete: %+v, %v", got, err)
			}
			if got, err := a.Delete(t.Context(), actor, removal(SwapCID(cidOf("a")))); err != nil || got.Rev != latest || len(s.records) != 0 {
				t.Errorf("again: %+v, %v", got, err)
			}
		})
	}
	for _, tt := range spoilers[4:] {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			a := newAgent(t, s, nil)
			if _, err := a.Create(t.Context(), actor, write("a")); err != nil {
				t.Fatal(err)
			}
			s.spoilOnly(1, tt.spoil)
			if got, err := a.Delete(t.Context(), actor, removal("")); kindOf(err) != Unreachable {
				t.Errorf("delete: %+v, %v; want unreachable", got, err)
			}
			if got, err := a.Delete(t.Context(), actor, removal("")); err != nil || got.Rev != commitRev || len(s.records) != 0 {
				t.Errorf("again: %+v, %v", got, err)
			}
		})
	}
}

// TestDeleteOthers holds that a record changed since it was read is not removed,
// and that a server which only says that it did so is not believed.
func TestDeleteOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.noops = true
	a := newAgent(t, s, nil)
	if got, err := a.Delete(t.Context(), actor, removal("")); err != nil || got.Rev != latest {
		t.Errorf("nothing there: %+v, %v", got, err)
	}
	if _, err := a.Create(t.Context(), actor, write("b")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Delete(t.Context(), actor, removal(SwapCID(cidOf("a")))); kindOf(err) != Stale || len(s.records) != 1 {
		t.Errorf("another one: %v, want stale", err)
	}
	s.spoilOnly(1, func(w http.ResponseWriter) bool { reply(w, map[string]any{}); return false })
	if _, err := a.Delete(t.Context(), actor, removal("")); kindOf(err) != Unreachable {
		t.Errorf("said to be gone: %v, want unreachable", err)
	}
	if _, err := a.Delete(t.Context(), actor, removal(SwapNone)); kindOf(err) != 0 || err == nil {
		t.Errorf("demanding nothing: %v", err)
	}
}

// TestReadHostile holds that what is read hashes to its CID.
func TestReadHostile(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	if _, err := a.Read(t.Context(), alice, collection, "x"); !errors.Is(err, pds.ErrRecordNotFound) || fault.KindOf(err) != fault.NotFound {
		t.Errorf("nothing there: %v", err)
	}
	if _, err := a.Create(t.Context(), actor, write("a")); err != nil {
		t.Fatal(err)
	}
	got, err := a.Read(t.Context(), alice, collection, write("").RKey)
	if err != nil || got.CID != cidOf("a") || got.Record["title"] != "a" {
		t.Errorf("read: %+v, %v", got, err)
	}
	s.lie = cidOf("b")
	if _, err := a.Read(t.Context(), alice, collection, write("").RKey); !errors.Is(err, pds.ErrBadAnswer) || kindOf(err) != Unreachable {
		t.Errorf("wrong CID: %v, want a bad answer", err)
	}
	s.noRead = func(w http.ResponseWriter) { refuse(w, 429, "RateLimitExceeded", "") }
	if _, err := a.Read(t.Context(), alice, collection, "x"); kindOf(err) != RateLimited {
		t.Errorf("limited: %v", err)
	}
}

// TestClosedTabs holds that no write ends with the request that asked for it.
func TestClosedTabs(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Put(ctx, actor, put("a", "")); err != nil {
		t.Errorf("put: %v", err)
	}
	if _, err := a.Delete(ctx, actor, removal("")); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := a.Batch(ctx, actor, []Op{{pds.Create, write("b")}}); err != nil {
		t.Errorf("batch: %v", err)
	}
	if _, err := a.Upload(ctx, actor, Upload{MIME: "image/png", Body: []byte("x")}); err != nil {
		t.Errorf("upload: %v", err)
	}
}
