package account

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

const alice = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")

// wire carries requests to the real servers, and spoils what a test wants spoilt.
type wire struct {
	next http.RoundTripper
	mu   sync.Mutex
	// spoil may answer in the place of the server; nil, nil lets a call through.
	spoil func(method string, req *http.Request) (*http.Response, error)
	// lose drops the answers of calls that the server has carried out.
	lose  map[string]bool
	once  bool // lose only one answer of each
	calls map[string]int
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	method := req.URL.Path[strings.LastIndexByte(req.URL.Path, '/')+1:]
	w.mu.Lock()
	w.calls[method]++
	spoil, lose := w.spoil, w.lose[method]
	if w.once {
		delete(w.lose, method)
	}
	w.mu.Unlock()
	if spoil != nil {
		if res, err := spoil(method, req); res != nil || err != nil {
			return res, err
		}
	}
	res, err := w.next.RoundTrip(req)
	if err == nil && lose {
		res.Body.Close()
		return nil, errors.New("connection reset")
	}
	return res, err
}

func (w *wire) set(spoil func(method string, req *http.Request) (*http.Response, error), lose ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoil, w.lose, w.once = spoil, map[string]bool{}, false
	for _, method := range lose {
		w.lose[method] = true
	}
}

// loseOne drops the next answer of a call, and lets all others through.
func (w *wire) loseOne(method string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.spoil, w.lose, w.once = nil, map[string]bool{method: true}, true
}

func (w *wire) count(method string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.calls[method]
}

// answer is a response of a server that misbehaves.
func answer(req *http.Request, status int, body string, headers ...string) *http.Response {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i < len(headers); i += 2 {
		h.Set(headers[i], headers[i+1])
	}
	return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: req, ProtoMajor: 1, ProtoMinor: 1}
}

// on answers calls of one method.
func on(want string, status int, body string) func(string, *http.Request) (*http.Response, error) {
	return func(method string, req *http.Request) (*http.Response, error) {
		if method != want {
			return nil, nil //nolint:nilnil // goes through
		}
		if status == 0 {
			return nil, errors.New("connection reset")
		}
		return answer(req, status, body), nil
	}
}

// world is a Manager on the official servers, as one process has it.
type world struct {
	*Manager
	t     *testing.T
	net   *network.Network
	wire  *wire
	queue *job.Queue
	ring  *keyring.Ring
	skew  *atomic.Int64 // of the clock
	log   *buffer
	home  int // index of the PDS
}

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const testKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// newWorld makes a Manager; change may alter what it is made of.
func newWorld(t *testing.T, n *network.Network, db *store.DB, change ...func(*Config)) *world {
	t.Helper()
	ring, err := keyring.Parse(testKey)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, net: n, ring: ring, skew: &atomic.Int64{}, log: &buffer{}}
	cfg, err := config(n, db, w.log, w.now)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Ring = ring
	w.wire = cfg.HTTP.Transport.(*wire)
	w.queue = cfg.Queue
	for _, c := range change {
		c(&cfg)
	}
	if w.Manager, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return w
}

// config is what a process is made of that hosts on the first PDS.
func config(n *network.Network, db *store.DB, log io.Writer, now func() time.Time) (Config, error) {
	guard, err := egress.New(egress.Config{Route: n.Route, Dev: true})
	if err != nil {
		return Config{}, err
	}
	plain := guard.Client(egress.Limits{Timeout: 15 * time.Second, MaxBytes: 4 << 20})
	through := &wire{next: plain.Transport, calls: map[string]int{}}
	local := map[string]string{}
	for _, p := range n.PDS {
		local[p.HandleDomain] = p.URL
	}
	dir, err := identity.New(identity.Config{HTTP: plain, PLCURL: n.PLC, Dev: true, DevHandles: local})
	if err != nil {
		return Config{}, err
	}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	queue, err := job.New(job.Config{DB: db, Logger: logger, Now: now,
		Timing: job.Timing{Poll: 10 * time.Millisecond, Backoff: 10 * time.Millisecond}})
	if err != nil {
		return Config{}, err
	}
	return Config{
		DB: db, Queue: queue, Directory: dir, PLCURL: n.PLC, Logger: logger, Now: now,
		HTTP: &http.Client{Transport: through, CheckRedirect: plain.CheckRedirect, Timeout: plain.Timeout},
		Hosting: Hosting{
			PDS: n.PDS[0].URL, AdminPassword: keyring.NewSecret(n.AdminPassword), Mint: true,
			HandleDomain: n.PDS[0].HandleDomain[1:], EmailDomain: n.PDS[0].HandleDomain[1:],
		},
	}, nil
}

