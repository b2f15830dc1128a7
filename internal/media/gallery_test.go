package media

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/atoll-social/atoll/internal/fault"
)

const painter syntax.DID = "did:plc:painter"

// shelf is a server that has files, and says what it likes about them.
type shelf struct {
	*httptest.Server
	mu     sync.Mutex
	files  map[string][]byte
	status int
	asked  int
	hold   chan struct{} // answers wait for it when it is not nil
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	s := &shelf{files: map[string][]byte{}, status: http.StatusOK}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	body, ok := s.files[r.URL.Query().Get("cid")]
	status, hold := s.status, s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if !ok && status == http.StatusOK {
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

func (s *shelf) add(t *testing.T, body []byte) syntax.CID {
	t.Helper()
	c, err := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(body)
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[c.String()] = body
	return syntax.CID(c.String())
}

func (s *shelf) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// accounts shows the painter, unless hidden.
type accounts struct {
	origin string
	hidden bool
}

func (a *accounts) Server(_ context.Context, did syntax.DID) (string, bool, error) {
	return a.origin, did == painter && !a.hidden, nil
}

func newGallery(t *testing.T, s *shelf, change ...func(*GalleryConfig)) *Gallery {
	t.Helper()
	cfg := GalleryConfig{
		Folder: t.TempDir(), MaxBytes: 1 << 30, HTTP: s.Client(), Accounts: &accounts{origin: s.URL}, Logger: slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&cfg)
	}
	g, err := OpenGallery(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestPresets(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	g := newGallery(t, s)
	large, small := s.add(t, jpegFileOf(t, 2000, 1500, 1)), s.add(t, pngFileOf(t, canvas(90, 60), 1))
	tall, lying := s.add(t, jpegFileOf(t, 100, 900, 1)), s.add(t, jpegFileOf(t, 2000, 1500, 6))
	for _, c := range []struct {
		preset Preset
		cid    syntax.CID
		want   image.Point
	}{
		{AvatarLarge, large, image.Pt(1000, 1000)}, {AvatarSmall, large, image.Pt(360, 360)}, {BannerWide, large, image.Pt(640, 300)},
		{ContentPreview, large, image.Pt(800, 600)}, {ContentFull, large, image.Pt(1600, 1200)}, {EmbedThumbnail, large, image.Pt(720, 360)},
		{ContentPreview, small, image.Pt(90, 60)}, {AvatarSmall, small, image.Pt(60, 60)}, {EmbedThumbnail, small, image.Pt(90, 45)},
		{ContentPreview, tall, image.Pt(100, 400)}, {ContentPreview, lying, image.Pt(800, 1066)}, {BannerWide, lying, image.Pt(640, 300)},
	} {
		p, err := g.Get(t.Context(), c.preset, painter, c.cid)
		if err != nil {
			t.Errorf("%s: %v", c.preset, err)
			continue
		}
		if got := decode(t, p.MIME, p.Body).Bounds().Size(); got != c.want {
			t.Errorf("%s of %s: %v pixels, want %v", c.preset, c.cid, got, c.want)
		}
	}
}

// Where the camera was held otherwise, the picture is turned, as browsers do.
func TestPicturesAreTurned(t *testing.T) {
	t.Parallel()
	src := image.NewRGBA(image.Rect(0, 0, 2, 1))
	red, blue := color.RGBA{255, 0, 0, 255}, color.RGBA{0, 0, 255, 255}
	src.SetRGBA(0, 0, red)
	src.SetRGBA(1, 0, blue)
	for orientation, want := range map[int][2]image.Point{ // where red and blue are
		1: {{0, 0}, {1, 0}}, 2: {{1, 0}, {0, 0}}, 3: {{1, 0}, {0, 0}}, 4: {{0, 0}, {1, 0}},
		5: {{0, 0}, {0, 1}}, 6: {{0, 0}, {0, 1}}, 7: {{0, 1}, {0, 0}}, 8: {{0, 1}, {0, 0}},
	} {
		out := turn(src, orientation)
		if out.RGBAAt(want[0].X, want[0].Y) != red || out.RGBAAt(want[1].X, want[1].Y) != blue {
			t.Errorf("orientation %d: %v, want red at %v", orientation, out.Pix, want[0])
		}
	}
}

func TestOnlyPicturesThatAreWhatTheySay(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	a := &accounts{origin: s.URL}
	g := newGallery(t, s, func(c *GalleryConfig) { c.Accounts = a })
	good := s.add(t, jpegFileOf(t, 40, 30, 1))
	other := s.add(t, jpegFileOf(t, 41, 30, 1))
	s.files[other.String()] = jpegFileOf(t, 42, 30, 1)
	text := s.add(t, []byte("<script>alert(1)</script>"))
	cut := s.add(t, jpegFileOf(t, 400, 300, 1)[:900])
	huge := s.add(t, append(jpegFileOf(t, 10, 10, 1), make([]byte, Embed.MaxBytes())...))
	link := syntax.CID("bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454") // of a record
	for _, c := range []struct {
		name   string
		preset Preset
		did    syntax.DID
		cid    syntax.CID
	}{
		{"unknown preset", "original", painter, good}, {"somebody unknown", AvatarSmall, "did:plc:nobody", good},
		{"another file than named", AvatarSmall, painter, other}, {"no picture", AvatarSmall, painter, text},
		{"cut off", AvatarSmall, painter, cut}, {"too large", AvatarSmall, painter, huge},
		{"no file", AvatarSmall, painter, link}, {"no CID", AvatarSmall, painter, "../../etc/passwd"},
		{"not there", AvatarSmall, painter, syntax.CID(strings.Replace(good.String(), "a", "b", 1))},
	} {
		if p, err := g.Get(t.Context(), c.preset, c.did, c.cid); fault.KindOf(err) != fault.NotFound {
			t.Errorf("%s: %d bytes, %v; want not found", c.name, len(p.Body), err)
		}
	}
	if _, err := g.Get(t.Context(), AvatarSmall, painter, good); err != nil {
		t.Fatal(err)
	}
	a.hidden = true
	if _, err := g.Get(t.Context(), AvatarSmall, painter, good); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a kept picture of an account that is hidden now: %v, want not found", err)
	}
}

func TestPicturesAreFetchedOnce(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.hold = make(chan struct{})
	folder := t.TempDir()
	g := newGallery(t, s, func(c *GalleryConfig) { c.Folder = folder })
	c := s.add(t, jpegFileOf(t, 40, 30, 1))
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := g.Get(t.Context(), ContentPreview, painter, c); err != nil {
				t.Error(err)
			}
		})
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.Get(impatient, ContentPreview, painter, c); !errors.Is(err, context.Canceled) {
		t.Errorf("somebody who has gone: %v, want their context's error", err)
	}
	close(s.hold)
	wg.Wait()
	again := newGallery(t, s, func(c *GalleryConfig) { c.Folder = folder })
	if _, err := again.Get(t.Context(), ContentPreview, painter, c); err != nil || s.count() != 1 {
		t.Errorf("after a restart: %v; fetched %d times, want once", err, s.count())
	}
}

