package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// jetHost plays a Jetstream host of either version, from their documentation.
type jetHost struct {
	server *httptest.Server

	mu     sync.Mutex
	events []jetEvent
	more   chan struct{}
	asked  []string // queries, in order
	// refuse answers before the upgrade; greet is sent first.
	refuse func(cursor string) (status int, body string)
	greet  string
	// pack compresses frames when the client asks for that.
	pack   func(frame string) []byte
	talked bool // the client sent data
}

// jetEvent is an event in both forms.
type jetEvent struct {
	seq, micros int64
	v1, v2      string
}

func newJetHost(t testing.TB) *jetHost {
	h := &jetHost{more: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /subscribe", func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, "") })
	mux.HandleFunc("GET /xrpc/network.bsky.jetstream.subscribeEvents", func(w http.ResponseWriter, r *http.Request) {
		h.serve(w, r, "xrpc.v1.json")
	})
	h.server = httptest.NewServer(mux)
	t.Cleanup(h.server.Close)
	return h
}

func (h *jetHost) serve(w http.ResponseWriter, r *http.Request, subprotocol string) {
	cursor := r.URL.Query().Get("cursor")
	h.mu.Lock()
	h.asked = append(h.asked, r.URL.RawQuery)
	refuse, greet, at, pack := h.refuse, h.greet, len(h.events), h.pack
	h.mu.Unlock()
	if r.URL.Query().Get("compress") != "true" || subprotocol != "" {
		pack = nil
	}
	if refuse != nil {
		if status, body := refuse(cursor); status != 0 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return
		}
	}
	options := &websocket.AcceptOptions{}
	if subprotocol != "" {
		options.Subprotocols = []string{subprotocol}
	}
	conn, err := websocket.Accept(w, r, options)
	if err != nil {
		return
	}
	defer func() { _ = conn.CloseNow() }()
	ctx := r.Context()
	go func() {
		if _, _, err := conn.Read(ctx); err == nil {
			h.mu.Lock()
			h.talked = true
			h.mu.Unlock()
			_ = conn.CloseNow()
		}
	}()
	if greet != "" && conn.Write(ctx, websocket.MessageText, []byte(greet)) != nil {
		return
	}
	from, _ := strconv.ParseInt(cursor, 10, 64)
	if cursor != "" {
		at = 0
	}
	for {
		h.mu.Lock()
		todo, more := h.events[at:], h.more
		h.mu.Unlock()
		for _, e := range todo {
			at++
			text, position := e.v1, e.micros
			if subprotocol != "" {
				text = e.v2
				if from < 1e15 {
					position = e.seq
				}
			}
			if position < from {
				continue
			}
			kind, frame := websocket.MessageText, []byte(text)
			if pack != nil {
				kind, frame = websocket.MessageBinary, pack(text)
			}
			if conn.Write(ctx, kind, frame) != nil {
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

func (h *jetHost) emit(events ...jetEvent) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.events = append(h.events, events...)
	close(h.more)
	h.more = make(chan struct{})
}

func (h *jetHost) queries() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.asked)
}

// jetTime is when the fakes' streams say something: they began an hour ago.
func jetTime(seq int64) int64 { return jetStart() + seq*1e6 }

// jetStart is the same for all that a test says, whatever the hour.
var jetStart = sync.OnceValue(func() int64 { return time.Now().Add(-time.Hour).UnixMicro() })

// jetOp is one operation as both versions tell it.
func jetOp(seq int64, did, operation string, n int, record map[string]any) jetEvent {
	commit := map[string]any{"rev": string(rev(int(seq))), "operation": operation,
		"collection": string(index.PostCollection), "rkey": key(n)}
	if record != nil {
		commit["record"], commit["cid"] = record, cidOf(encodeRecord(record)).String()
	}
	return jetAny(seq, did, "commit", commit, nil)
}

// jetAny writes an event of any kind.
func jetAny(seq int64, did, kind string, commit, account map[string]any) jetEvent {
	at := jetTime(seq)
	stamp := time.UnixMicro(at).UTC().Format("2006-01-02T15:04:05.000000Z")
	one := map[string]any{"did": did, "time_us": at, "kind": kind}
	two := map[string]any{"$type": "network.bsky.jetstream.subscribeEvents#" + kind, "seq": seq, "did": did, "time": stamp}
	if commit != nil {
		one["commit"] = commit
		for k, v := range commit {
			two[k] = v
		}
	}
	if account != nil {
		account["did"], account["seq"], account["time"] = did, seq, stamp
		one[kind], two[kind] = account, account
	}
	return jetEvent{seq, at, mustJSON(one), mustJSON(map[string]any{"$type": "message", "payload": two})}
}

func mustJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func jetPost(seq int64, did string, n int, title string) jetEvent {
	return jetOp(seq, did, "create", n, postRecord(commons, title))
}

// eachJetstream runs a test for both versions and both engines.
func eachJetstream(t *testing.T, test func(t *testing.T, kind string, db *store.DB)) {
	t.Helper()
	for _, kind := range []string{Jetstream, Jetstream2} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, db *store.DB) { test(t, kind, db) })
		})
	}
}

