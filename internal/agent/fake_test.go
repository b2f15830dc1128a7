package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const (
	alice      = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	collection = syntax.NSID("social.coves.community.postv2")
	latest     = "3l3aaaaaaaa2a"
)

// server plays a PDS, from the specification of com.atproto.repo.createRecord
// and getRecord. Before it answers a write, spoil may take the answer over;
// the record is then written or not, as it says.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	records map[string]map[string]any
	writes  int
	spoil   func(w http.ResponseWriter, n int) (write, answer bool)
	noRead  func(w http.ResponseWriter) // answers every getRecord, unless nil
}

func newServer(t *testing.T) *server {
	s := &server{records: map[string]map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /xrpc/com.atproto.repo.createRecord", s.create)
	mux.HandleFunc("GET /xrpc/com.atproto.repo.getRecord", s.get)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.getLatestCommit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a","rev":%q}`, latest)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Repo, Collection, RKey string
		Record                 json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	record, err := atdata.UnmarshalJSON(in.Record)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	uri := fmt.Sprintf("at://%s/%s/%s", in.Repo, in.Collection, in.RKey)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	write, answer := true, true
	if s.spoil != nil {
		write, answer = s.spoil(w, s.writes)
	}
	_, there := s.records[uri]
	if write && !there {
		s.records[uri] = record
	}
	if !answer {
		return
	}
	if there {
		refuse(w, http.StatusInternalServerError, "InternalServerError", "Internal Server Error")
		return
	}
	cid, _ := RecordCID(record)
	reply(w, map[string]any{"uri": uri, "cid": cid, "commit": map[string]any{"cid": cid, "rev": "3l2aaaaaaaa2a"}})
}

func (s *server) get(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	uri := fmt.Sprintf("at://%s/%s/%s", q.Get("repo"), q.Get("collection"), q.Get("rkey"))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.noRead != nil {
		s.noRead(w)
		return
	}
	record, ok := s.records[uri]
	if !ok {
		refuse(w, http.StatusBadRequest, "RecordNotFound", "Could not locate record")
		return
	}
	cid, _ := RecordCID(record)
	reply(w, map[string]any{"uri": uri, "cid": cid, "value": record})
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, status int, name, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "message": message})
}

// cut ends the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// LookupDID and PDS make the server everybody's directory and home.
func (s *server) LookupDID(_ context.Context, did syntax.DID) (*sdk.Identity, error) {
	return &sdk.Identity{DID: did}, nil
}

func (s *server) PDS(*sdk.Identity) (string, error) { return s.URL, nil }

// newAgent is an Agent for members of s. open may be nil: sessions that always
// work.
func newAgent(t *testing.T, s *server, open Opener) *Agent {
	t.Helper()
	return newAgentOn(t, storetest.New(t, store.SQLite), s, open, nil)
}

func newAgentOn(t *testing.T, db *store.DB, s *server, open Opener, now func() time.Time) *Agent {
	t.Helper()
	plain := &http.Client{Timeout: 5 * time.Second}
	if open == nil {
		open = func(context.Context, Actor) (pds.Doer, error) { return plain, nil }
	}
	a, err := New(Config{DB: db, Open: open, Directory: s, HTTP: plain, Logger: slog.New(slog.DiscardHandler), Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func write(title string) Write {
	return Write{Collection: collection, RKey: "3l2bbbbbbbb2b", Record: map[string]any{"$type": collection.String(), "title": title}}
}
