package ingest

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	lexutil "github.com/bluesky-social/indigo/lex/util"
	"github.com/coder/websocket"
	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	cbg "github.com/whyrusleeping/cbor-gen"
)

// host plays a PDS or a relay, from the specification: the stream with a
// cursor, and the methods by which it is told what it is. misbehave, when set,
// takes a connection over.
type host struct {
	server *httptest.Server
	relay  bool

	mu        sync.Mutex
	frames    []sent
	more      chan struct{} // closed and made anew when a frame comes
	cursors   []string      // of the connections, in order
	misbehave func(conn *websocket.Conn, cursor string) bool
	statuses  map[string]string // answers of getRepoStatus
	world     *world            // what getRepo gives out
	gets      int               // of repositories and records
	forge     func(car []byte) []byte
	lists     []string // queries of listRepos and listReposByCollection
	plain     bool     // only listRepos is offered
}

type sent struct {
	seq   int64
	bytes []byte
}

func newHost(t testing.TB) *host {
	h := &host{more: make(chan struct{}), statuses: map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /xrpc/com.atproto.sync.subscribeRepos", h.subscribe)
	mux.HandleFunc("GET /xrpc/com.atproto.server.describeServer", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if h.relay {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, `{"did":"did:web:pds.example.com","availableUserDomains":[]}`)
	})
	mux.HandleFunc("GET /xrpc/com.atproto.sync.getRepoStatus", func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		did := r.URL.Query().Get("did")
		answer := map[string]any{"did": did, "active": h.statuses[did] == ""}
		if h.statuses[did] != "" {
			answer["status"] = h.statuses[did]
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	mux.HandleFunc("GET /xrpc/com.atproto.sync.getRepo", h.getRepo)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.getRecord", h.getRecord)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.listRepos", h.listRepos)
	mux.HandleFunc("GET /xrpc/com.atproto.sync.listReposByCollection", func(w http.ResponseWriter, r *http.Request) {
		if h.plain {
			w.WriteHeader(http.StatusNotImplemented)
			fmt.Fprint(w, `{"error":"MethodNotImplemented"}`)
			return
		}
		h.listRepos(w, r)
	})
	h.server = httptest.NewServer(mux)
	t.Cleanup(h.server.Close)
	return h
}

// serve makes the host the one that has the repositories.
func (h *host) serve(w *world) { h.world, w.pds = w, h.server.URL }

// listRepos answers two repositories a page; those by collection, where one is
// named.
func (h *host) listRepos(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	h.mu.Lock()
	h.lists = append(h.lists, q.Get("cursor"))
	h.mu.Unlock()
	repos, next := []map[string]string{}, ""
	world := h.world
	if world == nil {
		world = newWorld()
	}
	for _, did := range world.holders(q.Get("collection")) {
		if did <= q.Get("cursor") {
			continue
		}
		if len(repos) == 2 {
			next = repos[1]["did"]
			break
		}
		repos = append(repos, map[string]string{"did": did})
	}
	w.Header().Set("Content-Type", "application/json")
	answer := map[string]any{"repos": repos}
	if next != "" {
		answer["cursor"] = next
	}
	_ = json.NewEncoder(w).Encode(answer)
}

func (h *host) getRepo(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.gets++
	h.mu.Unlock()
	var car []byte
	if h.world != nil {
		car = h.world.export(r.URL.Query().Get("did"))
	}
	if car == nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"RepoNotFound","message":"as the lexicon has it"}`)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.car")
	_, _ = w.Write(car)
}

func (h *host) getRecord(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	h.mu.Lock()
	h.gets++
	forge := h.forge
	h.mu.Unlock()
	car := h.world.proof(q.Get("did"), q.Get("collection")+"/"+q.Get("rkey"))
	if forge != nil {
		car = forge(car)
	}
	if car == nil {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"RepoNotFound","message":"as the lexicon has it"}`)
		return
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.car")
	_, _ = w.Write(car)
}

