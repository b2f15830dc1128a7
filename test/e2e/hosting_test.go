package e2e

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/daemon"
	"github.com/atoll-social/atoll/test/network"
)

// TestHandleOfAStranger holds that the well-known path of handles says nothing
// about names that no hosted account has, and that the instance's own document
// names its service (H6, H9).
func TestHandleOfAStranger(t *testing.T) {
	t.Parallel()
	i := start(t, shape{confidential: true})
	for _, host := range []string{i.host, "nobody." + i.host, "127.0.0.1", "bad_host"} {
		res, body := i.wellKnown(host)
		if res.StatusCode != http.StatusNotFound || strings.Contains(body, "did:") {
			t.Errorf("%s: status %d, %s; want 404", host, res.StatusCode, body)
		}
	}
	res, err := http.Get("http://" + i.addr + "/.well-known/did.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var document struct {
		ID          string   `json:"id"`
		AlsoKnownAs []string `json:"alsoKnownAs"`
		Service     []struct {
			ID       string `json:"id"`
			Endpoint string `json:"serviceEndpoint"`
		} `json:"service"`
	}
	if err := json.NewDecoder(res.Body).Decode(&document); err != nil {
		t.Fatal(err)
	}
	if document.ID != "did:web:"+i.host || len(document.AlsoKnownAs) != 1 || len(document.Service) == 0 ||
		document.Service[0].ID != "#atoll_appview" || document.Service[0].Endpoint != i.origin() {
		t.Errorf("the instance's document: %+v", document)
	}
}

// found makes an account of the instance, as its server does when a member asks
// for a community.
func (i *instance) found(name string) account.Hosted {
	i.t.Helper()
	settings, _, err := config.Load(config.Input{Env: i.environment()[3:]})
	if err != nil {
		i.t.Fatal(err)
	}
	seams, err := parseSeams(i.seams())
	if err != nil {
		i.t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(i.log, nil))
	storage, err := daemon.OpenStorage(i.t.Context(), settings, logger)
	if err != nil {
		i.t.Fatal(err)
	}
	defer storage.DB.Close()
	m, err := daemon.NewAccounts(daemon.Config{Settings: settings, Logger: logger, Version: "e2e", Now: time.Now,
		Route: seams.Route, Resolver: seams.Resolver}, storage)
	if err != nil {
		i.t.Fatal(err)
	}
	h, err := m.Provision(i.t.Context(), account.Request{Name: name, CreatedBy: "did:plc:aliceaaaaaaaaaaaaaaaaaaa", Record: map[string]any{
		"$type": account.Profile.String(), "name": name, "createdAt": "2026-11-21T12:00:00.000Z",
		"createdBy": "did:plc:aliceaaaaaaaaaaaaaaaaaaa", "hostedBy": "did:web:" + i.host,
	}})
	if err != nil {
		i.t.Fatalf("make an account: %v\n%s", err, i.log.String())
	}
	return h
}

// wellKnown asks the instance, under the name of a host, whose that is.
func (i *instance) wellKnown(host string) (*http.Response, string) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodGet, "http://"+i.addr+"/.well-known/atproto-did", nil)
	if err != nil {
		i.t.Fatal(err)
	}
	req.Host = host
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return res, string(body)
}

// pagesLeadHome holds what a browser finds at the name of a community: the way to
// its page under the instance's own, and nothing that is of one host only.
func (i *instance) pagesLeadHome(handle string) {
	i.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, tt := range []struct{ method, host, path, to string }{
		{"GET", handle, "/", i.origin() + "/c/" + handle}, {"GET", strings.ToUpper(handle) + ":443", "/?sort=new", i.origin() + "/c/" + handle + "?sort=new"},
		{"HEAD", handle + ".", "/discover", i.origin() + "/discover"}, {"GET", handle, "/p/did:plc:x/y%2Fz?a=b", i.origin() + "/p/did:plc:x/y%2Fz?a=b"},
		{"GET", handle, "//evil.example/", i.origin() + "//evil.example/"}, {"GET", handle, "/sign-in", i.origin() + "/sign-in"},
		{"GET", handle, "/.well-known/atproto-did", ""}, {"GET", handle, "/.well-known/did.json", ""}, {"GET", handle, "/readyz", ""},
		{"GET", handle, "/xrpc/social.coves.feed.getDiscover", ""}, {"GET", handle, "/api/me", ""}, {"POST", handle, "/posts", ""},
		{"GET", i.host, "/discover", ""}, {"GET", "nobody." + handle, "/discover", ""}, {"GET", "127.0.0.1", "/discover", ""},
	} {
		req, err := http.NewRequestWithContext(i.t.Context(), tt.method, "http://"+i.addr+tt.path, http.NoBody)
		if err != nil {
			i.t.Fatal(err)
		}
		req.Host = tt.host
		res, err := client.Do(req)
		if err != nil {
			i.t.Fatal(err)
		}
		res.Body.Close()
		if to := res.Header.Get("Location"); to != tt.to || (res.StatusCode == http.StatusFound) != (tt.to != "") {
			i.t.Errorf("%s %s at %s: %d to %q, want %q", tt.method, tt.path, tt.host, res.StatusCode, to, tt.to)
		}
		if cookies := res.Cookies(); tt.to != "" && len(cookies) > 0 {
			i.t.Errorf("%s %s at %s sets %v", tt.method, tt.path, tt.host, cookies)
		}
	}
}

