package ingest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/miekg/dns"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// hostWorld is the domains of a network: one server plays all of them, by the
// name that it is asked as.
type hostWorld struct {
	hits    atomic.Int64
	answers map[string]http.HandlerFunc
	guard   *egress.Guard
	now     time.Time
}

const good = `{"id":"did:web:good.example.com","alsoKnownAs":["at://good.example.com"]}`

func newHostWorld(t *testing.T, answers map[string]http.HandlerFunc) *hostWorld {
	t.Helper()
	w := &hostWorld{answers: answers, now: time.Now()}
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.hits.Add(1)
		if answer := w.answers[r.Host]; answer != nil && r.URL.Path == "/.well-known/did.json" {
			answer(rw, r)
			return
		}
		http.NotFound(rw, r)
	}))
	t.Cleanup(server.Close)
	addr := server.Listener.Addr().String()
	var err error
	w.guard, err = egress.New(egress.Config{Resolver: privateNames(t), Route: func(host string) (string, bool) {
		return addr, w.answers[host] != nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// privateNames resolves every name to an address on loopback.
func privateNames(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		if q := query.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = append(answer.Answer, &dns.A{A: net.IPv4(127, 0, 0, 1),
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}})
		}
		_ = w.WriteMsg(answer)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = conn.Close() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// says is a host that answers with a text.
func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }
}

// checker verifies claims in w.
func (w *hostWorld) checker(t *testing.T, db *store.DB, timeout time.Duration) (*hostChecker, *index.Index) {
	t.Helper()
	r := command(t, db, nil)
	x, err := index.New(index.Config{DB: db, Now: func() time.Time { return w.now }})
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Index, r.cfg.Now = x, func() time.Time { return w.now }
	r.cfg.Hosting = Hosting{HTTP: w.guard.Client(egress.Limits{Timeout: timeout, MaxBytes: 1 << 20}),
		Own: "did:web:own.example.com", Hosts: func(h syntax.Handle) bool { return strings.HasSuffix(h.String(), ".c.example.net") }}
	return newHostChecker(r.Ingester), x
}

// claim makes did a community that says who hosts it.
func claim(t *testing.T, db *store.DB, x *index.Index, did syntax.DID, handle, hostedBy string) {
	t.Helper()
	commit, drops := x.Prepare(did, rev(1), []index.Op{{Action: index.Create, Collection: index.CommunityCollection, RKey: "self",
		CID: "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a", Record: map[string]any{
			"$type": string(index.CommunityCollection), "name": "commons", "createdAt": "2026-01-01T00:00:00Z",
			"createdBy": alice, "hostedBy": hostedBy}}})
	if len(drops) > 0 {
		t.Fatalf("the community is dropped: %v", drops)
	}
	err := db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := x.Apply(t.Context(), tx, []index.Commit{commit})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	due, err := x.Unresolved(t.Context(), "did:plc:", 1000)
	for _, u := range due {
		if err == nil && u.DID == did {
			err = x.Resolve(t.Context(), u, index.Answer{Identity: index.Identity{Handle: syntax.Handle(handle)}})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

func shows(t *testing.T, x *index.Index, did syntax.DID) bool {
	t.Helper()
	_, ok, err := x.Community(t.Context(), did)
	if err != nil {
		t.Fatal(err)
	}
	return ok
}

// TestHostingClaims holds H7: a community is shown only if its host's domain is
// that of its handle and the host says so; whatever else a host does, its
// community is refused, and nothing private is reached.
func TestHostingClaims(t *testing.T) {
	t.Parallel()
	huge := `{"id":"did:web:good.example.com","x":"` + strings.Repeat("x", 256<<10) + `","alsoKnownAs":["at://good.example.com"]}`
	tests := []struct {
		name, handle, host string
		answer             http.HandlerFunc // of good.example.com
		shown              bool
		hits               int64 // that there must be
	}{
		{"the host confirms", "c.good.example.com", "did:web:good.example.com", says(good), true, 1},
		{"a sister of the host's name", "c.groups.example.com", "did:web:good.example.com", says(good), true, 1},
		{"another's host", "c.evil.org", "did:web:good.example.com", says(good), false, 0},
		{"a look-alike", "c.goodexample.com", "did:web:good.example.com", says(good), false, 0},
		{"neighbours under a public suffix", "evil.github.io", "did:web:good.github.io", says(good), false, 0},
		{"a public suffix as host", "c.github.io", "did:web:github.io", says(good), false, 0},
		{"no handle", "", "did:web:good.example.com", says(good), false, 0},
		{"no did:web", "c.good.example.com", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", says(good), false, 0},
		{"no DID's host", "c.good.example.com", "did:web:%31%30.0.0.1", says(good), false, 0},
		{"a port", "c.good.example.com", "did:web:good.example.com%3A8443", says(good), false, 0},
		{"a path", "c.good.example.com", "did:web:good.example.com:users:mallory", says(good), false, 0},
		{"upper case", "c.good.example.com", "did:web:GOOD.example.com", says(good), false, 0},
		{"an address", "c.good.example.com", "did:web:127.0.0.1", says(good), false, 0},
		{"a private address", "c.private.example.com", "did:web:private.example.com", says(good), false, 0},
		{"a document with another id", "c.good.example.com", "did:web:good.example.com",
			says(strings.Replace(good, "did:web:good", "did:web:evil", 1)), false, 1},
		{"a document that does not name its domain", "c.good.example.com", "did:web:good.example.com",
			says(`{"id":"did:web:good.example.com","alsoKnownAs":["at://good.example.com.evil.org","at://evil.org/good.example.com"]}`), false, 1},
		{"a document without names", "c.good.example.com", "did:web:good.example.com", says(`{"id":"did:web:good.example.com"}`), false, 1},
		{"no document", "c.good.example.com", "did:web:good.example.com", http.NotFound, false, 1},
		{"garbage", "c.good.example.com", "did:web:good.example.com", says("<html>"), false, 1},
		{"a huge document", "c.good.example.com", "did:web:good.example.com", says(huge), false, 1},
		{"a redirect to a good document", "c.good.example.com", "did:web:good.example.com", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://other.example.com/.well-known/did.json", http.StatusFound)
		}, false, 1},
		{"a failing host", "c.good.example.com", "did:web:good.example.com",
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, false, 1},
		{"a slow host", "c.good.example.com", "did:web:good.example.com", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false, 1},
		{"this instance", "garden.c.example.net", "did:web:own.example.com", says(good), true, 0},
		{"a stranger's claim of this instance", "garden.own.example.com", "did:web:own.example.com", says(good), false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t, store.SQLite) // TestHostingAgain has both engines
			w := newHostWorld(t, map[string]http.HandlerFunc{"good.example.com": tt.answer, "other.example.com": says(good)})
			h, x := w.checker(t, db, 200*time.Millisecond)
			claim(t, db, x, commons, tt.handle, tt.host)
			if _, err := h.round(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := shows(t, x, commons); got != tt.shown {
				t.Errorf("shown: %v, want %v", got, tt.shown)
			}
			if got := w.hits.Load(); got != tt.hits {
				t.Errorf("%d requests, want %d", got, tt.hits)
			}
		})
	}
}

// TestHostingAgain holds how long answers count: a confirmed host is asked
// after a day and not before, one that is only away keeps its communities for
// a while, one that takes its word back loses them, and one that mends itself
// has them shown.
func TestHostingAgain(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		answers := map[string]http.HandlerFunc{"good.example.com": says(good)}
		w := newHostWorld(t, answers)
		h, x := w.checker(t, db, time.Second)
		claim(t, db, x, commons, "c.good.example.com", "did:web:good.example.com")
		round := func(after time.Duration, answer http.HandlerFunc, hits int64, shown bool) {
			t.Helper()
			answers["good.example.com"] = answer
			w.now = w.now.Add(after)
			before := w.hits.Load()
			if _, err := h.round(t.Context()); err != nil {
				t.Fatal(err)
			}
			if asked := w.hits.Load() - before; asked != hits || shows(t, x, commons) != shown {
				t.Errorf("after %v: asked %d times, want %d; shown %v, want %v", after, asked, hits, !shown, shown)
			}
		}
		away := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
		round(0, says(good), 1, true)
		round(23*time.Hour, says(good), 0, true)
		round(4*time.Hour, says(good), 1, true)
		round(27*time.Hour, away, 1, true)
		for range hostPatience - 1 {
			round(27*time.Hour, away, 1, true)
		}
		round(27*time.Hour, away, 1, false)
		round(27*time.Hour, says(good), 1, true)
		round(27*time.Hour, says(`{}`), 1, false)
		round(time.Minute, says(good), 0, false)
		round(6*time.Minute, says(good), 1, true)
	})
}