func (h *host) subscribe(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	text := r.URL.Query().Get("cursor")
	h.mu.Lock()
	h.cursors = append(h.cursors, text)
	misbehave := h.misbehave
	at := len(h.frames)
	h.mu.Unlock()
	if misbehave != nil && misbehave(conn, text) {
		return
	}
	ctx := conn.CloseRead(r.Context())
	after := int64(-1)
	if text != "" {
		at = 0
		after, _ = strconv.ParseInt(text, 10, 64)
	}
	for {
		h.mu.Lock()
		todo, more := h.frames[at:], h.more
		h.mu.Unlock()
		for _, f := range todo {
			at++
			if f.seq != 0 && f.seq <= after {
				continue
			}
			if conn.Write(ctx, websocket.MessageBinary, f.bytes) != nil {
				return
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// emit sends frames, now and to whoever asks for them later.
func (h *host) emit(frames ...sent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.frames = append(h.frames, frames...)
	close(h.more)
	h.more = make(chan struct{})
}

func (h *host) do(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

func (h *host) connections() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]string(nil), h.cursors...)
}

// frame puts a header before a body.
func frame(seq int64, typ string, body interface{ MarshalCBOR(w *bytes.Buffer) error }) sent {
	head, err := cbor.Marshal(map[string]any{"op": 1, "t": typ})
	if err != nil {
		panic(err)
	}
	buf := bytes.NewBuffer(head)
	if err := body.MarshalCBOR(buf); err != nil {
		panic(err)
	}
	return sent{seq, buf.Bytes()}
}

// body lets the SDK's types write themselves: they are another reading of the
// specification than ours.
type body struct{ cbg.CBORMarshaler }

func (b body) MarshalCBOR(w *bytes.Buffer) error { return b.CBORMarshaler.MarshalCBOR(w) }

// recordOp is an operation for commitFrame.
type recordOp struct {
	action string
	path   string
	record map[string]any // nil for delete
	raw    []byte         // instead of record: any bytes
}

// commitFrame builds a commit with its blocks.
func commitFrame(seq int64, did string, rev syntax.TID, ops ...recordOp) sent {
	c := &comatproto.SyncSubscribeRepos_Commit{
		Seq: seq, Repo: did, Rev: string(rev), Time: time.Now().UTC().Format(syntax.AtprotoDatetimeLayout),
		Blobs: []lexutil.LexLink{}, Commit: lexutil.LexLink(cidOf([]byte("commit"))),
	}
	var blocks [][]byte
	for _, op := range ops {
		o := &comatproto.SyncSubscribeRepos_RepoOp{Action: op.action, Path: op.path}
		raw := op.raw
		if op.record != nil {
			raw = encodeRecord(op.record)
		}
		if raw != nil {
			l := lexutil.LexLink(cidOf(raw))
			o.Cid = &l
			blocks = append(blocks, raw)
		}
		c.Ops = append(c.Ops, o)
	}
	c.Blocks = car(blocks...)
	return frame(seq, "#commit", body{c})
}

func encodeRecord(record map[string]any) []byte {
	raw, err := atdata.MarshalCBOR(record)
	if err != nil {
		panic(err)
	}
	return raw
}

func accountFrame(seq int64, did string, active bool, status string) sent {
	a := &comatproto.SyncSubscribeRepos_Account{
		Seq: seq, Did: did, Active: active, Time: time.Now().UTC().Format(syntax.AtprotoDatetimeLayout),
	}
	if status != "" {
		a.Status = &status
	}
	return frame(seq, "#account", body{a})
}

func identityFrame(seq int64, did string) sent {
	return frame(seq, "#identity", body{&comatproto.SyncSubscribeRepos_Identity{
		Seq: seq, Did: did, Time: time.Now().UTC().Format(syntax.AtprotoDatetimeLayout)}})
}

func infoFrame(name string) sent {
	return frame(0, "#info", body{&comatproto.SyncSubscribeRepos_Info{Name: name}})
}

// errorFrame ends a stream (event stream specification).
func errorFrame(name string) []byte {
	head, err := cbor.Marshal(map[string]any{"op": -1})
	if err != nil {
		panic(err)
	}
	tail, err := cbor.Marshal(map[string]any{"error": name, "message": "as the specification has it"})
	if err != nil {
		panic(err)
	}
	return append(head, tail...)
}

func cidOf(block []byte) cid.Cid {
	c, err := cid.NewPrefixV1(cid.DagCBOR, multihash.SHA2_256).Sum(block)
	if err != nil {
		panic(err)
	}
	return c
}

// car writes blocks as CAR version 1.
func car(blocks ...[]byte) []byte {
	root := append([]byte{0}, cidOf([]byte("commit")).Bytes()...)
	head, err := cbor.Marshal(map[string]any{"version": 1, "roots": []any{cbor.Tag{Number: 42, Content: root}}})
	if err != nil {
		panic(err)
	}
	out := binary.AppendUvarint(nil, uint64(len(head)))
	out = append(out, head...)
	for _, b := range blocks {
		key := cidOf(b).Bytes()
		out = binary.AppendUvarint(out, uint64(len(key)+len(b)))
		out = append(append(out, key...), b...)
	}
	return out
}

// postRecord is a well-formed post.
func postRecord(community, title string) map[string]any {
	return map[string]any{
		"$type": "social.coves.community.postv2", "community": community, "title": title,
		"createdAt": time.Now().UTC().Format(syntax.AtprotoDatetimeLayout),
	}
}

func postPath(rkey string) string { return "social.coves.community.postv2/" + rkey }
