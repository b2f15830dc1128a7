package post

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	alice   = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	bob     = syntax.DID("did:plc:bobaaaaaaaaaaaaaaaaaaaaa")
	commons = syntax.DID("did:plc:commonsaaaaaaaaaaaaaaaaa")
)

// people is a directory of two.
type people struct{ down bool }

func (p people) Lookup(_ context.Context, id syntax.AtIdentifier) (*sdk.Identity, error) {
	all := map[string]*sdk.Identity{
		"commons.example.com": {DID: commons, Handle: "commons.example.com"},
		string(commons):       {DID: commons, Handle: "commons.example.com"},
		string(alice):         {DID: alice, Handle: "alice.example.com"},
		"alice.example.com":   {DID: alice, Handle: "alice.example.com"},
		string(bob):           {DID: bob, Handle: "bob.example.com"},
	}
	if p.down {
		return nil, &identity.Error{Subject: id.String(), Reason: identity.ErrUnavailable}
	}
	if ident, ok := all[id.String()]; ok {
		return ident, nil
	}
	return nil, &identity.Error{Subject: id.String(), Reason: identity.ErrHandleNotFound}
}

func (people) PDS(*sdk.Identity) (string, error) { return "https://pds.example.com", nil }

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

// desk is an agent that writes down what it is told.
type desk struct {
	mu      sync.Mutex
	done    []agent.Write
	removed []agent.Delete
	files   []agent.Upload
	keys    map[string]syntax.TID
	there   map[syntax.ATURI]map[string]any // what Read finds
	answer  func(w agent.Write) (agent.Done, error)
	stuck   error // of deletes
}

func (d *desk) Put(ctx context.Context, actor agent.Actor, p agent.Put) (agent.Done, error) {
	return d.Create(ctx, actor, p.Write)
}

func (d *desk) Delete(_ context.Context, _ agent.Actor, del agent.Delete) (agent.Removed, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stuck != nil {
		return agent.Removed{}, d.stuck
	}
	d.removed = append(d.removed, del)
	return agent.Removed{Rev: syntax.NewTIDNow(2)}, nil
}

func (d *desk) Read(_ context.Context, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey) (agent.Read, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found, ok := d.there[recordAt(did, collection, rkey)]
	if !ok {
		return agent.Read{}, fault.Wrap(fault.NotFound, pds.ErrRecordNotFound, "There is none.")
	}
	cid, err := agent.RecordCID(found)
	return agent.Read{CID: cid, Record: found}, err
}

func (d *desk) Upload(_ context.Context, _ agent.Actor, u agent.Upload) (atdata.Blob, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files = append(d.files, u)
	return atdata.Blob{}, errors.New("there is no server")
}

// untouched fails when anything was written.
func (d *desk) untouched(t *testing.T) {
	t.Helper()
	if len(d.done)+len(d.removed)+len(d.files) > 0 {
		t.Errorf("written: %v, removed: %v, stored: %d files", d.done, d.removed, len(d.files))
	}
}

func (d *desk) Key(_ context.Context, _ syntax.DID, key string, _ []byte) (syntax.TID, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if tid, ok := d.keys[key]; ok {
		return tid, nil
	}
	tid := syntax.NewTIDNow(uint(len(d.keys)))
	if key != "" {
		d.keys[key] = tid
	}
	return tid, nil
}

func (d *desk) Create(_ context.Context, actor agent.Actor, w agent.Write) (agent.Done, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.done = append(d.done, w)
	if d.answer != nil {
		return d.answer(w)
	}
	return written(actor.DID, w), nil
}

func written(did syntax.DID, w agent.Write) agent.Done {
	cid, err := agent.RecordCID(w.Record)
	if err != nil {
		panic(err)
	}
	return agent.Done{URI: syntax.ATURI(fmt.Sprintf("at://%s/%s/%s", did, w.Collection, w.RKey)), CID: cid, Rev: syntax.NewTIDNow(1)}
}

func newService(t *testing.T, db *store.DB, d *desk, dir record.Directory) (*Service, *index.Index) {
	t.Helper()
	x, err := index.New(index.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	records, err := record.New(record.Config{DB: db, Index: x, Agent: d, Directory: dir, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	names, err := community.NewResolver(community.ResolverConfig{Index: x, Directory: dir, HTTP: people{}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{DB: db, Index: x, Agent: d, Records: records, Communities: names, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s, x
}

func newDesk() *desk { return &desk{keys: map[string]syntax.TID{}} }

var actor = agent.Actor{DID: alice, SessionID: "s1"}
