package ingest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// newDictionary makes a dictionary of typical events, as Jetstream's project
// does, and what compresses with it.
func newDictionary(t testing.TB) (dictionary []byte, pack func(frame string) []byte) {
	t.Helper()
	var samples [][]byte
	for n := range 300 {
		samples = append(samples, []byte(jetPost(int64(n+1), fmt.Sprintf("did:plc:author%d", n%7), n, fmt.Sprint("title ", n)).v1))
	}
	history := bytes.Join(samples[:20], nil)
	dictionary, err := zstd.BuildDict(zstd.BuildDictOptions{ID: 7, Contents: samples, History: history, Offsets: [3]int{1, 4, 8}})
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderDict(dictionary))
	if err != nil {
		t.Fatal(err)
	}
	return dictionary, func(frame string) []byte { return encoder.EncodeAll([]byte(frame), nil) }
}

// TestCompressedJetstream holds that the first version of Jetstream is asked
// to compress where its dictionary is given, that hosts which don't are
// understood too, and that hostile frames are dropped on the same connection.
func TestCompressedJetstream(t *testing.T) {
	t.Parallel()
	dictionary, pack := newDictionary(t)
	bomb, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	strange := func(frame string) []byte {
		switch {
		case strings.Contains(frame, "bomb"):
			return bomb.EncodeAll(make([]byte, 100<<20), nil)
		case strings.Contains(frame, "garbage"):
			return []byte("garbage")
		case strings.Contains(frame, "cut"):
			packed := pack(frame)
			return packed[:len(packed)/2]
		}
		return pack(frame)
	}
	for _, kind := range []string{Jetstream, Jetstream2} {
		for name, packs := range map[string]func(string) []byte{"compressed": strange, "plain": nil} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				h := newJetHost(t)
				h.pack = packs
				r, err := newRigOf(storetest.New(t, store.SQLite), quick(), nil, []Source{{Kind: kind, URL: h.server.URL}})
				if err != nil {
					t.Fatal(err)
				}
				if r.unpack, err = newUnpack(dictionary, r.cfg.Limits.Frame); err != nil {
					t.Fatal(err)
				}
				r.run(t)
				await(t, "the connection", func() bool { return r.Status()[0].Connected })
				hostile := []jetEvent{jetPost(2, bob, 2, "bomb"), jetPost(3, bob, 3, "garbage"), jetPost(4, bob, 4, "cut")}
				h.emit(jetPost(1, alice, 1, "a"))
				if packs != nil && kind == Jetstream {
					h.emit(hostile...)
				}
				h.emit(jetPost(9, alice, 9, "i"))
				await(t, "the last post", func() bool { return r.shown(t)[alice+"/"+key(9)] == "i" })
				if got := r.shown(t); len(got) != 2 {
					t.Errorf("shown %v, want two posts", got)
				}
				asked := h.queries()
				if len(asked) != 1 || strings.Contains(asked[0], "compress=true") != (kind == Jetstream) {
					t.Errorf("asked for %q", asked)
				}
				want := map[index.Reason]float64{reasonOversize: 0, reasonFrame: 0}
				if packs != nil && kind == Jetstream {
					want = map[index.Reason]float64{reasonOversize: 1, reasonFrame: 2}
				}
				for reason, n := range want {
					if got := r.metric(t, "dropped_total", string(reason)); got != n {
						t.Errorf("%v dropped for %s, want %v", got, reason, n)
					}
				}
			})
		}
	}
}

// TestDictionaryIsChecked holds that a file which is no dictionary stops the start.
func TestDictionaryIsChecked(t *testing.T) {
	t.Parallel()
	r := command(t, storetest.New(t, store.SQLite), nil)
	cfg := r.cfg
	cfg.Dictionary, cfg.Metrics, cfg.Logger = []byte("no dictionary"), prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), "dictionary") {
		t.Errorf("got %v, want the dictionary named", err)
	}
}

// FuzzUnpack holds that no frame unpacks to more than it may, or panics.
func FuzzUnpack(f *testing.F) {
	dictionary, pack := newDictionary(f)
	const most = 64 << 10
	unpack, err := newUnpack(dictionary, most)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pack(`{"did":"did:plc:a"}`))
	f.Add(pack(strings.Repeat("x", 2*most)))
	f.Fuzz(func(t *testing.T, frame []byte) {
		out, err := unpack(frame)
		var drop *dropError
		if len(out) > most || err != nil && !errors.As(err, &drop) {
			t.Errorf("unpacked to %d bytes, %v", len(out), err)
		}
	})
}