// admin calls a method of the instance's PDS as its administrator.
func (i *instance) admin(method, body string) {
	i.t.Helper()
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.network.PDS[0].URL+"/xrpc/"+method, strings.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.SetBasicAuth("admin", i.network.AdminPassword)
	req.Header.Set("Content-Type", "application/json")
	res, err := i.network.Client().Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		i.t.Fatalf("%s: %s", method, res.Status)
	}
}

// TestHostedAccounts holds what the world and the operator see of an account of
// the instance, from its beginning to its end (H2, H5, H6).
func TestHostedAccounts(t *testing.T) {
	t.Parallel()
	i := start(t, shape{confidential: true})
	if out, code := i.command("accounts", "list"); code != 0 || out != "no hosted accounts\n" {
		t.Errorf("accounts list of none: %d\n%s", code, out)
	}
	h := i.found(network.Name("town"))
	res, said := i.wellKnown(h.Handle.String())
	if res.StatusCode != http.StatusOK || said != h.DID.String() || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") ||
		res.Header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("at %s: %d %v %q; want %s as text that anybody may read", h.Handle, res.StatusCode, res.Header, said, h.DID)
	}
	for _, host := range []string{h.Handle.String() + ":443", h.Handle.String() + ".", strings.ToUpper(h.Handle.String())} {
		if _, said := i.wellKnown(host); said != h.DID.String() {
			t.Errorf("at %s: %q", host, said)
		}
	}
	i.pagesLeadHome(h.Handle.String())
	says := func(want int, has []string, args ...string) {
		t.Helper()
		out, code := i.command(append([]string{"accounts"}, args...)...)
		for _, part := range has {
			if code != want || !strings.Contains(out, part) {
				t.Errorf("accounts %v: code %d\n%s\nwant %d, and %q", args, code, out, want, part)
			}
		}
	}
	says(0, []string{h.Handle.String(), h.DID.String(), "active"}, "list")
	says(0, []string{"kept here", i.network.PDS[0].URL}, "show", h.DID.String())
	says(1, []string{"There is no hosted account"}, "show", "nobody.example.org")

	i.admin("com.atproto.admin.updateAccountPassword", `{"did":"`+h.DID.String()+`","password":"of somebody else"}`)
	says(0, []string{"new password", "active"}, "repair", h.Handle.String())
	says(0, []string{"credentials work"}, "repair", h.DID.String())

	file := filepath.Join(t.TempDir(), "recovery.key")
	says(1, []string{"--yes"}, "export-keys", h.DID.String(), file)
	if _, err := os.Stat(file); err == nil {
		t.Error("the key was written without --yes")
	}
	says(0, []string{file}, "export-keys", h.DID.String(), file, "--yes")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v; want mode 0600", info, err)
	}
	says(1, []string{"exists"}, "export-keys", h.DID.String(), file, "--yes")

	name := network.Name("moved")
	says(0, []string{name}, "rename", h.DID.String(), name)
	if _, said := i.wellKnown(name + i.network.PDS[0].HandleDomain); said != h.DID.String() {
		t.Errorf("the new handle answers %q", said)
	}
	if res, _ := i.wellKnown(h.Handle.String()); res.StatusCode != http.StatusNotFound {
		t.Errorf("the old handle answers with %d", res.StatusCode)
	}
	i.admin("com.atproto.admin.deleteAccount", `{"did":"`+h.DID.String()+`"}`)
	eventually(t, "the handle of the deleted account to be silent", func() bool { // the stream tells
		res, _ := i.wellKnown(name + i.network.PDS[0].HandleDomain)
		return res.StatusCode == http.StatusNotFound
	})
	says(0, []string{"deleted", "restore it there"}, "show", h.DID.String())
	says(1, []string{"not active"}, "repair", h.DID.String())
}