// follow runs an Ingester over sources of one kind.
func follow(t *testing.T, db *store.DB, kind string, hosts ...*jetHost) *rig {
	t.Helper()
	var sources []Source
	for _, h := range hosts {
		sources = append(sources, Source{Kind: kind, URL: h.server.URL})
	}
	r, err := newRigOf(db, quick(), nil, sources)
	if err != nil {
		t.Fatal(err)
	}
	r.run(t)
	await(t, "the connections", func() bool {
		return !slices.ContainsFunc(r.Status(), func(s Status) bool { return !s.Connected })
	})
	return r
}

// TestJetstream holds I1 and I4 for both versions: what comes is applied, what
// came meanwhile is read after a restart, account events count, hostile frames
// are dropped on the same connection, and the client sends nothing.
func TestJetstream(t *testing.T) {
	t.Parallel()
	eachJetstream(t, func(t *testing.T, kind string, db *store.DB) {
		h := newJetHost(t)
		r := follow(t, db, kind, h)
		broken := jetEvent{seq: 4, micros: jetTime(4), v1: "{", v2: "{"}
		bad := jetEvent{seq: 5, micros: jetTime(5), v1: "\"\xff\"", v2: "\"\xff\""}
		h.emit(jetPost(1, alice, 1, "a"), jetPost(2, bob, 2, "b"), jetOp(3, alice, "update", 1, postRecord(commons, "A")),
			broken, bad, jetPost(6, bob, 6, "nul\x00"), jetOp(7, bob, "delete", 2, nil),
			jetPost(8, "did:web:"+strings.Repeat("a", 2000), 8, "x"), jetPost(9, alice, 9, "i"), jetPost(9, alice, 9, "i"))
		await(t, "the stream's end", func() bool { return r.shown(t)[alice+"/"+key(9)] == "i" })
		if diff := cmp.Diff(map[string]string{alice + "/" + key(1): "A", alice + "/" + key(9): "i"}, r.shown(t)); diff != "" {
			t.Errorf("posts (-want +got):\n%s", diff)
		}
		for reason, want := range map[index.Reason]float64{reasonFrame: 2, index.ReasonText: 1, index.ReasonLongDID: 1} {
			if got := r.metric(t, "dropped_total", string(reason)); got != want {
				t.Errorf("%v dropped for %s, want %v", got, reason, want)
			}
		}
		h.emit(jetAny(10, alice, "account", nil, map[string]any{"active": false, "status": "deactivated"}))
		await(t, "the account to be hidden", func() bool { return len(r.shown(t)) == 0 })
		r.stop()
		h.emit(jetAny(11, alice, "account", nil, map[string]any{"active": true}), jetPost(12, bob, 12, "l"))
		r = follow(t, db, kind, h)
		await(t, "what came meanwhile", func() bool { return len(r.shown(t)) == 3 })
		asked := h.queries()
		if len(asked) != 2 || strings.Contains(asked[0], "cursor=") || !strings.Contains(asked[1], "cursor=") ||
			!strings.Contains(asked[0], string(index.VoteCollection)) || h.talked {
			t.Errorf("asked for %q, talked %v", asked, h.talked)
		}
	})
}

