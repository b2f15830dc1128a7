package egress_test

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/atoll-social/atoll/internal/egress"
)

// ordinary is how documents are fetched.
var ordinary = egress.Limits{Timeout: time.Minute, MaxBytes: 1 << 10}

// tlsServer listens on 127.0.0.1 with a certificate for example.com and for
// the address itself.
func tlsServer(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewTLSServer(h)
	t.Cleanup(s.Close)
	return s
}

func addrPort(t *testing.T, s *httptest.Server) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// rootsOf trusts the certificate of test servers (they all have the same one).
func rootsOf(s *httptest.Server) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

func newGuard(t *testing.T, cfg egress.Config) *egress.Guard {
	t.Helper()
	g, err := egress.New(cfg)
	if err != nil {
		t.Fatalf("egress.New = %v", err)
	}
	t.Cleanup(g.Close)
	return g
}

// guardFor may reach the given servers, as the operator's own.
func guardFor(t *testing.T, servers ...*httptest.Server) *egress.Guard {
	t.Helper()
	cfg := egress.Config{RootCAs: rootsOf(servers[0])}
	for _, s := range servers {
		cfg.Allow = append(cfg.Allow, addrPort(t, s))
	}
	return newGuard(t, cfg)
}

func get(t *testing.T, client *http.Client, address string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err == nil {
		t.Cleanup(func() { _ = resp.Body.Close() })
	}
	return resp, err
}

// wantBlocked checks that err is a *BlockedError for addr.
func wantBlocked(t *testing.T, what string, err error, addr string) {
	t.Helper()
	var blocked *egress.BlockedError
	if !errors.As(err, &blocked) || blocked.Addr != netip.MustParseAddr(addr) {
		t.Errorf("%s = %v, want a BlockedError for %s", what, err, addr)
	}
}

// nameServer answers A queries for every name with addrs(name), on loopback.
func nameServer(t *testing.T, addrs func(name string) []string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		answer := new(dns.Msg).SetReply(query)
		if question := query.Question[0]; question.Qtype == dns.TypeA {
			for _, addr := range addrs(question.Name) {
				answer.Answer = append(answer.Answer, &dns.A{
					Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
					A:   net.ParseIP(addr),
				})
			}
		}
		_ = w.WriteMsg(answer)
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func TestPrivateAddressesAreRefusedHoweverTheyAreWritten(t *testing.T) {
	t.Parallel()
	client := newGuard(t, egress.Config{}).Client(ordinary)
	for address, addr := range map[string]string{
		"https://127.0.0.1/":                  "127.0.0.1",
		"https://127.0.0.1:8443/":             "127.0.0.1",
		"https://[::1]/":                      "::1",
		"https://[::ffff:127.0.0.1]/":         "127.0.0.1",
		"https://[::ffff:a9fe:a9fe]/":         "169.254.169.254",
		"https://169.254.169.254/latest/":     "169.254.169.254",
		"https://[64:ff9b::169.254.169.254]/": "64:ff9b::169.254.169.254",
		"https://[64:ff9b::7f00:1]/":          "64:ff9b::127.0.0.1",
		"https://[2002:7f00:1::]/":            "2002:7f00:1::",
		"https://[2001:0:7f00:1::]/":          "2001:0:7f00:1::",
		"https://[fe80::1]/":                  "fe80::1",
		"https://[fd00::1]/":                  "fd00::1",
		"https://10.1.2.3/":                   "10.1.2.3",
		"https://100.64.0.1/":                 "100.64.0.1",
		"https://192.168.0.1/":                "192.168.0.1",
		"https://172.20.0.1/":                 "172.20.0.1",
		"https://224.0.0.1/":                  "224.0.0.1",
	} {
		_, err := get(t, client, address)
		wantBlocked(t, "GET "+address, err, addr)
	}
}

func TestNamesOfPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	resolver := nameServer(t, func(string) []string { return []string{"10.0.0.7", "192.168.0.9"} })
	_, err := get(t, newGuard(t, egress.Config{Resolver: resolver}).Client(ordinary), "https://evil.example/")
	wantBlocked(t, "GET evil.example", err, "10.0.0.7")
}