func (w *world) now() time.Time { return time.Now().Add(time.Duration(w.skew.Load())) }

// request is one for a community with a name of its own.
func request() Request {
	return named(network.Name("town"))
}

func named(name string) Request {
	return Request{Name: name, CreatedBy: alice, Key: "key of " + name, Record: map[string]any{
		"$type": Profile.String(), "name": name, "createdAt": "2026-11-21T12:00:00.000Z", "createdBy": alice.String(),
		"hostedBy": "did:web:atoll.example.org",
	}}
}

func (w *world) provision(req Request) Hosted {
	w.t.Helper()
	h, err := w.Provision(w.t.Context(), req)
	if err != nil {
		w.t.Fatalf("Provision %s: %v", req.Name, err)
	}
	return h
}

// atPDS asks the PDS itself who has a handle.
func (w *world) atPDS(name string) (did string, there bool) {
	w.t.Helper()
	q := url.Values{"handle": {name + w.net.PDS[w.home].HandleDomain}}
	res, err := w.net.Client().Get(w.net.PDS[w.home].URL + "/xrpc/com.atproto.identity.resolveHandle?" + q.Encode())
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(body), res.StatusCode == http.StatusOK
}

func (w *world) nothingLeft(name string) {
	w.t.Helper()
	if said, there := w.atPDS(name); there {
		w.t.Errorf("the PDS has an account %s: %s", name, said)
	}
}

// work lets the queue do what is due, until want of the account is its state.
func (w *world) work(id string, want state) {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.queue.Run(ctx) }()
	deadline := time.Now().Add(30 * time.Second)
	var is state
	for is != want && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
		is = w.row(id).state
	}
	stop()
	if err := <-ended; err != nil {
		w.t.Errorf("queue: %v", err)
	}
	if is != want {
		w.t.Fatalf("account is %s, want %s; problem %q\n%s", is, want, w.row(id).problem, w.log)
	}
}

func (w *world) row(which string) *row {
	w.t.Helper()
	r, err := w.find(context.WithoutCancel(w.t.Context()), which)
	if err != nil {
		w.t.Fatalf("find %s: %v", which, err)
	}
	return r
}

// later moves the clock.
func (w *world) later(d time.Duration) { w.skew.Add(int64(d)) }

// acting is a client that writes as the account.
func (w *world) acting(did syntax.DID) *pds.Client {
	w.t.Helper()
	d, hosted, err := w.Doer(w.t.Context(), did)
	if err != nil || !hosted {
		w.t.Fatalf("Doer: hosted %t, %v", hosted, err)
	}
	c, err := pds.New(pds.Config{Origin: w.net.PDS[0].URL, HTTP: d})
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// update writes something as the account.
func (w *world) update(ctx context.Context, did syntax.DID, key string) error {
	_, err := w.acting(did).PutRecord(ctx, pds.PutRecord{
		Place:  pds.Place{Repo: did, Collection: "social.coves.community.rules", RKey: syntax.RecordKey(key)},
		Record: map[string]any{"$type": "social.coves.community.rules", "text": key},
	})
	return err
}

// change alters a row directly, as time or an accident would.
func (w *world) change(id string, do func(*row)) {
	w.t.Helper()
	h, err := w.hold(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	do(h.row)
	if err := h.save(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	h.release(w.t.Context())
}

// each runs fn on both engines with a Manager on the shared network.
func each(t *testing.T, fn func(t *testing.T, w *world)) {
	t.Helper()
	storetest.Each(t, func(t *testing.T, db *store.DB) { fn(t, newWorld(t, network.Shared(t), db)) })
}

// reason is why err says that something failed.
func reason(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return "no reason"
}