// TestJetstreamHosts holds I6: another host is read from the time at which the
// last one was left, less a while; two hosts at once change nothing.
func TestJetstreamHosts(t *testing.T) {
	t.Parallel()
	eachJetstream(t, func(t *testing.T, kind string, db *store.DB) {
		first, second := newJetHost(t), newJetHost(t)
		r := follow(t, db, kind, first)
		first.emit(jetPost(100, alice, 1, "a"))
		await(t, "the first post", func() bool { return len(r.shown(t)) == 1 })
		r.stop()
		late := jetPost(101, alice, 2, "b")
		late.seq = 7 // its own numbers
		late.v2 = strings.Replace(late.v2, `"seq":101`, `"seq":7`, 1)
		second.emit(late)
		r = follow(t, db, kind, second)
		await(t, "the post that only the second host has", func() bool { return len(r.shown(t)) == 2 })
		want := fmt.Sprintf("cursor=%d", jetTime(100)-rewind.Microseconds())
		if kind == Jetstream {
			want = fmt.Sprintf("cursor=%d", jetTime(100)-(rewind+seam).Microseconds())
		}
		if asked := second.queries(); !strings.Contains(asked[0], want) {
			t.Errorf("asked for %q, want %s", asked, want)
		}
		r.stop()
		r = follow(t, db, kind, first, second)
		both := jetPost(200, bob, 3, "c")
		first.emit(both)
		second.emit(both)
		await(t, "both ends", func() bool {
			ends := r.Status() // of a source that is counted, too
			return ends[0].Cursor > 0 && ends[0].Cursor == ends[1].Cursor && len(r.shown(t)) == 3
		})
		if n := r.metric(t, "records_total", "applied"); n != 1 {
			t.Errorf("%v records applied, want 1", n)
		}
	})
}

// TestJetstreamJumps holds that a host of the first version which silently begins
// after what was asked for is noticed: the gap is counted once and told, and
// reading goes on. One that has been silent for a moment is no gap.
func TestJetstreamJumps(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newJetHost(t)
		r := follow(t, db, Jetstream, h)
		h.emit(jetPost(1, alice, 1, "a"))
		ends := func(seq int64) func() bool { return func() bool { return r.Status()[0].Cursor == jetTime(seq) } }
		await(t, "the first post", ends(1))
		for _, step := range []struct {
			seq  int64
			gaps float64
		}{{61, 0}, {661, 1}} { // a minute later, and ten
			r.stop()
			h.mu.Lock()
			h.events = nil // older than what the host keeps
			h.mu.Unlock()
			r = follow(t, db, Jetstream, h)
			h.emit(jetPost(step.seq, alice, int(step.seq), "later"), jetPost(step.seq+1, alice, int(step.seq)+1, "and on"))
			await(t, "the next posts", ends(step.seq+1))
			if n := r.metric(t, "gaps_total", ""); n != step.gaps || strings.Contains(r.log.String(), "jumps ahead") != (n > 0) {
				t.Errorf("%v gaps at event %d, want %v and as much in the log", n, step.seq, step.gaps)
			}
		}
		if got := len(r.shown(t)); got != 5 {
			t.Errorf("%d posts, want 5", got)
		}
	})
}

// TestJetstream2Errors holds what the second version says about cursors and
// slow readers: reading goes on by time, and the gap is counted.
func TestJetstream2Errors(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		h := newJetHost(t)
		r := follow(t, db, Jetstream2, h)
		h.emit(jetPost(50, alice, 1, "a"))
		await(t, "the first post", func() bool { return len(r.shown(t)) == 1 })
		r.stop()
		h.mu.Lock()
		h.refuse = func(cursor string) (int, string) {
			if cursor == "50" {
				return http.StatusBadRequest, `{"error":"CursorTooOld","message":"the floor is 90"}`
			}
			return 0, ""
		}
		h.events = []jetEvent{jetPost(90, alice, 2, "b")}
		h.greet = `{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#info","name":"OutdatedCursor"}}`
		h.mu.Unlock()
		r = follow(t, db, Jetstream2, h)
		await(t, "what is left", func() bool { return len(r.shown(t)) == 2 && r.Status()[0].Cursor == 90 })
		if n := r.metric(t, "gaps_total", ""); n != 2 {
			t.Errorf("%v gaps, want what was refused and what was outdated", n)
		}
		h.mu.Lock()
		h.greet = ""
		h.mu.Unlock()
		h.emit(jetEvent{seq: 91, micros: jetTime(91), v2: `{"$type":"error","error":"ConsumerTooSlow","message":"far behind"}`})
		await(t, "another connection", func() bool { return len(h.queries()) >= 4 })
		h.mu.Lock()
		h.events = slices.Clip(h.events[:1]) // a host says so once; what is being sent stays
		h.mu.Unlock()
		h.emit(jetPost(92, alice, 3, "c"))
		await(t, "the next post", func() bool { return len(r.shown(t)) == 3 })
		if last := h.queries()[3]; !strings.Contains(last, "cursor=90") {
			t.Errorf("asked for %s, want the cursor 90", last)
		}
	})
}

