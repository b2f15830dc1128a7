package record

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

const alice = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")

var actor = agent.Actor{DID: alice}

// people is a directory of one.
type people struct{}

func (people) Lookup(_ context.Context, id syntax.AtIdentifier) (*sdk.Identity, error) {
	return &sdk.Identity{DID: id.DID(), Handle: "alice.example.com"}, nil
}

func (people) PDS(*sdk.Identity) (string, error) { return "https://pds.example.com", nil }

// shelf is an agent with one repository in memory.
type shelf struct {
	mu      sync.Mutex
	records map[syntax.RecordKey]map[string]any
	last    int64
	writes  int
	silent  bool // does not tell revisions
}

func (s *shelf) rev() syntax.TID {
	s.writes++
	if s.silent {
		return ""
	}
	s.last = max(s.last+1, time.Now().UnixMicro())
	return syntax.NewTID(s.last, 0)
}

func (s *shelf) Create(ctx context.Context, actor agent.Actor, w agent.Write) (agent.Done, error) {
	return s.Put(ctx, actor, agent.Put{Write: w, Swap: agent.SwapNone})
}

func (s *shelf) Put(_ context.Context, actor agent.Actor, p agent.Put) (agent.Done, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := agent.SwapNone
	if was, ok := s.records[p.RKey]; ok {
		cid, err := agent.RecordCID(was)
		if err != nil {
			return agent.Done{}, err
		}
		there = agent.SwapCID(cid)
	}
	if p.Swap != "" && p.Swap != there {
		return agent.Done{}, &agent.Error{Kind: agent.Stale}
	}
	s.records[p.RKey] = maps.Clone(p.Record)
	cid, err := agent.RecordCID(p.Record)
	return agent.Done{URI: pds.Place{Repo: actor.DID, Collection: p.Collection, RKey: p.RKey}.URI(), CID: cid, Rev: s.rev()}, err
}

func (s *shelf) Delete(_ context.Context, _ agent.Actor, d agent.Delete) (agent.Removed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, d.RKey)
	return agent.Removed{Rev: s.rev()}, nil
}

func (s *shelf) Read(_ context.Context, _ syntax.DID, _ syntax.NSID, rkey syntax.RecordKey) (agent.Read, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was, ok := s.records[rkey]
	if !ok {
		return agent.Read{}, fault.Wrap(fault.NotFound, pds.ErrRecordNotFound, "There is none.")
	}
	cid, err := agent.RecordCID(was)
	return agent.Read{CID: cid, Record: maps.Clone(was)}, err
}

func newWriter(t *testing.T, db *store.DB, s *shelf, applied func()) (*Writer, *index.Index) {
	t.Helper()
	x, err := index.New(index.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Config{DB: db, Index: x, Agent: s, Directory: people{}, Logger: slog.New(slog.DiscardHandler), Applied: applied})
	if err != nil {
		t.Fatal(err)
	}
	return w, x
}

func newShelf() *shelf { return &shelf{records: map[syntax.RecordKey]map[string]any{}} }

const profileKey = syntax.RecordKey("self")

func profile(name string) agent.Write {
	return agent.Write{Collection: index.PersonCollection, RKey: profileKey, Record: map[string]any{
		"$type": string(index.PersonCollection), "displayName": name, "createdAt": "2026-01-02T03:04:05Z"}}
}

// shown is the display name that the index has, "" for none.
func shown(t *testing.T, db *store.DB) string {
	t.Helper()
	var name string
	err := db.Read().QueryRowContext(t.Context(), `SELECT COALESCE(max(display_name), '') FROM actor_profile`).Scan(&name)
	if err != nil {
		t.Fatal(err)
	}
	return name
}

// TestAppliedAtOnce holds that whoever writes sees it at once, and that who waits
// for changes is told of each.
func TestAppliedAtOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		told := 0
		w, _ := newWriter(t, db, newShelf(), func() { told++ })
		steps := []struct {
			want string
			do   func() error
		}{
			{"one", func() error { _, err := w.Create(t.Context(), actor, profile("one")); return err }},
			{"two", func() error { _, err := w.Put(t.Context(), actor, agent.Put{Write: profile("two")}); return err }},
			{"", func() error {
				return w.Delete(t.Context(), actor, agent.Delete{Collection: index.PersonCollection, RKey: profileKey})
			}},
		}
		for i, step := range steps {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			if got := shown(t, db); got != step.want || told != i+1 {
				t.Errorf("step %d: the index has %q, want %q; told %d times", i, got, step.want, told)
			}
		}
	})
}

// TestLeftToTheStream holds that what was written is never called a failure: not
// when the server does not tell its revision, and not when the database is away.
func TestLeftToTheStream(t *testing.T) {
	t.Parallel()
	db, s := storetest.New(t, store.SQLite), newShelf()
	w, _ := newWriter(t, db, s, nil)
	s.silent = true
	if done, err := w.Create(t.Context(), actor, profile("one")); err != nil || done.CID == "" || shown(t, db) != "" {
		t.Errorf("no revision: %+v, %v; the index has %q", done, err, shown(t, db))
	}
	s.silent = false
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `DROP TABLE actor_profile`)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := w.Put(t.Context(), actor, agent.Put{Write: profile("two")}); err != nil || done.CID == "" {
		t.Errorf("no table: %+v, %v", done, err)
	}
}

