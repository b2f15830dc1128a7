package community

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
)

// repos is an agent whose servers are in memory: every account's repository, in
// the order of its revisions.
type repos struct {
	mu      sync.Mutex
	records map[pds.Place]map[string]any
	writes  []pds.Place
	keys    map[string]chosen
	uploads []syntax.DID // who has stored a file
	last    int64
	fail    error
}

func newRepos() *repos {
	return &repos{records: map[pds.Place]map[string]any{}, keys: map[string]chosen{}}
}

func (r *repos) rev() syntax.TID {
	r.last = max(r.last+1, time.Now().UnixMicro())
	return syntax.NewTID(r.last, 0)
}

func (r *repos) Key(_ context.Context, did syntax.DID, key string, request []byte) (syntax.TID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(key) > 255 {
		return "", fault.New(fault.Invalid, "The key is too long.").WithCode("InvalidRequest")
	}
	if key == "" {
		return r.rev(), nil
	}
	name := string(did) + " " + key
	if _, ok := r.keys[name]; !ok {
		r.keys[name] = chosen{r.rev(), string(request)}
	}
	if r.keys[name].request != string(request) {
		return "", fault.New(fault.Conflict, "Another request had this key.").WithCode("Conflict")
	}
	return r.keys[name].tid, nil
}

// chosen is what a key of a request has come to.
type chosen struct {
	tid     syntax.TID
	request string
}

func (r *repos) Create(ctx context.Context, actor agent.Actor, w agent.Write) (agent.Done, error) {
	return r.Put(ctx, actor, agent.Put{Write: w, Swap: agent.SwapNone})
}

func (r *repos) Put(_ context.Context, actor agent.Actor, p agent.Put) (agent.Done, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := pds.Place{Repo: actor.DID, Collection: p.Collection, RKey: p.RKey}
	if err := r.allowed(place, p.Swap); err != nil {
		return agent.Done{}, err
	}
	r.records[place], r.writes = maps.Clone(p.Record), append(r.writes, place)
	cid, err := agent.RecordCID(p.Record)
	return agent.Done{URI: place.URI(), CID: cid, Rev: r.rev()}, err
}

func (r *repos) Delete(_ context.Context, actor agent.Actor, d agent.Delete) (agent.Removed, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	place := pds.Place{Repo: actor.DID, Collection: d.Collection, RKey: d.RKey}
	if err := r.allowed(place, d.Swap); err != nil {
		return agent.Removed{}, err
	}
	delete(r.records, place)
	r.writes = append(r.writes, place)
	return agent.Removed{Rev: r.rev()}, nil
}

func (r *repos) allowed(place pds.Place, swap agent.Swap) error {
	if r.fail != nil {
		return r.fail
	}
	there := agent.SwapNone
	if was, ok := r.records[place]; ok {
		cid, err := agent.RecordCID(was)
		if err != nil {
			return err
		}
		there = agent.SwapCID(cid)
	}
	if swap != "" && swap != there {
		return &agent.Error{Kind: agent.Stale}
	}
	return nil
}

func (r *repos) Read(_ context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return agent.Read{}, r.fail
	}
	was, ok := r.records[pds.Place{Repo: did, Collection: collection, RKey: rkey}]
	if !ok {
		return agent.Read{}, fault.Wrap(fault.NotFound, pds.ErrRecordNotFound, "There is no such record.")
	}
	cid, err := agent.RecordCID(was)
	return agent.Read{CID: cid, Record: maps.Clone(was)}, err
}

func (r *repos) Upload(_ context.Context, actor agent.Actor, u agent.Upload) (atdata.Blob, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return atdata.Blob{}, r.fail
	}
	sum, err := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(u.Body)
	r.uploads = append(r.uploads, actor.DID)
	return atdata.Blob{Ref: atdata.CIDLink(sum), MimeType: u.MIME, Size: int64(len(u.Body))}, err
}

// in lists the records of an account in a collection.
func (r *repos) in(did syntax.DID, collection syntax.NSID) map[syntax.RecordKey]map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[syntax.RecordKey]map[string]any{}
	for place, rec := range r.records {
		if place.Repo == did && place.Collection == collection {
			out[place.RKey] = rec
		}
	}
	return out
}

// village is a service with everything around it.
type village struct {
	*Service
	db    *store.DB
	index *index.Index
	repos *repos
	tray  *tray
}

// made begins the DIDs of accounts that hosting makes.
const made = "did:plc:made"