// TestHostileJetstream holds I5 for JSON.
func TestHostileJetstream(t *testing.T) {
	t.Parallel()
	now := time.Now()
	v1 := func(text string) error { _, err := decodeJetstream([]byte(text), now); return err }
	v2 := func(text string) error { _, err := decodeJetstream2([]byte(text)); return err }
	for _, text := range []string{"", "null", "[]", `{"kind":"commit"}`, `{"did":"did:plc:a","time_us":-5,"kind":"commit"}`,
		`{"did":"alice","time_us":5,"kind":"commit","commit":{}}`, `{"did":"did:plc:a","time_us":5,"kind":"commit"}`,
		`{"did":"did:plc:a","time_us":5,"kind":"account","account":{"did":"did:plc:b","time":"2026-01-01T00:00:00Z"}}`,
		`{"did":"did:plc:a","time_us":"5"}`, strings.Repeat("[", 100_000)} {
		var drop *dropError
		if err := v1(text); !errors.As(err, &drop) {
			t.Errorf("v1 %.60s: %v", text, err)
		}
	}
	// Whole but for one byte in a text, by the quick way (v1) and by the thorough one.
	whole := jetPost(1, alice, 1, "a mark")
	for i, err := range []error{v1(whole.v1), v2(whole.v2), v1(" " + strings.Replace(whole.v1, "{", `{"more":{},`, 1))} {
		if err != nil {
			t.Errorf("whole frame %d: %v", i, err)
		}
	}
	for i, err := range []error{v1(strings.Replace(whole.v1, "a mark", "a\xffmark", 1)), v2(strings.Replace(whole.v2, "a mark", "a\xffmark", 1)),
		v1(strings.Replace(strings.Replace(whole.v1, "a mark", "a\xc0\x80mark", 1), "{", `{"more":{},`, 1))} {
		var drop *dropError
		if !errors.As(err, &drop) || drop.reason != reasonFrame {
			t.Errorf("frame %d with bad UTF-8: %v", i, err)
		}
	}
	message := func(payload string) string { return `{"$type":"message","payload":` + payload + `}` }
	for _, text := range []string{"", "null", `{"$type":"else"}`, message(`null`), message(`5`), message(`{"seq":0}`),
		message(`{"$type":"x#commit","seq":1000000000000000,"did":"did:plc:a"}`), message(`{"$type":"x#account","seq":1,"did":"did:plc:a"}`),
		message(`{"$type":"x#sync","seq":1,"did":"did:plc:a","sync":{"blocks":{"$bytes":"!"}}}`)} {
		var drop *dropError
		if err := v2(text); !errors.As(err, &drop) {
			t.Errorf("v2 %.80s: %v", text, err)
		}
	}
	ahead, err := decodeJetstream([]byte(`{"did":"did:plc:a","time_us":9000000000000000,"kind":"identity"}`), now)
	if err != nil || ahead.seq != now.UnixMicro() {
		t.Errorf("a time to come: %d, %v; want now", ahead.seq, err)
	}
	for name, c := range map[string]*flatCommit{
		"no record":      {Operation: "create", RKey: "a"},
		"record is text": {Operation: "create", RKey: "a", Record: json.RawMessage(`"x"`)},
		"float":          {Operation: "update", RKey: "a", Record: json.RawMessage(`{"a":1.5}`)},
	} {
		if op, drop := c.operation(); drop != nil || op.Malformed != reasonJSON {
			t.Errorf("%s: %+v, %v; want malformed", name, op, drop)
		}
	}
	for name, c := range map[string]*flatCommit{
		"no key": {Operation: "create"}, "key of 2 KB": {Operation: "delete", RKey: strings.Repeat("a", 2000)},
		"operation": {Operation: "rename", RKey: "a"},
	} {
		if _, drop := c.operation(); drop == nil {
			t.Errorf("%s: not dropped", name)
		}
	}
}

func FuzzJetstream(f *testing.F) {
	e := jetPost(1, alice, 1, "a")
	f.Add([]byte(e.v1))
	f.Add([]byte(e.v2))
	f.Fuzz(func(_ *testing.T, frame []byte) {
		one, err := decodeJetstream(frame, time.Now())
		if err == nil && one.flat != nil {
			_, _ = one.flat.operation()
		}
		two, err := decodeJetstream2(frame)
		if err == nil && two.flat != nil {
			_, _ = two.flat.operation()
		}
	})
}
