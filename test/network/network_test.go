package network_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/test/network"
)

// get fetches a URL by the network's transport.
func get(t *testing.T, n *network.Network, url string) (status int, body string) {
	t.Helper()
	resp, err := n.Client().Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func TestDirectoryAnswersMultikeyDocuments(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	for i, pds := range n.PDS {
		a := n.NewAccount(t, i)
		status, body := get(t, n, n.PLC+"/"+a.DID)
		if status != http.StatusOK {
			t.Fatalf("GET document of %s: status %d: %s", a.DID, status, body)
		}
		var doc struct {
			ID                 string
			AlsoKnownAs        []string
			VerificationMethod []struct{ ID, Type, Controller string }
			Service            []struct{ ID, Type, ServiceEndpoint string }
		}
		if err := json.Unmarshal([]byte(body), &doc); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"at://" + a.Handle}, doc.AlsoKnownAs); diff != "" {
			t.Errorf("alsoKnownAs of %s (-want +got):\n%s", a.DID, diff)
		}
		keys := []struct{ ID, Type, Controller string }{{a.DID + "#atproto", "Multikey", a.DID}}
		if diff := cmp.Diff(keys, doc.VerificationMethod); diff != "" {
			t.Errorf("keys of %s (-want +got):\n%s", a.DID, diff)
		}
		services := []struct{ ID, Type, ServiceEndpoint string }{{"#atproto_pds", "AtprotoPersonalDataServer", pds.URL}}
		if diff := cmp.Diff(services, doc.Service); diff != "" {
			t.Errorf("services of %s (-want +got):\n%s", a.DID, diff)
		}
	}
}

func TestHandlesResolveEverywhere(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	a := n.NewAccount(t, 0)

	status, body := get(t, n, "https://"+a.Handle+"/.well-known/atproto-did")
	if status != http.StatusOK || body != a.DID {
		t.Errorf("well-known document of %s: got %d %q, want 200 %q", a.Handle, status, body, a.DID)
	}
	for _, pds := range n.PDS {
		status, body := get(t, n, pds.URL+"/xrpc/com.atproto.identity.resolveHandle?handle="+a.Handle)
		if want := `{"did":"` + a.DID + `"}`; status != http.StatusOK || body != want {
			t.Errorf("%s resolves %s: got %d %s, want 200 %s", pds.URL, a.Handle, status, body, want)
		}
	}
}

func TestAnotherClientWritesToThePDS(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	s, err := n.SignInWithPassword(t.Context(), n.NewAccount(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	const collection = "social.coves.community.postv2"
	record, err := s.CreateRecord(t.Context(), collection, "", map[string]any{"title": "A tern", "community": s.Account.DID})
	if err != nil {
		t.Fatal(err)
	}
	if record.Commit.Rev == "" || !strings.HasPrefix(record.URI, "at://"+s.Account.DID+"/"+collection+"/") {
		t.Errorf("created %+v, want a URI in the account's repository and a commit", record)
	}
	if err := s.DeleteRecord(t.Context(), collection, record.URI[strings.LastIndex(record.URI, "/")+1:]); err != nil {
		t.Fatal(err)
	}
	status, body := get(t, n, n.PDS[1].URL+"/xrpc/com.atproto.repo.listRecords?collection="+collection+"&repo="+s.Account.DID)
	if want := `{"records":[]}`; status != http.StatusOK || body != want {
		t.Errorf("records after deleting: got %d %s, want 200 %s", status, body, want)
	}
}

func TestTransportRefusesStrangers(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	for _, url := range []string{"https://example.com/", "http://192.0.2.1/", "https://pds1.atoll-tests.net.example.com/"} {
		resp, err := n.Client().Get(url)
		if err == nil {
			_ = resp.Body.Close()
			t.Errorf("GET %s: got %s, want a refusal", url, resp.Status)
		}
	}
}

func TestEnvHandsTheNetworkDown(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	other, err := network.Parse(n.Env())
	if err != nil {
		t.Fatal(err)
	}
	got, ok := other.Route("heron.pds2.atoll-tests.net:443")
	if want := n.PDS[1].Listen; got != want || !ok {
		t.Errorf("route in another process: got %q %t, want %q true", got, ok, want)
	}
	for _, text := range []string{"", "{}", "null", "[]"} {
		if _, err := network.Parse(text); err == nil {
			t.Errorf("Parse(%q): got no error", text)
		}
	}
}

// serve answers for a made-up host of the application under test.
func serve(t *testing.T, n *network.Network, host string, handler http.HandlerFunc) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	if err := n.MapHost(t.Context(), host, server.Listener.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.MapHost(context.Background(), host, "") })
}

func TestFrontAnswersHTTPSForEveryName(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	a := n.NewAccount(t, 0)
	app := network.AppHost()
	serve(t, n, app, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto")+"://"+r.Host)
	})
	front := n.Front(t)
	pool := x509.NewCertPool()
	pool.AddCert(front.Certificate)
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool},
		DialContext: func(ctx context.Context, kind, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, kind, front.Addr)
		},
	}}
	t.Cleanup(client.CloseIdleConnections)
	for url, want := range map[string]string{
		"https://" + a.Handle + "/.well-known/atproto-did": a.DID,
		"https://" + app + "/":                             "https://" + app,
	} {
		resp, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || string(body) != want {
			t.Errorf("GET %s by the front: got %q, %v; want %q", url, body, err, want)
		}
	}
}

// One network of its own for what the shared one must not suffer: the plain shape, an outage, a second run.
func TestPlainNetworkKeepsItsDataAndComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cfg := network.Config{Plain: true, DataDir: dir, Progress: os.Stderr}
	first, err := network.Launch(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	a := first.NewAccount(t, 1)
	if !strings.HasSuffix(a.Handle, ".two.test") || !strings.HasPrefix(first.PDS[1].URL, "http://localhost:") {
		t.Errorf("plain shape: got handle %s at %s, want .two.test at http://localhost:PORT", a.Handle, first.PDS[1].URL)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}

	second := network.Start(t, cfg)
	if diff := cmp.Diff(first.PDS, second.PDS); diff != "" {
		t.Errorf("servers of the second run (-want +got):\n%s", diff)
	}
	if status, body := get(t, second.Network, second.PLC+"/"+a.DID); status != http.StatusOK {
		t.Errorf("document of %s in the second run: status %d: %s", a.DID, status, body)
	}
	if _, err := second.SignInWithPassword(t.Context(), a); err != nil {
		t.Errorf("sign in at the second run: %v", err)
	}

	if err := second.SetUp(t.Context(), 1, false); err != nil {
		t.Fatal(err)
	}
	if _, err := second.SignInWithPassword(t.Context(), a); err == nil {
		t.Error("sign in at a PDS that is down: got no error")
	}
	if err := second.SetUp(t.Context(), 1, true); err != nil {
		t.Fatal(err)
	}
	if _, err := second.SignInWithPassword(t.Context(), a); err != nil {
		t.Errorf("sign in after the outage: %v", err)
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := network.Start(t, network.Config{Plain: true, DataDir: dir})
	_, err := network.Launch(t.Context(), network.Config{Plain: true, DataDir: dir})
	_, port, _ := strings.Cut(strings.TrimPrefix(first.PLC, "http://"), ":")
	if want := "port " + port + " is taken"; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("second network in the same folder: got error %v, want one line with %q", err, want)
	}
}
