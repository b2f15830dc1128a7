package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/test/network"
)

func TestPopulateOnceOnly(t *testing.T) {
	t.Parallel()
	n := network.Start(t, network.Config{Plain: true})
	first, err := populate(t.Context(), n.Network)
	if err != nil {
		t.Fatal(err)
	}
	before := posts(t, n.Network, first)
	second, err := populate(t.Context(), n.Network)
	if err != nil {
		t.Fatal(err)
	}
	handles := []string{"heron.one.test", "plover.one.test", "tern.two.test", "curlew.two.test"}
	for i, want := range handles {
		if first[i].Handle != want || first[i].DID != second[i].DID {
			t.Errorf("account %d: got %+v, then %+v; want %s both times", i, first[i], second[i], want)
		}
	}
	after := posts(t, n.Network, second)
	if diff := cmp.Diff(before, after); diff != "" || len(before) != 6 {
		t.Errorf("posts: got %d, want 6; changed by populating again (-before +after):\n%s", len(before), diff)
	}
}

// posts lists the addresses of what the members wrote.
func posts(t *testing.T, n *network.Network, accounts []network.Account) []string {
	t.Helper()
	var uris []string
	for _, a := range accounts {
		s, err := n.SignInWithPassword(t.Context(), a)
		if err != nil {
			t.Fatal(err)
		}
		var out struct{ Records []struct{ URI string } }
		params := url.Values{"repo": {a.DID}, "collection": {communityPost}}
		if err := s.Query(t.Context(), "com.atproto.repo.listRecords", params, &out); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.Records {
			uris = append(uris, r.URI)
		}
	}
	return uris
}

func TestSettingsAreAtollsSettings(t *testing.T) {
	t.Parallel()
	n := &network.Network{PLC: "http://localhost:2582", AdminPassword: "admin", PDS: []network.PDS{
		{URL: "http://localhost:2583", HandleDomain: ".one.test"}, {URL: "http://localhost:2584", HandleDomain: ".two.test"},
	}}
	file := filepath.Join(t.TempDir(), "atoll.toml")
	if err := os.WriteFile(file, settings(options{data: "data", listen: "127.0.0.1:8080"}, n), 0o644); err != nil {
		t.Fatal(err)
	}
	c, warnings, err := config.Load(config.Input{File: file})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("load the demo's settings: %v, warnings %q", err, warnings)
	}
	handles := map[string]string{".one.test": "http://localhost:2583", ".two.test": "http://localhost:2584"}
	if diff := cmp.Diff(handles, c.DevHandles); diff != "" || !c.Dev {
		t.Errorf("dev is %t, want true; handles (-want +got):\n%s", c.Dev, diff)
	}
	sources := []config.Source{{Kind: "repos", URL: "http://localhost:2583"}, {Kind: "repos", URL: "http://localhost:2584"}}
	if diff := cmp.Diff(sources, c.Sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if c.Hosting.PDSURL != "http://localhost:2583" || c.Hosting.HandleDomain != "one.test" {
		t.Errorf("communities get their accounts at %s, under %s; want the first PDS", c.Hosting.PDSURL, c.Hosting.HandleDomain)
	}
}

func TestTakenAddressIsOneClearLine(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	err = run(t.Context(), options{data: t.TempDir(), listen: l.Addr().String()}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), l.Addr().String()+" is taken") || strings.Contains(err.Error(), "\n") {
		t.Errorf("run on a taken address: got %v, want one line that names it", err)
	}
}

// The whole of `make run`, twice in one folder: Atoll answers, stops cleanly, and has its data the next time.
func TestRunTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := options{data: filepath.Join(dir, "data"), binary: filepath.Join(dir, "atoll"), listen: l.Addr().String()}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	first := runUntilWelcome(t, o)
	second := runUntilWelcome(t, o)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("what the second run prints (-first +second):\n%s", diff)
	}
	for _, want := range []string{"http://" + o.listen, "heron.one.test", "curlew.two.test", password, "commons.one.test"} {
		if !strings.Contains(first, want) {
			t.Errorf("run prints:\n%s\nwant %q in it", first, want)
		}
	}
}

// runUntilWelcome runs the demo, presses Ctrl-C when it is up, and returns what it printed from the address on.
func runUntilWelcome(t *testing.T, o options) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	result := make(chan error, 1)
	go func() {
		err := run(ctx, o, in)
		_ = in.Close()
		result <- err
	}()
	var printed strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "Atoll is running") {
			printed.Reset() // what came before depends on what the machine had
		}
		printed.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			checkHome(t, "http://"+o.listen+"/")
			cancel()
		}
	}
	if err := <-result; err != nil {
		t.Fatalf("run: %v\nprinted:\n%s", err, printed.String())
	}
	return printed.String()
}

func checkHome(t *testing.T, address string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Error(err)
		return
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("GET %s: got %s, want 200", address, resp.Status)
	}
}