// hosting is an instance's PDS: it holds the credentials of garden, and makes
// accounts.
type hosting struct {
	repos *repos
	mu    sync.Mutex
	made  map[string]account.Hosted // by request
	names map[string]bool
	fail  error
}

func (h *hosting) Hosts(_ context.Context, did syntax.DID) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return did == garden || slices.ContainsFunc(slices.Collect(maps.Values(h.made)), func(m account.Hosted) bool { return m.DID == did }), nil
}

func (h *hosting) Provision(ctx context.Context, req account.Request) (account.Hosted, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if done, ok := h.made[req.Key]; ok || h.fail != nil {
		return done, h.fail
	}
	if h.names[req.Name] {
		return account.Hosted{}, fault.New(fault.Conflict, "The name is taken.").WithCode("NameTaken")
	}
	raw, err := json.Marshal(req.Record)
	if err != nil {
		return account.Hosted{}, err
	}
	record, err := atdata.UnmarshalJSON(raw)
	if err != nil {
		return account.Hosted{}, err
	}
	did := syntax.DID(made + strings.Repeat(string(rune('a'+len(h.made))), 20))
	done, err := h.repos.Create(ctx, agent.Actor{DID: did}, agent.Write{Collection: index.CommunityCollection, RKey: "self", Record: record})
	out := account.Hosted{DID: did, Handle: syntax.Handle(req.Name + ".groups.example.com"), URI: done.URI, CID: done.CID, Rev: done.Rev}
	h.made[req.Key], h.names[req.Name] = out, true
	return out, err
}

// tray is a queue whose jobs tests do themselves. The real one has a test of
// its own.
type tray struct {
	mu   sync.Mutex
	jobs []job.Insert
}

func (q *tray) Enqueue(_ context.Context, tx *store.Tx, in job.Insert) (string, error) {
	tx.AfterCommit(func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if !slices.ContainsFunc(q.jobs, func(j job.Insert) bool { return j.Kind == in.Kind && j.Unique == in.Unique }) {
			q.jobs = append(q.jobs, in)
		}
	})
	return "", nil
}

func (q *tray) take() []job.Insert {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.jobs
	q.jobs = nil
	return all
}

// work looks at the index and does all that follows, until nothing does.
func (v *village) work(t *testing.T) {
	t.Helper()
	for range 20 {
		if err := v.watch(t.Context()); err != nil {
			t.Fatal(err)
		}
		all := v.tray.take()
		if len(all) == 0 {
			return
		}
		for _, in := range all {
			v.do(t, in)
		}
	}
	t.Fatal("work does not end")
}

func (v *village) do(t *testing.T, in job.Insert) {
	t.Helper()
	args, err := json.Marshal(in.Args)
	if err != nil {
		t.Fatal(err)
	}
	j := job.Job{Kind: in.Kind, Args: args, CreatedAt: time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)}
	if err := map[string]job.Worker{decideJob: v.decideJob, sweepJob: v.sweepJob, personJob: v.personJob}[in.Kind](t.Context(), j); err != nil {
		t.Fatalf("%s %s: %v", in.Kind, args, err)
	}
}

// actor is the member who asks.
var actor = agent.Actor{DID: alice, SessionID: "s1"}

func newVillage(t *testing.T, db *store.DB, r *repos, change ...func(*Config)) *village {
	t.Helper()
	x, err := index.New(index.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.DiscardHandler)
	records, err := record.New(record.Config{DB: db, Index: x, Agent: r, Directory: town{}, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	q := &tray{}
	cfg := Config{DB: db, Index: x, Agent: r, Records: records, Names: newResolver(t, x, town{}), Jobs: q, Hosting: &hosting{repos: r, made: map[string]account.Hosted{}, names: map[string]bool{}},
		Instance: own, Logger: quiet}
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &village{Service: s, db: db, index: x, repos: r, tray: q}
}

// settle makes garden a community that is known and verified.
func (v *village) settle(t *testing.T) {
	t.Helper()
	put(t, v.db, v.index, garden, index.CommunityCollection, "self", profileRecord(string(own), "garden"))
	verifyHosts(t, v.index, true)
}

func (v *village) subscribers(t *testing.T, community syntax.DID) int64 {
	t.Helper()
	c, ok, err := v.index.Community(t.Context(), community)
	if err != nil || !ok {
		t.Fatalf("community %s: %t, %v", community, ok, err)
	}
	return c.Subscribers
}

// code is what a person is told, "" when nothing went wrong.
func code(err error) string {
	if err == nil {
		return ""
	}
	f := fault.From(err)
	return fmt.Sprint(f.Kind, " ", f.Code)
}
