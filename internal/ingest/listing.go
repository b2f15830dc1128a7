package ingest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
)

// errNoMethod tells that a host does not offer a method.
var errNoMethod = errors.New("the host does not offer this")

// BackfillSource lists the repositories of a host that hold records of ours
// (com.atproto.sync.listReposByCollection; where that is not offered, all of
// them: listRepos) and fetches each that never was. How far the list has been
// read is kept: it goes on there the next time.
func (in *Ingester) BackfillSource(ctx context.Context, host string, report func(Progress)) (Progress, error) {
	in.lease.off = true
	origin, err := sourceOrigin(Source{Kind: Repos, URL: host})
	if err != nil {
		return Progress{}, fmt.Errorf("source %.200q: %w", host, err)
	}
	var p Progress
	for _, collection := range index.RecordTypes() {
		err := in.list(ctx, origin, collection.String(), &p, report)
		if errors.Is(err, errNoMethod) {
			if err = in.list(ctx, origin, "", &p, report); err == nil {
				break
			}
		}
		if err != nil {
			return p, fmt.Errorf("list the repositories of %s: %w", origin, err)
		}
	}
	var trouble error
	defer in.counts.flush(ctx)
	in.fetch.work(ctx, func() bool {
		trouble = in.cfg.DB.Read().QueryRowContext(ctx, `
			SELECT count(CASE WHEN attempts = 0 THEN 1 END), count(CASE WHEN attempts > 0 THEN 1 END)
			FROM ingest_repo WHERE wanted`).Scan(&p.Left, &p.Failed)
		report(p)
		return trouble != nil || p.Left == 0
	})
	return p, errors.Join(trouble, ctx.Err())
}

// list reads one list to its end. Each page and the place after it are stored
// together.
func (in *Ingester) list(ctx context.Context, origin, collection string, p *Progress, report func(Progress)) error {
	cursor, err := in.listedUpTo(ctx, origin, collection)
	if err != nil {
		return err
	}
	for {
		page, err := in.page(ctx, origin, collection, cursor)
		if err != nil {
			return err
		}
		done := page.Cursor == "" || page.Cursor == cursor || len(page.Repos) == 0
		cursor = page.Cursor
		err = in.cfg.DB.Tx(ctx, func(tx *store.Tx) error { return in.savePage(ctx, tx, origin, collection, page, done) })
		if err != nil {
			return err
		}
		p.Listed += int64(len(page.Repos))
		report(*p)
		if done {
			return nil
		}
	}
}

// listedUpTo is where a list is to be read on; one that was read to its end
// begins anew.
func (in *Ingester) listedUpTo(ctx context.Context, origin, collection string) (string, error) {
	var cursor string
	var done bool
	err := in.cfg.DB.Read().QueryRowContext(ctx,
		`SELECT cursor, done FROM ingest_listing WHERE source = $1 AND collection = $2`, origin, collection).Scan(&cursor, &done)
	if errors.Is(err, sql.ErrNoRows) || done {
		return "", nil
	}
	return cursor, err
}

func (in *Ingester) savePage(ctx context.Context, tx *store.Tx, origin, collection string, page repoPage, done bool) error {
	for _, r := range page.Repos {
		did, err := parseDID(r.DID)
		if err != nil || r.Active != nil && !*r.Active {
			continue
		}
		if err := in.want(ctx, tx, did, false); err != nil {
			return err
		}
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO ingest_listing (source, collection, cursor, listed, done, updated_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (source, collection) DO UPDATE SET cursor = excluded.cursor,
		    listed = ingest_listing.listed + excluded.listed, done = excluded.done, updated_at = excluded.updated_at`,
		origin, collection, storable(page.Cursor), len(page.Repos), done, store.Micros(in.cfg.Now()))
	return err
}

// repoPage is a page of listReposByCollection or listRepos.
type repoPage struct {
	Cursor string `json:"cursor"`
	Repos  []struct {
		DID    string `json:"did"`
		Active *bool  `json:"active"`
	} `json:"repos"`
}

// page asks for one page. Without a collection it lists all repositories.
func (in *Ingester) page(ctx context.Context, origin, collection, cursor string) (repoPage, error) {
	method, q := "listRepos", url.Values{"limit": {"500"}}
	if collection != "" {
		method = "listReposByCollection"
		q.Set("collection", syntax.NSID(collection).String())
	}
	if cursor != "" {
		q.Set("cursor", cursor)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+"/xrpc/com.atproto.sync."+method+"?"+q.Encode(), nil)
	if err != nil {
		return repoPage{}, err
	}
	res, err := in.cfg.Fetch.Do(req)
	if err != nil {
		return repoPage{}, err
	}
	defer res.Body.Close()
	switch {
	case isAbsent(res.StatusCode):
		return repoPage{}, fmt.Errorf("%s: status %d: %w", method, res.StatusCode, errNoMethod)
	case res.StatusCode != http.StatusOK:
		return repoPage{}, fmt.Errorf("%s: status %d", method, res.StatusCode)
	}
	var page repoPage
	if err := json.NewDecoder(io.LimitReader(res.Body, 4<<20)).Decode(&page); err != nil {
		return repoPage{}, fmt.Errorf("%s: %w", method, err)
	}
	return page, nil
}