func TestServersThatFailAreLeftAloneForAWhile(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	now := time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	g := newGallery(t, s, func(c *GalleryConfig) { c.Now = func() time.Time { return now } })
	c := s.add(t, jpegFileOf(t, 40, 30, 1))
	s.status = http.StatusInternalServerError
	for range 3 {
		if _, err := g.Get(t.Context(), ContentPreview, painter, c); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("server in trouble: %v, want unavailable", err)
		}
	}
	if s.count() != 1 {
		t.Errorf("asked %d times within a minute, want once", s.count())
	}
	s.status, now = http.StatusOK, now.Add(failureKept)
	if _, err := g.Get(t.Context(), ContentPreview, painter, c); err != nil {
		t.Errorf("a minute later: %v", err)
	}
}

func TestTheFolderStaysWithinItsBound(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	d, err := openDisk(folder, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"a", "b", "c"} {
		if err := d.put(key, bytes.Repeat([]byte(key), 300)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := d.get("a"); !ok || err != nil {
		t.Fatalf("a: %t, %v", ok, err)
	}
	if err := d.put("d", bytes.Repeat([]byte("d"), 300)); err != nil {
		t.Fatal(err)
	}
	var have []string
	for _, key := range []string{"a", "b", "c", "d"} {
		if _, ok, _ := d.get(key); ok {
			have = append(have, key)
		}
	}
	if diff := cmp.Diff([]string{"a", "c", "d"}, have); diff != "" {
		t.Errorf("what is kept, b being the least recently used (-want +got):\n%s", diff)
	}
	if err := d.put("large", make([]byte, 2000)); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(folder)
	if err != nil || len(files) != 0 || d.bytes != 0 {
		t.Errorf("after a file beyond the bound: %d files, %d bytes, %v; want none", len(files), d.bytes, err)
	}
}
