package xrpc

import (
	"context"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
)

// Do is everybody's server, for those who ask in nobody's name: it has the
// profile of commons.
func (people) Do(r *http.Request) (*http.Response, error) {
	if r.URL.Query().Get("repo") == string(commons) {
		return &http.Response{StatusCode: http.StatusOK, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(`{"uri":"at://` + string(commons) + `/social.coves.community.profile/self",` +
				`"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a","value":{"hostedBy":"did:web:example.com"}}`))}, nil
	}
	return &http.Response{StatusCode: http.StatusBadRequest, Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(`{"error":"RecordNotFound","message":"There is none."}`))}, nil
}

// desk stands in for the members' servers: it keeps what it is told to write.
type desk struct {
	*agent.Agent
	mu      sync.Mutex
	actors  []agent.Actor // of every write that was asked for
	records map[pds.Place]map[string]any
	fail    error
}

func (d *desk) Create(_ context.Context, actor agent.Actor, w agent.Write) (agent.Done, error) {
	return d.put(actor, w, syntax.TID(w.RKey))
}

func (d *desk) Put(_ context.Context, actor agent.Actor, p agent.Put) (agent.Done, error) {
	return d.put(actor, p.Write, syntax.NewTIDNow(0))
}

func (d *desk) put(actor agent.Actor, w agent.Write, rev syntax.TID) (agent.Done, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.actors = append(d.actors, actor); d.fail != nil {
		return agent.Done{}, d.fail
	}
	place := pds.Place{Repo: actor.DID, Collection: w.Collection, RKey: w.RKey}
	d.records[place] = maps.Clone(w.Record)
	cid, err := agent.RecordCID(w.Record)
	return agent.Done{URI: place.URI(), CID: cid, Rev: rev}, err
}

func (d *desk) Delete(_ context.Context, actor agent.Actor, del agent.Delete) (agent.Removed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.actors = append(d.actors, actor); d.fail != nil {
		return agent.Removed{}, d.fail
	}
	delete(d.records, pds.Place{Repo: actor.DID, Collection: del.Collection, RKey: del.RKey})
	return agent.Removed{Rev: syntax.NewTIDFromTime(time.Now(), 1)}, nil
}

func (d *desk) Read(_ context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	was, ok := d.records[pds.Place{Repo: did, Collection: collection, RKey: rkey}]
	if !ok {
		return agent.Read{}, fault.Wrap(fault.NotFound, pds.ErrRecordNotFound, "There is no such record.")
	}
	cid, err := agent.RecordCID(was)
	return agent.Read{CID: cid, Record: maps.Clone(was)}, err
}
