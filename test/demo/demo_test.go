package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/port"
	"github.com/atoll-social/atoll/test/size"
)

func madeUp(t *testing.T) (*content, *plan) {
	t.Helper()
	c, err := loadContent()
	if err != nil {
		t.Fatal(err)
	}
	dids, communities := map[string]syntax.DID{}, map[string]syntax.DID{}
	for i, m := range c.Members {
		dids[m.Name] = syntax.DID(fmt.Sprintf("did:plc:%024d", i))
	}
	for i, m := range c.Communities {
		communities[m.Name] = syntax.DID(fmt.Sprintf("did:plc:c%023d", i))
	}
	p, err := newPlan(c, time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), dids, communities)
	if err != nil {
		t.Fatal(err)
	}
	return c, p
}

func TestThereIsEnoughToLiveIn(t *testing.T) {
	t.Parallel()
	c, p := madeUp(t)
	counts := map[syntax.NSID]int{}
	for _, r := range p.repos {
		for _, w := range r.writes {
			counts[w.collection]++
		}
	}
	atLeast := map[syntax.NSID]int{
		index.PostCollection: 300, index.CommentCollection: wideAnswers + deepAnswers + 200, index.VoteCollection: 3000,
		index.SubscriptionCollection: 100, index.PersonCollection: len(c.Members),
	}
	for collection, want := range atLeast {
		if counts[collection] < want {
			t.Errorf("%s: %d records, want %d at least", collection, counts[collection], want)
		}
	}
	if len(c.Communities) < 12 {
		t.Errorf("%d communities, want a dozen", len(c.Communities))
	}
}

func TestTheSameIsMadeAgain(t *testing.T) {
	t.Parallel()
	_, once := madeUp(t)
	_, again := madeUp(t)
	for name, r := range once.repos {
		if diff := cmp.Diff(r.writes, again.repos[name].writes, cmp.AllowUnexported(write{}), cmp.Comparer(func(a, b atdata.Blob) bool { return a.Ref.String() == b.Ref.String() })); diff != "" {
			t.Fatalf("records of %s (-once +again):\n%s", name, diff)
		}
	}
}

func TestRecordsAreAsTheLexiconsWant(t *testing.T) {
	t.Parallel()
	_, p := madeUp(t)
	ix, err := index.New(index.Config{DB: storetest.New(t, store.SQLite)})
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range p.repos {
		var ops []index.Op
		for _, w := range r.writes {
			cid, err := agent.RecordCID(w.record)
			if err != nil {
				t.Fatal(err)
			}
			ops = append(ops, index.Op{Action: index.Create, Collection: w.collection, RKey: syntax.RecordKey(w.rkey), CID: cid, Record: w.record})
		}
		if _, drops := ix.Prepare(p.dids[name], syntax.NewTID(p.began.UnixMicro(), 0), ops); len(drops) > 0 {
			t.Errorf("%s: %d of %d records are refused, the first: %+v", name, len(drops), len(ops), drops[0])
		}
	}
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

// The whole of `make run`, twice in one folder: Atoll answers, what is shown is made once, and everything stops cleanly.
func TestRunTwice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ports, err := port.Row(4)
	if err != nil {
		t.Fatal(err)
	}
	o := options{
		data: filepath.Join(dir, "data"), binary: filepath.Join(dir, "atoll"), listen: fmt.Sprint("127.0.0.1:", ports), network: ports + 1,
		communities: size.Size(2, 0), members: size.Size(8, 0),
	}
	first, made := runUntilWelcome(t, o)
	second, again := runUntilWelcome(t, o)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("what the second run prints (-first +second):\n%s", diff)
	}
	for _, want := range []string{o.origin(), "heron.one.test", "curlew.two.test", password} {
		if !strings.Contains(first, want) {
			t.Errorf("run prints:\n%s\nwant %q in it", first, want)
		}
	}
	if made < 20 || again != made {
		t.Errorf("Discover has %d posts, after the second run %d; want a page of at least 20, and the same", made, again)
	}
}

// runUntilWelcome runs the demo, presses Ctrl-C when it is up, and returns what it printed about who may sign in, and how
// many posts a page of Discover has.
func runUntilWelcome(t *testing.T, o options) (printed string, posts int) {
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
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "sign in as") {
			text.Reset() // what came before depends on what there was
		}
		text.WriteString(lines.Text() + "\n")
		if strings.HasPrefix(lines.Text(), "Ctrl-C") {
			posts = discover(t, o.origin())
			cancel()
		}
	}
	if err := <-result; err != nil {
		t.Fatalf("run: %v\nprinted:\n%s", err, text.String())
	}
	return text.String(), posts
}

// discover counts the posts on the first page of Discover. They come by the stream and are admitted one after the other, so
// it waits for a full page.
func discover(t *testing.T, origin string) (posts int) {
	t.Helper()
	for end := time.Now().Add(3 * time.Minute); posts < 20 && time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, origin+"/xrpc/social.coves.feed.getDiscover?limit=20", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			return 0
		}
		var page struct{ Feed []any }
		err = json.NewDecoder(resp.Body).Decode(&page)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("getDiscover: %s, %v", resp.Status, err)
			return 0
		}
		posts = len(page.Feed)
	}
	return posts
}
