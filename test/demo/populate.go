package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"golang.org/x/sync/errgroup"

	"github.com/atoll-social/atoll/test/network"
)

// writesAtOnce is how many records one call writes; servers take 200.
const writesAtOnce = 100

// diary remembers between runs how far the demo's making has come. What it made once isn't made again, also when a
// member has deleted it since.
type diary struct {
	Began time.Time `json:"began"` // what records are dated and keyed by
	Done  bool      `json:"done"`

	file string
}

// openDiary reads the diary of the folder, or begins one.
func openDiary(folder string) (*diary, error) {
	d := &diary{file: filepath.Join(folder, "demo.json")}
	text, err := os.ReadFile(d.file)
	if errors.Is(err, fs.ErrNotExist) {
		d.Began = time.Now().UTC().Truncate(time.Millisecond)
		return d, d.save()
	}
	if err == nil {
		err = json.Unmarshal(text, d)
	}
	return d, err
}

func (d *diary) save() error {
	text, err := json.Marshal(d)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.file+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(d.file+".new", d.file)
}

// populate makes what is missing of accounts, communities and records. It goes on where an earlier run was stopped.
func populate(ctx context.Context, n *network.Network, atoll string, d *diary, c *content, out io.Writer) error {
	if d.Done {
		return nil
	}
	people, err := arrive(ctx, n, c.Members)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %d members on two servers\n", len(people))
	communities, err := found(ctx, n, atoll, c, people)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %d communities\n", len(communities))
	dids := make(map[string]syntax.DID, len(people))
	for name, s := range people {
		dids[name] = syntax.DID(s.Account.DID)
	}
	p, err := newPlan(c, d.Began, dids, communities)
	if err != nil {
		return err
	}
	written, err := p.write(ctx, people)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "  %d posts, comments, votes and subscriptions\n", written)
	d.Done = true
	return d.save()
}

// write brings the plan's records into the members' repositories, except those that are there.
func (p *plan) write(ctx context.Context, people map[string]*network.Session) (int, error) {
	total := 0
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for name, r := range p.repos {
		total += len(r.writes)
		group.Go(func() error {
			if err := r.settle(ctx, people[name]); err != nil {
				return fmt.Errorf("write as %s: %w", name, err)
			}
			return nil
		})
	}
	return total, group.Wait()
}

func (r *repo) settle(ctx context.Context, s *network.Session) error {
	have, err := keysOf(ctx, s)
	if err != nil {
		return err
	}
	var missing []any
	for _, w := range r.writes {
		if !have[w.collection.String()+"/"+w.rkey] {
			missing = append(missing, map[string]any{
				"$type": "com.atproto.repo.applyWrites#create", "collection": w.collection, "rkey": w.rkey, "value": w.record,
			})
		}
	}
	if len(missing) == 0 {
		return nil
	}
	for _, b := range r.blobs {
		if err := s.UploadBlob(ctx, b.ref.MimeType, b.data); err != nil {
			return err
		}
	}
	for len(missing) > 0 {
		some := missing[:min(len(missing), writesAtOnce)]
		missing = missing[len(some):]
		if err := s.Call(ctx, "com.atproto.repo.applyWrites", map[string]any{"repo": s.Account.DID, "writes": some}, nil); err != nil {
			return err
		}
	}
	return nil
}

// keysOf lists a repository's records as collection/key.
func keysOf(ctx context.Context, s *network.Session) (map[string]bool, error) {
	var repo struct{ Collections []string }
	if err := s.Query(ctx, "com.atproto.repo.describeRepo", url.Values{"repo": {s.Account.DID}}, &repo); err != nil {
		return nil, err
	}
	have := map[string]bool{}
	for _, collection := range repo.Collections {
		params := url.Values{"repo": {s.Account.DID}, "collection": {collection}, "limit": {"100"}}
		for {
			var page struct {
				Cursor  string
				Records []struct{ URI syntax.ATURI }
			}
			if err := s.Query(ctx, "com.atproto.repo.listRecords", params, &page); err != nil {
				return nil, err
			}
			for _, r := range page.Records {
				have[collection+"/"+r.URI.RecordKey().String()] = true
			}
			if page.Cursor == "" || len(page.Records) == 0 {
				break
			}
			params.Set("cursor", page.Cursor)
		}
	}
	return have, nil
}

// blobOf is what a server calls these bytes (AT Protocol data model, blobs).
func blobOf(data []byte, mime string) (atdata.Blob, error) {
	c, err := cid.NewPrefixV1(cid.Raw, multihash.SHA2_256).Sum(data)
	return atdata.Blob{Ref: atdata.CIDLink(c), MimeType: mime, Size: int64(len(data))}, err
}
