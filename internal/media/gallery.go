package media

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"golang.org/x/sync/singleflight"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/fault"
)

// GalleryConfig is what a Gallery works with.
type GalleryConfig struct {
	// Folder is where served pictures are kept, MaxBytes how much of them.
	Folder   string
	MaxBytes int64
	// HTTP fetches from members' servers: a guarded client.
	HTTP interface {
		Do(req *http.Request) (*http.Response, error)
	}
	Accounts Accounts
	Logger   *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Accounts knows whose pictures are shown, and where they are. It is
// index.Index.
type Accounts interface {
	// Server is the origin of the server of an account that is shown here; ok is
	// false for all others.
	Server(ctx context.Context, did syntax.DID) (origin string, ok bool, err error)
}

// Gallery serves pictures of records, resized (M3). It is safe for concurrent
// use.
type Gallery struct {
	cfg    GalleryConfig
	disk   *disk
	flight singleflight.Group
	gates  gates
	desk   chan struct{} // a place for each picture that is drawn

	mu     sync.Mutex
	failed map[string]failure
}

// failure is why a picture could not be had, kept for a while so that it is not
// asked for again and again.
type failure struct {
	err   error
	until time.Time
}

const (
	painters    = 2
	waitTime    = 10 * time.Second // for a turn, to be fetched and to be drawn
	fetchTime   = 15 * time.Second
	failureKept = time.Minute
	maxFailures = 10_000
)

// OpenGallery opens the folder and returns a Gallery over it.
func OpenGallery(cfg GalleryConfig) (*Gallery, error) {
	if cfg.Folder == "" || cfg.MaxBytes < 1 || cfg.HTTP == nil || cfg.Accounts == nil || cfg.Logger == nil {
		return nil, errors.New("media: Folder, MaxBytes, HTTP, Accounts and Logger are required")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d, err := openDisk(cfg.Folder, cfg.MaxBytes)
	if err != nil {
		return nil, err
	}
	return &Gallery{cfg: cfg, disk: d, gates: gates{open: map[string]*gate{}}, desk: make(chan struct{}, painters), failed: map[string]failure{}}, nil
}

// Served is a picture as it is served.
type Served struct {
	MIME string
	Body []byte
}

// errNoPicture is in errors for pictures that are not there or not for this.
var errNoPicture = errors.New("no such picture")

func noPicture(cause error) error {
	return fault.Wrap(fault.NotFound, errors.Join(errNoPicture, cause), "There is no such picture.")
}

// Get returns the picture cid of did's repository in a preset's size. Errors:
// fault.NotFound for presets, accounts and pictures that there are none of, and
// for files that are no picture; fault.Unavailable when the account's server
// does not give it just now.
func (g *Gallery) Get(ctx context.Context, preset Preset, did syntax.DID, c syntax.CID) (Served, error) {
	if _, ok := boxes[preset]; !ok {
		return Served{}, noPicture(fmt.Errorf("preset %q", preset))
	}
	want, err := cid.Decode(c.String())
	if err != nil || want.Prefix().Codec != cid.Raw || want.Prefix().MhType != multihash.SHA2_256 || want.String() != c.String() {
		return Served{}, noPicture(fmt.Errorf("%q names no file", c))
	}
	// Whose account is hidden, their pictures are too, kept or not.
	origin, ok, err := g.cfg.Accounts.Server(ctx, did)
	if err != nil {
		return Served{}, err
	}
	if !ok {
		return Served{}, noPicture(fmt.Errorf("account %s is not shown", did))
	}
	key := string(preset) + " " + did.String() + " " + c.String()
	body, kept, err := g.disk.get(key)
	if err != nil {
		return Served{}, err
	}
	if kept {
		return Served{MIME: http.DetectContentType(body), Body: body}, nil
	}
	if err := g.lately(key); err != nil {
		return Served{}, err
	}
	return g.make(ctx, key, func(ctx context.Context) ([]byte, error) { return g.draw(ctx, preset, origin, did, want) })
}

// make runs the work for a key once at a time, whoever else waits for it, and
// to its end.
func (g *Gallery) make(ctx context.Context, key string, work func(context.Context) ([]byte, error)) (Served, error) {
	result := g.flight.DoChan(key, func() (any, error) {
		ctx := context.WithoutCancel(ctx)
		body, err := work(ctx)
		if err != nil {
			if !errors.Is(err, errBusy) {
				g.remember(key, err)
			}
			return nil, err
		}
		if err := g.disk.put(key, body); err != nil {
			// The picture is there; a full disk only makes it work again next time.
			g.cfg.Logger.WarnContext(ctx, "picture not kept", "error", err)
		}
		return body, nil
	})
	select {
	case <-ctx.Done():
		return Served{}, ctx.Err()
	case r := <-result:
		if r.Err != nil {
			return Served{}, r.Err
		}
		body := r.Val.([]byte) //nolint:forcetypeassert // from the function above
		return Served{MIME: http.DetectContentType(body), Body: body}, nil
	}
}

// errBusy is in errors for pictures whose turn did not come: that says nothing
// about the picture.
var errBusy = errors.New("too many pictures at once")

func busy(cause error) error {
	return fault.Wrap(fault.Unavailable, errors.Join(errBusy, cause), "Too many pictures are asked for at once. Try again in a moment.").
		After(time.Second)
}

// draw fetches a file, checks it, and makes the preset's size of it. It has its
// place among what is fetched until it is done, so that no more files than there
// are places are in memory; a server that is slow takes no place at the desk.
func (g *Gallery) draw(ctx context.Context, preset Preset, origin string, did syntax.DID, want cid.Cid) ([]byte, error) {
	waiting, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	leave, err := g.gates.enter(waiting, origin)
	if err != nil {
		return nil, busy(err)
	}
	defer leave()
	file, err := g.fetch(ctx, origin, did, want)
	if err != nil {
		return nil, err
	}
	select {
	case g.desk <- struct{}{}:
		defer func() { <-g.desk }()
	case <-time.After(waitTime):
		return nil, busy(errors.New("the desk is taken"))
	}
	return resize(preset, file)
}

// resize makes the preset's size of a file that may be a picture.
func resize(preset Preset, file []byte) ([]byte, error) {
	for _, f := range formats {
		if !f.is(file) {
			continue
		}
		p, err := f.strip(file)
		if err != nil {
			return nil, noPicture(err)
		}
		body, _, err := scale(preset, p.body, p.orientation)
		if err != nil {
			return nil, noPicture(err)
		}
		return body, nil
	}
	return nil, noPicture(errors.New("the file is no picture"))
}

// fetch gets a file from its account's server (com.atproto.sync.getBlob) and
// checks that it is the one that was asked for.
func (g *Gallery) fetch(ctx context.Context, origin string, did syntax.DID, want cid.Cid) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	address := origin + "/xrpc/com.atproto.sync.getBlob?" + url.Values{"did": {did.String()}, "cid": {want.String()}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, noPicture(err)
	}
	resp, err := g.cfg.HTTP.Do(req)
	if errors.Is(err, egress.ErrHostBusy) {
		return nil, busy(err)
	}
	if err != nil {
		return nil, unavailable(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode >= 400 && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
		return nil, noPicture(fmt.Errorf("%s answered %s", origin, resp.Status))
	}
	if resp.StatusCode != http.StatusOK {
		return nil, unavailable(fmt.Errorf("%s answered %s", origin, resp.Status))
	}
	file, err := io.ReadAll(io.LimitReader(resp.Body, int64(Embed.MaxBytes())+1))
	if err != nil {
		return nil, unavailable(err)
	}
	if len(file) > Embed.MaxBytes() {
		return nil, noPicture(errors.New("the file is too large"))
	}
	sum := sha256.Sum256(file)
	hash, err := multihash.Encode(sum[:], multihash.SHA2_256)
	if err != nil {
		return nil, err
	}
	if got := cid.NewCidV1(cid.Raw, hash); !got.Equals(want) {
		return nil, noPicture(fmt.Errorf("%s sent %s", origin, got))
	}
	return file, nil
}

func unavailable(cause error) error {
	return fault.Wrap(fault.Unavailable, cause, "The server of whoever posted this picture does not give it just now. Try again later.")
}

// lately returns why the picture could not be had a moment ago.
func (g *Gallery) lately(key string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.failed[key]
	if !ok || !g.cfg.Now().Before(f.until) {
		return nil
	}
	return f.err
}

func (g *Gallery) remember(key string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.failed) >= maxFailures {
		clear(g.failed)
	}
	g.failed[key] = failure{err, g.cfg.Now().Add(failureKept)}
}
