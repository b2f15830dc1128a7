package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/egress"
)

func TestRedirectsToPrivateAddressesAreRefused(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	server = tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/chain" {
			http.Redirect(w, r, server.URL+"/?to="+r.URL.Query().Get("to"), http.StatusFound)
			return
		}
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusFound)
	})
	client := guardFor(t, server).Client(egress.Limits{Timeout: 5 * time.Second, MaxBytes: 100, Redirects: 3})
	for _, path := range []string{"/?to=", "/chain?to="} {
		_, err := get(t, client, server.URL+path+"https://169.254.169.254/latest/meta-data")
		wantBlocked(t, "redirect "+path, err, "169.254.169.254")
		_, err = get(t, client, server.URL+path+"https://127.0.0.1:1/")
		wantBlocked(t, "redirect "+path, err, "127.0.0.1")
	}
	if _, err := get(t, client, server.URL+"/?to=http://example.com/"); !errors.Is(err, egress.ErrPlainHTTP) {
		t.Errorf("redirect to plain http = %v, want ErrPlainHTTP", err)
	}
	if _, err := get(t, client, server.URL+"/?to=https://me:pw@127.0.0.1/"); !errors.Is(err, egress.ErrBadURL) {
		t.Errorf("redirect to an address with a password = %v, want ErrBadURL", err)
	}
}

func TestRedirectsAreCountedAndHandedBackWithoutAny(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	server = tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if left := strings.TrimPrefix(r.URL.Path, "/x"); left != "" {
			http.Redirect(w, r, server.URL+left, http.StatusTemporaryRedirect)
		}
	})
	g := guardFor(t, server)
	limits := egress.Limits{Timeout: 5 * time.Second, MaxBytes: 100}
	if resp, err := get(t, g.Client(limits), server.URL+"/x/x"); err != nil || resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("GET with no redirects = %v, %v; want the redirect itself", resp, err)
	}
	limits.Redirects = 2
	if resp, err := get(t, g.Client(limits), server.URL+"/x/x/x"); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("GET over two redirects = %v, %v; want 200", resp, err)
	}
	if _, err := get(t, g.Client(limits), server.URL+"/x/x/x/x"); !errors.Is(err, egress.ErrTooManyRedirects) {
		t.Errorf("GET over three redirects = %v, want ErrTooManyRedirects", err)
	}
	resp, err := g.Client(limits).Post(server.URL+"/x/x", "text/plain", strings.NewReader("secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusTemporaryRedirect {
		t.Errorf("POST = %d, want the redirect: a body is not sent on", resp.StatusCode)
	}
}

func TestCredentialsStayWithTheirOrigin(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 1)
	other := tlsServer(t, func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header })
	first := tlsServer(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) })
	client := guardFor(t, first, other).Client(egress.Limits{Timeout: 5 * time.Second, Redirects: 1})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, first.URL+"/private?x=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "DPoP token")
	req.Header.Set("DPoP", "proof")
	req.Header.Set("Cookie", "a=b")
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got := <-seen
	for _, name := range []string{"Authorization", "DPoP", "Cookie", "Referer"} {
		if value := got.Get(name); value != "" {
			t.Errorf("the other origin (another port) got %s: %s", name, value)
		}
	}
}

func TestBodiesAreCappedWhenRead(t *testing.T) {
	t.Parallel()
	zeros := func(n int) []byte { return make([]byte, n) }
	var bomb bytes.Buffer
	zip := gzip.NewWriter(&bomb)
	if _, err := zip.Write(zeros(8 << 20)); err != nil || zip.Close() != nil {
		t.Fatal(err)
	}
	server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/exact":
			_, _ = w.Write(zeros(1000))
		case "/over":
			_, _ = w.Write(zeros(1001))
		case "/bomb":
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(zeros(4096))
			}
		}
	})
	client := guardFor(t, server).Client(egress.Limits{Timeout: 20 * time.Second, MaxBytes: 1000})
	for path, want := range map[string]error{
		"/exact": nil, "/over": egress.ErrTooLarge, "/bomb": egress.ErrTooLarge, "/endless": egress.ErrTooLarge,
	} {
		resp, err := get(t, client, server.URL+path)
		if err != nil {
			t.Fatalf("GET %s = %v", path, err)
		}
		body, err := io.ReadAll(resp.Body)
		if !errors.Is(err, want) || len(body) != 1000 {
			t.Errorf("reading %s = %d bytes, %v; want 1000 bytes, %v", path, len(body), err, want)
		}
		if _, again := resp.Body.Read(make([]byte, 1)); want != nil && !errors.Is(again, want) {
			t.Errorf("reading %s on = %v, want %v again", path, again, want)
		}
	}
}

func TestTheWholeRequestHasATimeout(t *testing.T) {
	t.Parallel()
	server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" { // one byte at a time, for ever
			for r.Context().Err() == nil {
				_, _ = w.Write([]byte("x"))
				_ = http.NewResponseController(w).Flush()
			}
			return
		}
		<-r.Context().Done()
	})
	guard, limits := guardFor(t, server), egress.Limits{Timeout: 100 * time.Millisecond, MaxBytes: 1 << 40}
	if _, err := get(t, guard.Client(limits), server.URL+"/headers"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("GET without an answer = %v, want deadline exceeded", err)
	}
	resp, err := get(t, guard.Client(limits), server.URL+"/body")
	for errors.Is(err, context.DeadlineExceeded) && limits.Timeout < time.Minute { // a busy machine takes longer for the headers
		limits.Timeout *= 2
		resp, err = get(t, guard.Client(limits), server.URL+"/body")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("reading a body without end = %v, want deadline exceeded", err)
	}
}

func TestHeadersAreCapped(t *testing.T) {
	t.Parallel()
	server := tlsServer(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Big", strings.Repeat("x", 1<<20))
	})
	if _, err := get(t, guardFor(t, server).Client(ordinary), server.URL); err == nil {
		t.Error("GET with 1 MiB of headers = nil, want an error")
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	t.Parallel()
	server := tlsServer(t, func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(make([]byte, 10)) })
	registry := prometheus.NewRegistry()
	g := newGuard(t, egress.Config{Dev: true, RootCAs: rootsOf(server), Metrics: registry})
	resp, err := get(t, g.Client(egress.Limits{Timeout: ordinary.Timeout, MaxBytes: 5}), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(resp.Body)
	if resp, err = get(t, g.Client(ordinary), server.URL); err != nil {
		t.Fatal(err)
	}
	_, _ = io.ReadAll(resp.Body)
	_, _ = get(t, g.Client(ordinary), "https://10.0.0.1/")
	want := map[string]float64{"ok": 1, "refused": 1, "too_large": 1}
	if diff := cmp.Diff(want, outcomes(t, registry)); diff != "" {
		t.Errorf("requests by outcome (-want +got):\n%s", diff)
	}
}

func outcomes(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			got[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
		}
	}
	return got
}
