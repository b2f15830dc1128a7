package ingest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

const (
	// postTimeout bounds asking for one post.
	postTimeout = 20 * time.Second
	// postWorkers is how many posts are asked for at once; webWorkers how many
	// of them may be by accounts whose identity is on a host of their choice.
	postWorkers, webWorkers = 8, 3
	postsListed             = 64
	// The wait after a failure doubles from the first to the last; after
	// postTries failures a post is not asked for any more.
	postAgainMin = 10 * time.Second
	postAgainMax = 24 * time.Hour
	postTries    = 16
	// postBusy is about how long a post waits whose host has no place free.
	postBusy = 10 * time.Second
	// proofSize is the largest proof of one record that is read, in bytes.
	proofSize = 4 << 20
)

// errBusy tells that as much is asked of a host as may be.
var errBusy = errors.New("the host has no place free")

// postFetcher fetches posts that communities have accepted and that are not
// here, from their authors' servers. What is wanted is in the database.
type postFetcher struct {
	in  *Ingester
	web chan struct{} // places for accounts of did:web
}

func newPostFetcher(in *Ingester) *postFetcher {
	return &postFetcher{in: in, web: make(chan struct{}, webWorkers)}
}

// run fetches what is due until ctx ends.
func (f *postFetcher) run(ctx context.Context) {
	ticker := time.NewTicker(f.in.cfg.Limits.FetchEvery)
	defer ticker.Stop()
	for {
		list, err := f.in.cfg.Index.WantedPosts(ctx, postsListed)
		if err != nil && ctx.Err() == nil {
			f.in.log.WarnContext(ctx, "posts to fetch cannot be read", "error", err)
		}
		if f.all(ctx, list) && len(list) == postsListed {
			continue
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// all fetches posts, a few at a time. It is false when the outcome of one could
// not be stored.
func (f *postFetcher) all(ctx context.Context, list []index.Wanted) bool {
	var failed atomic.Bool
	work := make(chan index.Wanted)
	var wg sync.WaitGroup
	for range min(postWorkers, len(list)) {
		wg.Go(func() {
			for w := range work {
				if !f.one(ctx, w) {
					failed.Store(true)
				}
			}
		})
	}
	for _, w := range list {
		work <- w
	}
	close(work)
	wg.Wait()
	return !failed.Load()
}

// one fetches a post and stores how that went; false when that failed.
func (f *postFetcher) one(ctx context.Context, w index.Wanted) bool {
	asking, cancel := context.WithTimeout(ctx, postTimeout)
	err := f.fetch(asking, w)
	cancel()
	if ctx.Err() != nil {
		return false // it stays due
	}
	outcome, wait := "ok", postAgainMax // should it be wanted still: its data is refused
	switch {
	case errors.Is(err, errBusy):
		outcome, wait = "busy", postBusy/2+jitter(postBusy)
	case err != nil:
		outcome, wait = "failed", postAgain(w.Attempts)
		f.in.log.DebugContext(ctx, "accepted post not fetched", "author", w.Author, "key", w.RKey, "attempts", w.Attempts+1, "error", err)
	}
	f.in.metrics.posts.WithLabelValues(outcome).Inc()
	if outcome == "failed" && w.Attempts+1 >= postTries {
		wait = 0
	}
	if err := f.in.cfg.Index.PostponePost(ctx, w, wait); err != nil {
		f.in.log.WarnContext(ctx, "accepted post not put off", "author", w.Author, "key", w.RKey, "error", err)
		return false
	}
	return true
}

// postAgain spaces the attempts.
func postAgain(attempts int) time.Duration {
	wait := postAgainMax
	if attempts < 14 {
		wait = min(postAgainMin<<attempts, postAgainMax)
	}
	return wait/2 + jitter(wait/2)
}

// fetch asks for a post with its proof and applies what is proven: the record,
// or that there is none.
func (f *postFetcher) fetch(ctx context.Context, w index.Wanted) error {
	if w.Author.Method() == "web" {
		select {
		case f.web <- struct{}{}:
			defer func() { <-f.web }()
		default:
			return errBusy
		}
	}
	ident, err := f.in.cfg.Directory.LookupDocument(ctx, w.Author, foundFor)
	if err != nil {
		return fmt.Errorf("look up %s: %w", w.Author, err)
	}
	origin, err := f.in.cfg.Directory.PDS(ident)
	if err != nil {
		return fmt.Errorf("find the server of %s: %w", w.Author, err)
	}
	leave, ok := f.in.fetch.hosts.tryEnter(origin)
	if !ok {
		return errBusy
	}
	defer leave()
	car, err := f.getRecord(ctx, origin, w)
	if err != nil {
		return fmt.Errorf("get a post from %s: %w", origin, err)
	}
	return f.apply(ctx, w, car)
}

// getRecord asks for a record's proof (com.atproto.sync.getRecord).
func (f *postFetcher) getRecord(ctx context.Context, origin string, w index.Wanted) ([]byte, error) {
	q := url.Values{"did": {w.Author.String()}, "collection": {index.PostCollection.String()}, "rkey": {w.RKey.String()}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/xrpc/com.atproto.sync.getRecord?"+q.Encode(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.ipld.car")
	res, err := f.in.cfg.Fetch.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, refusal(res)
	}
	car, err := io.ReadAll(io.LimitReader(res.Body, proofSize+1))
	if err == nil && len(car) > proofSize {
		err = errTooLarge
	}
	return car, err
}

// apply verifies a proof and writes what it proves, at the revision of the
// whole repository: what the author did to the record since counts more.
func (f *postFetcher) apply(ctx context.Context, w index.Wanted, car []byte) error {
	path := index.PostCollection.String() + "/" + w.RKey.String()
	rev, record, err := f.in.proveRecord(ctx, w.Author, path, car)
	if err != nil {
		return err
	}
	repos, err := f.in.loadRepos(ctx, []syntax.DID{w.Author})
	if err != nil {
		return err
	}
	if int64(rev.Integer()) < repos[w.Author].pruned {
		return errBehind
	}
	op := index.Op{Action: index.Delete, Collection: index.PostCollection, RKey: w.RKey}
	if record != nil {
		op = f.in.snapshotOp(*record)
	}
	u := unit{did: w.Author, time: rev.Time()}
	f.in.fetch.sink.apply(ctx, &u, rev, []index.Op{op}, nil)
	return f.in.fetch.sink.settle(ctx, []unit{u}, nil)
}

// proveRecord reads a record, nil when there is none, and the revision of the
// repository, from blocks that prove both: the signed commit and the part of
// the tree where the record is or would be.
func (in *Ingester) proveRecord(ctx context.Context, did syntax.DID, path string, car []byte) (rev syntax.TID, record *snapshotRecord, err error) {
	header, _, err := section(car)
	if err != nil {
		return "", nil, err
	}
	root, err := carRoot(in.decode, header)
	if err != nil {
		return "", nil, err
	}
	b, err := readCAR(car)
	if err != nil {
		return "", nil, err
	}
	h, err := in.fetchedHead(ctx, did, root, b)
	if err != nil {
		return "", nil, err
	}
	items, err := readTree(b, h.data)
	if err != nil {
		return "", nil, err
	}
	value, err := findKey(items, path)
	if err != nil || value == nil {
		return h.rev, nil, err
	}
	data, ok := b.get(*value)
	if !ok {
		return "", nil, fmt.Errorf("%w: the record is missing", errTree)
	}
	return h.rev, &snapshotRecord{path: path, cid: *value, data: data}, nil
}

// findKey finds the value of a key, nil when the items prove that it is not
// there.
func findKey(items []item, key string) (*digest, error) {
	unknown := false // since the last key below ours
	for _, it := range items {
		switch {
		case it.key == key:
			return &it.value, nil
		case it.key == "":
			unknown = true
			continue
		case it.key > key:
			if unknown {
				return nil, errPartial
			}
			return nil, nil //nolint:nilnil // documented: not there
		}
		unknown = false
	}
	if unknown {
		return nil, errPartial
	}
	return nil, nil //nolint:nilnil // documented: not there
}
