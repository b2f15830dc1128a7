package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
)

// listed are sessions of alice, newest first.
type listed []session.Info

func (l listed) List(_ context.Context, q session.Query) ([]session.Info, bool, error) {
	if q.DID != alice || q.State != session.StateLive {
		return nil, false, errors.New("asked for other sessions")
	}
	return l, false, nil
}

const (
	may    = "atproto repo:social.coves.community.postv2"
	maySee = "atproto"
)

// TestChoiceOfSession holds S45: work takes the session that it was begun with;
// where nobody waits any more, or none is named, the newest live one that was
// granted what it takes; else it says how to go on.
func TestChoiceOfSession(t *testing.T) {
	t.Parallel()
	over := map[string]error{"ended": client.ErrNotFound, "revoked": &client.AccessError{Reason: client.ErrRevoked},
		"moved": client.ErrWrongHost, "down": &client.ServerError{Kind: client.ErrUnreachable}}
	all := listed{{ID: "other client", State: session.StateUnusable, Scope: may}, {ID: "revoked", Scope: may},
		{ID: "little", Scope: maySee}, {ID: "good", Scope: may}, {ID: "older", Scope: may}}
	tests := []struct {
		name  string
		all   Sessions
		actor Actor
		tried []string
		kind  Kind
	}{
		{"its own", all, Actor{DID: alice, SessionID: "s"}, []string{"s"}, 0},
		{"its own is over, and somebody waits", all, Actor{DID: alice, SessionID: "ended"}, []string{"ended"}, NeedsSignIn},
		{"its own is over, and nobody waits", all, Actor{DID: alice, SessionID: "ended", Queued: true}, []string{"ended", "revoked", "good"}, 0},
		{"its own is good, and nobody waits", all, Actor{DID: alice, SessionID: "older", Queued: true}, []string{"older"}, 0},
		{"its server is down, and nobody waits", all, Actor{DID: alice, SessionID: "down", Queued: true}, []string{"down"}, Unreachable},
		{"none named", all, Actor{DID: alice}, []string{"revoked", "good"}, 0},
		{"none named, all over", listed{{ID: "ended", Scope: may}, {ID: "moved", Scope: may}}, Actor{DID: alice}, []string{"ended", "moved"}, NeedsSignIn},
		{"none named, none granted", listed{{ID: "little", Scope: maySee}}, Actor{DID: alice}, nil, NeedsScope},
		{"none named, a set of permissions", listed{{ID: "set", Scope: "atproto include:a.b.c"}}, Actor{DID: alice}, []string{"set"}, 0},
		{"none named, none there", listed{}, Actor{DID: alice}, nil, NeedsSignIn},
		{"none named, nobody to ask", nil, Actor{DID: alice}, nil, NeedsSignIn},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			var tried []string
			a := newAgent(t, s, func(_ context.Context, actor Actor) (pds.Doer, error) {
				tried = append(tried, actor.SessionID)
				if why, ok := over[actor.SessionID]; ok {
					return failing{why}, nil
				}
				return http.DefaultClient, nil
			})
			a.cfg.Sessions = tt.all
			_, err := a.Create(t.Context(), tt.actor, write("a"))
			if kindOf(err) != tt.kind || (err == nil) != (tt.kind == 0) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
			if diff := cmp.Diff(tt.tried, tried); diff != "" {
				t.Errorf("sessions tried (-want +got):\n%s", diff)
			}
			if e, ok := asError(err); ok && tt.kind == NeedsScope {
				if diff := cmp.Diff([]string{"repo:social.coves.community.postv2?action=create"}, e.Scopes); diff != "" {
					t.Errorf("scopes (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// hosted is alice's account at the instance.
type hosted struct{ err error }

func (h hosted) Doer(_ context.Context, did syntax.DID) (pds.Doer, bool, error) {
	return http.DefaultClient, did == alice, h.err
}

// TestHosted holds that an account of our own is acted for with its own
// credential, whatever session is named, and nobody else's is.
func TestHosted(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, func(context.Context, Actor) (pds.Doer, error) { return nil, client.ErrNotFound })
	a.cfg.Hosted = hosted{}
	if _, err := a.Create(t.Context(), Actor{DID: alice, SessionID: "s"}, write("a")); err != nil {
		t.Errorf("as alice: %v", err)
	}
	if _, err := a.Create(t.Context(), Actor{DID: "did:plc:bob", SessionID: "s"}, write("a")); kindOf(err) != NeedsSignIn {
		t.Errorf("as bob: %v, want a sign-in", err)
	}
	a.cfg.Hosted = hosted{errors.New("a bug")}
	if _, err := a.Create(t.Context(), actor, at("b", "b")); err == nil || fault.KindOf(err) != fault.Internal {
		t.Errorf("trouble of ours: %v", err)
	}
}

// TestOfficialPDS holds that an official server does what A1 builds on.
func TestOfficialPDS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, err := New(Config{DB: storetest.New(t, store.SQLite), Open: w.open, Directory: w.directory, HTTP: w.fetch,
		Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	me := Actor{DID: w.did, SessionID: "password"}
	one, err := a.Put(t.Context(), me, put("a", SwapNone))
	if err != nil || one.CID != cidOf("a") || one.Rev == "" {
		t.Fatalf("put: %+v, %v", one, err)
	}
	if again, err := a.Put(t.Context(), me, put("a", SwapNone)); err != nil || again.CID != one.CID || again.Rev < one.Rev {
		t.Errorf("the same again: %+v, %v", again, err)
	}
	if _, err := a.Put(t.Context(), me, put("b", SwapNone)); kindOf(err) != Stale {
		t.Errorf("put where something is: %v, want stale", err)
	}
	if _, err := a.Put(t.Context(), me, put("b", SwapCID(cidOf("x")))); kindOf(err) != Stale {
		t.Errorf("put over another: %v, want stale", err)
	}
	w.lose = true
	two, err := a.Put(t.Context(), me, put("b", SwapCID(one.CID)))
	if err != nil || two.CID != cidOf("b") || two.Rev <= one.Rev {
		t.Errorf("put, answer lost: %+v, %v", two, err)
	}
	ops := []Op{{pds.Create, at("new", "n")}, {pds.Update, write("c")}}
	w.lose = true
	for _, round := range []string{"answer lost", "again"} {
		done, err := a.Batch(t.Context(), me, ops)
		if err != nil || len(done) != 2 || done[1].CID != cidOf("c") || done[1].Rev == "" {
			t.Errorf("batch, %s: %+v, %v", round, done, err)
		}
	}
	if read, err := a.Read(t.Context(), w.did, collection, "new"); err != nil || read.Record["title"] != "n" {
		t.Errorf("read: %+v, %v", read, err)
	}
	if _, err := a.Delete(t.Context(), me, removal(SwapCID(cidOf("x")))); kindOf(err) != Stale {
		t.Errorf("delete of another: %v, want stale", err)
	}
	w.lose = true
	for _, round := range []string{"answer lost", "again"} {
		if gone, err := a.Delete(t.Context(), me, removal(SwapCID(cidOf("c")))); err != nil || gone.Rev == "" {
			t.Errorf("delete, %s: %+v, %v", round, gone, err)
		}
	}
	blob, err := a.Upload(t.Context(), me, Upload{MIME: "image/png", Body: []byte("\x89PNG\r\n\x1a\n and so on")})
	if err != nil || blob.MimeType != "image/png" {
		t.Errorf("upload: %+v, %v", blob, err)
	}
}
