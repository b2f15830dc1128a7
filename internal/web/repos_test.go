package web

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
)

// fakePDS stands in for the members' repositories. Keys are chosen by the real
// agent; what is written is kept.
type fakePDS struct {
	*agent.Agent
	refuse error // what every write answers instead

	mu      sync.Mutex
	records map[pds.Place]map[string]any
	files   []agent.Upload
	written []agent.Write
	actors  []agent.Actor
	revs    int64
}

func (f *fakePDS) Create(ctx context.Context, actor agent.Actor, w agent.Write) (agent.Done, error) {
	return f.Put(ctx, actor, agent.Put{Write: w})
}

func (f *fakePDS) Put(_ context.Context, actor agent.Actor, p agent.Put) (agent.Done, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := pds.Place{Repo: actor.DID, Collection: p.Collection, RKey: p.RKey}
	if err := f.allowed(at, p.Swap); err != nil {
		return agent.Done{}, err
	}
	f.written, f.actors = append(f.written, p.Write), append(f.actors, actor)
	f.records[at] = maps.Clone(p.Record)
	cid, err := agent.RecordCID(p.Record)
	return agent.Done{URI: at.URI(), CID: cid, Rev: f.rev()}, err
}

func (f *fakePDS) Delete(_ context.Context, actor agent.Actor, d agent.Delete) (agent.Removed, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := pds.Place{Repo: actor.DID, Collection: d.Collection, RKey: d.RKey}
	if err := f.allowed(at, d.Swap); err != nil {
		return agent.Removed{}, err
	}
	delete(f.records, at)
	return agent.Removed{Rev: f.rev()}, nil
}

func (f *fakePDS) allowed(at pds.Place, swap agent.Swap) error {
	there := agent.SwapNone
	if is, found := f.records[at]; found {
		cid, err := agent.RecordCID(is)
		if err != nil {
			return err
		}
		there = agent.SwapCID(cid)
	}
	if f.refuse == nil && swap != "" && swap != there {
		return &agent.Error{Kind: agent.Stale}
	}
	return f.refuse
}

// rev is later than all before, as of a server whose clock is ours.
func (f *fakePDS) rev() syntax.TID {
	f.revs++
	return syntax.NewTIDFromTime(sampleNow.Add(time.Duration(f.revs)*time.Millisecond), 0)
}

func (f *fakePDS) Read(_ context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	is, found := f.records[pds.Place{Repo: did, Collection: collection, RKey: rkey}]
	if !found {
		return agent.Read{}, fault.Wrap(fault.NotFound, pds.ErrRecordNotFound, "There is no such record.")
	}
	cid, err := agent.RecordCID(is)
	return agent.Read{CID: cid, Record: maps.Clone(is)}, err
}

func (f *fakePDS) Upload(_ context.Context, _ agent.Actor, u agent.Upload) (atdata.Blob, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files = append(f.files, u)
	sum, err := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(u.Body)
	return atdata.Blob{Ref: atdata.CIDLink(sum), MimeType: u.MIME, Size: int64(len(u.Body))}, err
}

// in counts the records of somebody in a collection.
func (f *fakePDS) in(who person, collection syntax.NSID) (out []map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for at, is := range f.records {
		if at.Repo.String() == who.DID && at.Collection == collection {
			out = append(out, is)
		}
	}
	return out
}

// reef is the community that hosting makes.
var reef = person{DID: "did:plc:eeeeeeeeeeeeeeeeeeeeeeee", Handle: "reef.one.test"}

// fakeHosting is the instance's own PDS: it holds the credentials of reef once
// that was made.
type fakeHosting struct {
	pds  *fakePDS
	asks []account.Request
}

func (h *fakeHosting) Hosts(_ context.Context, did syntax.DID) (bool, error) {
	return did.String() == reef.DID && len(h.asks) > 0, nil
}

func (h *fakeHosting) Provision(ctx context.Context, req account.Request) (account.Hosted, error) {
	for _, made := range h.asks {
		if made.Name == req.Name && made.Key != req.Key {
			return account.Hosted{}, fault.New(fault.Conflict, "This name is taken.").WithCode("NameTaken")
		}
	}
	h.asks = append(h.asks, req)
	done, err := h.pds.Put(ctx, agent.Actor{DID: syntax.DID(reef.DID)},
		agent.Put{Write: agent.Write{Collection: "social.coves.community.profile", RKey: "self", Record: req.Record}})
	return account.Hosted{DID: syntax.DID(reef.DID), Handle: syntax.Handle(reef.Handle), URI: done.URI, CID: done.CID, Rev: done.Rev}, err
}
