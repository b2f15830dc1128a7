package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const (
	alice      = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	collection = syntax.NSID("social.coves.community.postv2")
	latest     = "3l3aaaaaaaa2a"
)

// server plays a PDS, from the specification of com.atproto.repo. Before it
// answers a write, spoil may take the answer over; the write is then done or
// not, as it says.
type server struct {
	*httptest.Server
	mu      sync.Mutex
	records map[string]map[string]any
	writes  int
	spoil   func(w http.ResponseWriter, n int) (write, answer bool)
	noRead  func(w http.ResponseWriter) // answers every getRecord, unless nil
	lie     syntax.CID                  // what getRecord says of every record, unless empty
	noops   bool                        // writes that change nothing make no commit, as at the official server
	terse   bool                        // applyWrites answers nothing
	vault   vault
}

func newServer(t *testing.T) *server {
	s := &server{records: map[string]map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /xrpc/com.atproto.repo.createRecord", s.create)
	mux.HandleFunc("POST /xrpc/com.atproto.repo.putRecord", s.put)
	mux.HandleFunc("POST /xrpc/com.atproto.repo.deleteRecord", s.delete)
	mux.HandleFunc("POST /xrpc/com.atproto.repo.applyWrites", s.applyWrites)
	mux.HandleFunc("POST /xrpc/com.atproto.repo.uploadBlob", s.upload)
	mux.HandleFunc("GET /xrpc/com.atproto.repo.getRecord", s.get)
	s.vault.mount(mux)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.getLatestCommit", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"cid":"bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a","rev":%q}`, latest)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// input is that of the methods that write.
type input struct {
	Repo, Collection, RKey string
	Record, SwapRecord     json.RawMessage
	Writes                 []struct {
		Type             string `json:"$type"`
		Collection, RKey string
		Value            json.RawMessage
	}
}

func (in input) uri() string { return fmt.Sprintf("at://%s/%s/%s", in.Repo, in.Collection, in.RKey) }

// change does a write. It is called with the lock held and returns the answer,
// or how the write is refused; do makes it last.
type change func(in input) (answer map[string]any, refused string, do func())

// handle answers a write.
func (s *server) handle(w http.ResponseWriter, r *http.Request, c change) {
	var in input
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !s.vault.admit(w, r, in.Repo) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	write, answer := true, true
	if s.spoil != nil {
		write, answer = s.spoil(w, s.writes)
	}
	said, refused, do := c(in)
	if write && refused == "" && do != nil {
		do()
	}
	switch {
	case !answer:
	case refused == "InternalServerError":
		refuse(w, http.StatusInternalServerError, refused, "Internal Server Error")
	case refused != "":
		refuse(w, http.StatusBadRequest, refused, "in its own words")
	default:
		reply(w, said)
	}
}

func decode(raw json.RawMessage) (map[string]any, syntax.CID) {
	record, err := atdata.UnmarshalJSON(raw)
	if err != nil {
		panic(err)
	}
	cid, _ := RecordCID(record)
	return record, cid
}

const commitRev = "3l2aaaaaaaa2a"

func written(uri string, cid syntax.CID) map[string]any {
	return map[string]any{"uri": uri, "cid": cid, "commit": map[string]any{"cid": cid, "rev": commitRev}}
}

func (s *server) create(w http.ResponseWriter, r *http.Request) {
	s.handle(w, r, func(in input) (map[string]any, string, func()) {
		if _, there := s.records[in.uri()]; there {
			return nil, "InternalServerError", nil
		}
		record, cid := decode(in.Record)
		return written(in.uri(), cid), "", func() { s.records[in.uri()] = record }
	})
}

// swapped reports that the record is not as swapRecord demands.
func (s *server) swapped(in input) bool {
	current := "null"
	if record, there := s.records[in.uri()]; there {
		cid, _ := RecordCID(record)
		current = strconv.Quote(cid.String())
	}
	return in.SwapRecord != nil && string(in.SwapRecord) != current
}

func (s *server) put(w http.ResponseWriter, r *http.Request) {
	s.handle(w, r, func(in input) (map[string]any, string, func()) {
		record, cid := decode(in.Record)
		if old, there := s.records[in.uri()]; there && s.noops {
			if had, _ := RecordCID(old); had == cid {
				return map[string]any{"uri": in.uri(), "cid": cid}, "", nil
			}
		}
		if s.swapped(in) {
			return nil, "InvalidSwap", nil
		}
		return written(in.uri(), cid), "", func() { s.records[in.uri()] = record }
	})
}

func (s *server) delete(w http.ResponseWriter, r *http.Request) {
	s.handle(w, r, func(in input) (map[string]any, string, func()) {
		if _, there := s.records[in.uri()]; !there && s.noops {
			return map[string]any{}, "", nil
		}
		if s.swapped(in) {
			return nil, "InvalidSwap", nil
		}
		return map[string]any{"commit": map[string]any{"cid": "x", "rev": commitRev}}, "", func() { delete(s.records, in.uri()) }
	})
}

func (s *server) applyWrites(w http.ResponseWriter, r *http.Request) {
	s.handle(w, r, func(in input) (map[string]any, string, func()) {
		after := maps.Clone(s.records)
		var results []any
		for _, op := range in.Writes {
			one := input{Repo: in.Repo, Collection: op.Collection, RKey: op.RKey}
			_, there := after[one.uri()]
			if there == (op.Type == "com.atproto.repo.applyWrites#create") {
				return nil, "InternalServerError", nil
			}
			delete(after, one.uri())
			if op.Value == nil {
				results = append(results, map[string]any{"$type": "com.atproto.repo.applyWrites#deleteResult"})
				continue
			}
			record, cid := decode(op.Value)
			after[one.uri()] = record
			results = append(results, map[string]any{"uri": one.uri(), "cid": cid})
		}
		answer := map[string]any{"commit": map[string]any{"cid": "x", "rev": commitRev}, "results": results}
		if s.terse {
			answer = map[string]any{}
		}
		return answer, "", func() { s.records = after }
	})
}

func (s *server) upload(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.spoil != nil {
		if _, answer := s.spoil(w, s.writes); !answer {
			return
		}
	}
	c, _ := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(body)
	reply(w, map[string]any{"blob": atdata.Blob{Ref: atdata.CIDLink(c), MimeType: r.Header.Get("Content-Type"), Size: int64(len(body))}})
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
	if s.lie != "" {
		cid = s.lie
	}
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