// TestHostingFlood holds that answers are remembered, that memory is bounded,
// and that a domain with countless names does not keep others waiting.
func TestHostingFlood(t *testing.T) {
	t.Parallel()
	w := newHostWorld(t, map[string]http.HandlerFunc{"good.example.com": says(good)})
	db := storetest.New(t, store.SQLite)
	h, x := w.checker(t, db, time.Second)
	for n := range 3 {
		claim(t, db, x, syntax.DID(fmt.Sprintf("did:plc:community%d", n)), fmt.Sprintf("c%d.good.example.com", n), "did:web:good.example.com")
		if _, err := h.round(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if hits := w.hits.Load(); hits != 1 {
		t.Errorf("a host was asked %d times for three communities, want once", hits)
	}
	allowed := 0
	for range 100 {
		if h.turn("evil.org", w.now) {
			allowed++
		}
	}
	if allowed != domainBurst || !h.turn("good.org", w.now) {
		t.Errorf("%d documents of one domain at once, want %d, and others not held up", allowed, domainBurst)
	}
	for n := range 3 * hostsKept {
		h.turn(fmt.Sprintf("d%d.org", n), w.now)
		h.remember(syntax.DID(fmt.Sprintf("did:web:d%d.org", n)), hostAnswer{until: w.now.Add(time.Hour)})
	}
	if len(h.answers) > hostsKept || len(h.domains) > hostsKept {
		t.Errorf("%d answers and %d domains in memory", len(h.answers), len(h.domains))
	}
}

// FuzzHostDocument holds that only a document with the host's id and name
// confirms anything.
func FuzzHostDocument(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"id":"did:web:good.example.com","alsoKnownAs":["https://good.example.com/"]}`))
	f.Add([]byte(`{"id":7,"alsoKnownAs":{}}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		err := confirms(bytes.NewReader(document), "did:web:good.example.com", "good.example.com")
		if err == nil && !bytes.Contains(bytes.ToLower(document), []byte("good.example.com")) && !bytes.Contains(document, []byte(`\u`)) {
			t.Errorf("%q confirms a host that it does not name", document)
		}
	})
}
