package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/server"
	"github.com/atoll-social/atoll/test/size"
)

// TestEverythingAnswers: the built program answers every kind of page and query under load, with no error, and an
// instance with an empty index needs less than 100 MB (O9). In the small size one kind is asked for with wrk, and all of
// them once.
func TestEverythingAnswers(t *testing.T) {
	t.Parallel()
	binary := filepath.Join(t.TempDir(), "atoll")
	if err := server.Build(t.Context(), binary); err != nil {
		t.Fatal(err)
	}
	o := options{binary: binary, posts: 1000, connections: 8, lasting: time.Second, keep: t.TempDir()}
	if !size.Full() {
		o.only = "page of a thread"
	}
	n := network.Start(t, network.Config{Plain: true})
	i := &instance{options: o, network: n.Network, dir: o.keep}
	got, err := i.measure(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := got.verdict(); err != nil {
		t.Error(err)
	}
	if limit := int64(100 << 20); got.idle > limit {
		t.Errorf("%d bytes of memory with an empty index, want at most %d", got.idle, limit)
	}
	var text bytes.Buffer
	got.print(&text, store.SQLite)
	t.Log(text.String())
	if strings.Count(text.String(), o.only) < 2 {
		t.Errorf("the table lacks what was asked for:\n%s", text.String())
	}
}

// TestVerdict: one answer that was an error fails the whole run, as does none at all.
func TestVerdict(t *testing.T) {
	t.Parallel()
	fine := row{target: target{name: "a"}, figures: figures{Answers: 10}}
	for _, tt := range []struct {
		name string
		row  row
		bad  bool
	}{
		{"fine", fine, false},
		{"refused", row{figures: figures{Answers: 10, Refused: 1}}, true},
		{"broken", row{figures: figures{Answers: 10, Broken: 1}}, true},
		{"nothing", row{}, true},
	} {
		err := (&table{rows: []row{fine, tt.row}}).verdict()
		if (err != nil) != tt.bad {
			t.Errorf("%s: %v, want an error: %t", tt.name, err, tt.bad)
		}
	}
}