// A rebinding name answers an address that may be reached first, and a private
// one when it is asked again. The address standing for the reachable one is the
// test server's, opened by Allow; the private one has a listener as well, which
// must not see a connection.
func TestRebindingNamesAreJudgedAtEveryConnection(t *testing.T) {
	t.Parallel()
	server := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	port := addrPort(t, server).Port()
	private, err := net.Listen("tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port).String())
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	var asked atomic.Int32
	resolver := nameServer(t, func(string) []string {
		if asked.Add(1) == 1 {
			return []string{"127.0.0.1"}
		}
		return []string{"127.0.0.2"}
	})
	g := newGuard(t, egress.Config{
		Allow: []netip.AddrPort{addrPort(t, server)}, Resolver: resolver, RootCAs: rootsOf(server),
	})
	address := "https://example.com:" + strings.Split(server.Listener.Addr().String(), ":")[1] + "/"
	if _, err := get(t, g.Client(ordinary), address); err != nil {
		t.Fatalf("first GET = %v, want success", err)
	}
	_, err = get(t, g.Client(ordinary), address)
	wantBlocked(t, "GET after rebinding", err, "127.0.0.2")
	if asked.Load() < 2 {
		t.Errorf("the name was looked up %d times, want 2", asked.Load())
	}
	assertNoConnection(t, private)
}

// One answer with a reachable and a private address: whichever is tried, the
// private one is never connected to.
func TestMixedAnswersNeverReachThePrivateAddress(t *testing.T) {
	t.Parallel()
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer private.Close()
	port := strings.Split(private.Addr().String(), ":")[1]
	closed := netip.MustParseAddrPort("127.0.0.3:" + port) // allowed, nobody listens
	resolver := nameServer(t, func(string) []string { return []string{"127.0.0.3", "127.0.0.1"} })
	g := newGuard(t, egress.Config{Allow: []netip.AddrPort{closed}, Resolver: resolver})
	if _, err := get(t, g.Client(ordinary), "https://evil.example:"+port+"/"); err == nil {
		t.Error("GET = nil, want an error")
	}
	assertNoConnection(t, private)
}

func assertNoConnection(t *testing.T, l net.Listener) {
	t.Helper()
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if conn, err := l.Accept(); err == nil {
		_ = conn.Close()
		t.Errorf("somebody connected to %s", l.Addr())
	}
}

func TestPlainHTTPIsRefused(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	g := newGuard(t, egress.Config{Allow: []netip.AddrPort{addrPort(t, server)}})
	if _, err := get(t, g.Client(ordinary), server.URL); !errors.Is(err, egress.ErrPlainHTTP) {
		t.Errorf("GET %s = %v, want ErrPlainHTTP", server.URL, err)
	}
}

func TestDevReachesLoopbackByPlainHTTPAndNothingElse(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer server.Close()
	resolver := nameServer(t, func(name string) []string {
		if name == "home.example." {
			return []string{"127.0.0.1"}
		}
		return []string{"192.168.0.1"}
	})
	client := newGuard(t, egress.Config{Dev: true, Resolver: resolver}).Client(ordinary)
	port := strings.Split(server.Listener.Addr().String(), ":")[1]
	for _, address := range []string{server.URL, "http://localhost:" + port, "http://home.example:" + port} {
		if _, err := get(t, client, address); err != nil {
			t.Errorf("GET %s in dev = %v, want success", address, err)
		}
	}
	_, err := get(t, client, "http://lan.example/")
	wantBlocked(t, "GET lan.example in dev", err, "192.168.0.1")
	_, err = get(t, client, "https://10.0.0.1/")
	wantBlocked(t, "GET 10.0.0.1 in dev", err, "10.0.0.1")
}

func TestAddressesThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	client := newGuard(t, egress.Config{Dev: true}).Client(ordinary)
	for _, address := range []string{
		"ftp://example.com/", "file://host/etc/passwd", "https://user:pass@127.0.0.1/", "https://:443/x", "gopher://x/",
	} {
		if _, err := get(t, client, address); !errors.Is(err, egress.ErrBadURL) {
			t.Errorf("GET %s = %v, want ErrBadURL", address, err)
		}
	}
}

func TestRouteLeadsAnHTTPSNameToLoopback(t *testing.T) {
	t.Parallel()
	var host, scheme atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host.Store(r.Host)
		scheme.Store(r.TLS == nil)
		if r.URL.Path == "/old" {
			http.Redirect(w, r, "/new", http.StatusFound)
		}
	}))
	defer server.Close()
	g := newGuard(t, egress.Config{Route: func(name string) (string, bool) {
		switch name {
		case "pds1.test":
			return server.Listener.Addr().String(), true
		case "outside.test":
			return "93.184.216.34:80", true
		}
		return "", false
	}})
	limits := ordinary
	limits.Redirects = 1
	resp, err := get(t, g.Client(limits), "https://PDS1.test:443/old")
	if err != nil {
		t.Fatalf("GET = %v", err)
	}
	if got := resp.Request.URL.String(); got != "https://PDS1.test:443/new" {
		t.Errorf("address of the response = %s, want the https name", got)
	}
	if host.Load() != "PDS1.test:443" || scheme.Load() != true {
		t.Errorf("server saw host %v, plain %v; want the name, by plain http", host.Load(), scheme.Load())
	}
	if _, err := get(t, g.Client(limits), "https://outside.test/"); !errors.Is(err, egress.ErrPlainHTTP) {
		t.Errorf("GET of a route that leaves loopback = %v, want ErrPlainHTTP", err)
	}
	if _, err := get(t, g.Client(limits), "https://127.0.0.1/"); err == nil {
		t.Error("GET of a host without a route got past the guard")
	}
}