// TestUnfit holds that what the index would not take is not written.
func TestUnfit(t *testing.T) {
	t.Parallel()
	s := newShelf()
	w, _ := newWriter(t, storetest.New(t, store.SQLite), s, nil)
	bad := profile("x")
	delete(bad.Record, "createdAt")
	stranger := agent.Write{Collection: "org.example.thing", RKey: "self", Record: map[string]any{"$type": "org.example.thing"}}
	for _, write := range []agent.Write{bad, stranger} {
		if _, err := w.Create(t.Context(), actor, write); !errors.Is(err, ErrUnfit) {
			t.Errorf("create %s: %v", write.Collection, err)
		}
		if _, err := w.Put(t.Context(), actor, agent.Put{Write: write}); !errors.Is(err, ErrUnfit) {
			t.Errorf("put %s: %v", write.Collection, err)
		}
	}
	if s.writes != 0 {
		t.Errorf("wrote %d times", s.writes)
	}
}

// TestRevise holds that changes made at once, by two writers as by two
// processes, are all there at the end, and that no change writes nothing.
func TestRevise(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		s := newShelf()
		one, _ := newWriter(t, db, s, nil)
		two, _ := newWriter(t, db, s, nil)
		at := pds.Place{Collection: index.PersonCollection, RKey: profileKey}
		n := size.Size(20, 100)
		var done sync.WaitGroup
		for i := range n {
			w := []*Writer{one, two}[i%2]
			done.Go(func() {
				_, err := w.Revise(t.Context(), actor, at, func(is map[string]any) (map[string]any, error) {
					if is == nil {
						is = profile("x").Record
					}
					is[fmt.Sprint("field", i)] = int64(i)
					return is, nil
				})
				if err != nil {
					t.Errorf("change %d: %v", i, fmt.Sprintf("%T", err))
				}
			})
		}
		done.Wait()
		for i := range n {
			if s.records[profileKey][fmt.Sprint("field", i)] != int64(i) {
				t.Errorf("change %d is lost", i)
			}
		}
		if len(one.turns.held)+len(two.turns.held) != 0 {
			t.Errorf("turns left: %v %v", one.turns.held, two.turns.held)
		}
		writes := s.writes
		if _, err := one.Revise(t.Context(), actor, at, func(is map[string]any) (map[string]any, error) { return is, nil }); err != nil || s.writes != writes {
			t.Errorf("no change: %v, %d writes", err, s.writes-writes)
		}
		refusal := errors.New("no")
		if _, err := one.Revise(t.Context(), actor, at, func(map[string]any) (map[string]any, error) { return nil, refusal }); !errors.Is(err, refusal) || s.writes != writes {
			t.Errorf("refused: %v, %d writes", err, s.writes-writes)
		}
	})
}

// restless changes its record whenever it is read.
type restless struct {
	*shelf
	n int64
}

func (r *restless) Read(ctx context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error) {
	read, err := r.shelf.Read(ctx, did, collection, rkey)
	r.n++
	r.records[rkey] = map[string]any{"n": r.n}
	return read, err
}

// TestReviseGivesUp holds that somebody who is always faster is told of, in the
// end, and not overwritten.
func TestReviseGivesUp(t *testing.T) {
	t.Parallel()
	s := newShelf()
	w, _ := newWriter(t, storetest.New(t, store.SQLite), s, nil)
	w.cfg.Agent = &restless{shelf: s}
	_, err := w.Revise(t.Context(), actor, pds.Place{Collection: index.PersonCollection, RKey: profileKey},
		func(map[string]any) (map[string]any, error) { return profile("mine").Record, nil })
	var known *agent.Error
	if !errors.As(err, &known) || known.Kind != agent.Stale || s.writes != 0 {
		t.Errorf("got a %T, %d writes", err, s.writes)
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	var in struct{ A, B, C Change[string] }
	if err := json.Unmarshal([]byte(`{"a":" x ","b":null}`), &in); err != nil {
		t.Fatal(err)
	}
	change := map[string]any{}
	SetText(change, "a", in.A)
	SetText(change, "b", in.B)
	SetText(change, "c", in.C)
	is := map[string]any{"b": "old", "c": "kept"}
	Merge(is, change)
	if fmt.Sprint(is) != "map[a:x c:kept]" || !in.B.Null || in.C.Sent {
		t.Errorf("changed to %v by %+v", is, in)
	}
	for text, code := range map[string]string{
		"fine": "", "ééé": "", "éééééé": "ContentTooLong", "\x1b[1m": "InvalidRequest", "a\xff": "InvalidRequest", "a\nb": "InvalidRequest",
	} {
		err := CheckLine("name", text, 5, 10)
		if code == "" && err != nil || code != "" && fault.From(err).Code != code {
			t.Errorf("%q: %v, want %q", text, err, code)
		}
	}
	if err := CheckText("text", "a\nb", 5, 10); err != nil {
		t.Errorf("two lines of text: %v", err)
	}
}
