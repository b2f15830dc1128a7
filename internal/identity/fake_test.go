package identity_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/atoll-social/atoll/internal/identity"
)

const plcURL = "https://plc.atoll-tests.net"

// world is a small internet on loopback: web servers by host name, the PLC
// directory among them, and a name server. Hosts that nobody
// set up do not exist.
type world struct {
	dns *net.Resolver
	url *url.URL

	mu    sync.Mutex
	hosts map[string]http.HandlerFunc
	docs  map[syntax.DID]string
	txt   map[string]answer
	addrs map[string][4]byte // by host name with its final dot
	asked map[string]int     // by "https://host/path" or "TXT name"
	now   time.Time
}

// answer is what the name server says to one name.
type answer struct {
	code    dnsmessage.RCode
	records []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{
		hosts: make(map[string]http.HandlerFunc),
		docs:  make(map[syntax.DID]string),
		txt:   make(map[string]answer),
		addrs: make(map[string][4]byte),
		asked: make(map[string]int),
		now:   time.Date(2026, 11, 2, 9, 0, 0, 0, time.UTC),
	}
	server := httptest.NewServer(http.HandlerFunc(w.serveHTTP))
	t.Cleanup(server.Close)
	w.url, _ = url.Parse(server.URL)
	w.dns = w.startDNS(t)
	w.host("plc.atoll-tests.net", func(rw http.ResponseWriter, r *http.Request) {
		did := syntax.DID(strings.TrimPrefix(r.URL.Path, "/"))
		w.mu.Lock()
		doc, ok := w.docs[did]
		w.mu.Unlock()
		if !ok {
			http.Error(rw, `{"message":"DID not registered: `+did.String()+`"}`, http.StatusNotFound)
			return
		}
		rw.Header().Set("Content-Type", "application/did+ld+json")
		fmt.Fprint(rw, doc)
	})
	return w
}

// RoundTrip sends a request for any known host to the one server on loopback.
func (w *world) RoundTrip(req *http.Request) (*http.Response, error) {
	host := req.URL.Hostname()
	w.mu.Lock()
	_, known := w.hosts[host]
	w.asked[req.URL.Scheme+"://"+req.URL.Host+req.URL.Path]++
	w.mu.Unlock()
	if !known {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	out := req.Clone(req.Context())
	if out.Host == "" {
		out.Host = req.URL.Host
	}
	out.Header.Set("Fake-Target", host)
	out.URL.Scheme, out.URL.Host = "http", w.url.Host
	return http.DefaultTransport.RoundTrip(out)
}

func (w *world) serveHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	h := w.hosts[r.Header.Get("Fake-Target")]
	w.mu.Unlock()
	h(rw, r)
}

func (w *world) host(name string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[name] = h
}

// wellKnown makes host answer body at /.well-known/{name}.
func (w *world) wellKnown(host, name string, status int, body string) {
	w.host(host, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/"+name {
			http.NotFound(rw, r)
			return
		}
		rw.WriteHeader(status)
		fmt.Fprint(rw, body)
	})
}

func (w *world) dnsDID(handle string, dids ...string) {
	var records []string
	for _, did := range dids {
		records = append(records, "did="+did)
	}
	w.dnsAnswer(handle, answer{records: records})
}

func (w *world) dnsAnswer(handle string, a answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.txt["_atproto."+handle+"."] = a
}

// account registers a DID document that names handle (empty: none) and pds.
func (w *world) account(did syntax.DID, handle, pds string) {
	var names []string
	if handle != "" {
		names = append(names, "at://"+handle)
	}
	w.document(did, document(did, names, pds))
}

func (w *world) document(did syntax.DID, doc string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.docs[did] = doc
}

func document(did syntax.DID, alsoKnownAs []string, pds string) string {
	doc, _ := json.Marshal(map[string]any{
		"@context":    []string{"https://www.w3.org/ns/did/v1"},
		"id":          did,
		"alsoKnownAs": alsoKnownAs,
		"verificationMethod": []any{map[string]any{
			"id": did.String() + "#atproto", "type": "Multikey", "controller": did,
			"publicKeyMultibase": "zQ3shsJcHdhfpKyF3U6rBQziDHsY1ikwCAsqGWhdC1tgaPQxq",
		}},
		"service": []any{map[string]any{
			"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": pds,
		}},
	})
	return string(doc)
}

// requests returns how often the URL, or "TXT name", was asked for.
func (w *world) requests(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[what]
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// directory makes a Directory in this world, changed by edit.
func (w *world) directory(t *testing.T, edit ...func(*identity.Config)) *identity.Directory {
	t.Helper()
	cfg := identity.Config{HTTP: &http.Client{Transport: w}, DNS: w.dns, PLCURL: plcURL, Now: w.clock}
	for _, f := range edit {
		f(&cfg)
	}
	d, err := identity.New(cfg)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	return d
}

// startDNS serves questions for TXT and A (RFC 1035) over UDP on loopback.
func (w *world) startDNS(t *testing.T) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listen for DNS: %v", err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			if reply := w.answerDNS(buf[:n]); reply != nil {
				conn.WriteTo(reply, from)
			}
		}
	}()
	var dialer net.Dialer
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (w *world) answerDNS(query []byte) []byte {
	var msg dnsmessage.Message
	if msg.Unpack(query) != nil || len(msg.Questions) != 1 {
		return nil
	}
	q := msg.Questions[0]
	w.mu.Lock()
	a, ok := w.txt[q.Name.String()]
	addr, hasAddr := w.addrs[q.Name.String()]
	w.asked["TXT "+q.Name.String()]++
	w.mu.Unlock()
	if !ok && !hasAddr {
		a.code = dnsmessage.RCodeNameError
	}
	reply := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: msg.ID, Response: true, RecursionAvailable: true, RCode: a.code},
		Questions: msg.Questions,
	}
	for _, text := range a.records {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.TXTResource{TXT: chunks(text)},
		})
	}
	if hasAddr && q.Type == dnsmessage.TypeA {
		reply.Answers = append(reply.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET, TTL: 1},
			Body:   &dnsmessage.AResource{A: addr},
		})
	}
	packed, err := reply.Pack()
	if err != nil {
		return nil
	}
	return packed
}

// chunks splits a TXT value into character strings of at most 255 bytes.
func chunks(s string) []string {
	var out []string
	for len(s) > 255 {
		out, s = append(out, s[:255]), s[255:]
	}
	return append(out, s)
}
