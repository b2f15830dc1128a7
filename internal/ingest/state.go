package ingest

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/store"
)

// The kinds of hosts that speak subscribeRepos.
const (
	originPDS   = "pds"
	originRelay = "relay"
	// originJetstream is a host that speaks Jetstream; it starts live.
	originJetstream = "jetstream"
)

// What hosts call a cursor that they cannot go on from.
const (
	futureCursor = "FutureCursor"
	cursorTooOld = "CursorTooOld"
)

// probeTimeout bounds asking a host what it is.
const probeTimeout = 15 * time.Second

// place is where reading a source goes on.
type place struct {
	origin string // originPDS or originRelay
	// cursor is the sequence number seen last; nil means from now on.
	cursor *int64
	// time is how far it has been read, in microseconds; zero when that is
	// not known. Other hosts can be read on from there.
	time int64
}

// startOf is where reading begins: a PDS is small and belongs to the
// configuration, so all that it has; a relay carries the whole network, so
// what happens from now on.
func startOf(origin string) place {
	if origin == originPDS {
		return place{origin: origin, cursor: new(int64)}
	}
	return place{origin: origin}
}

// loadPlace reads where the source stands, or finds out what the host is.
func (s *source) loadPlace(ctx context.Context) (place, error) {
	var p place
	var cursor, at sql.NullInt64
	err := s.in.cfg.DB.Read().QueryRowContext(ctx,
		`SELECT origin_kind, cursor, at FROM ingest_source WHERE url = $1 AND kind = $2`, s.url, s.kind).Scan(&p.origin, &cursor, &at)
	switch {
	case errors.Is(err, sql.ErrNoRows) && s.kind == Repos:
		return s.probe(ctx)
	case errors.Is(err, sql.ErrNoRows):
		return s.succeed(ctx)
	case err != nil:
		return place{}, fmt.Errorf("read the cursor: %w", err)
	}
	if cursor.Valid {
		p.cursor = &cursor.Int64
	}
	p.time = at.Int64
	return p, nil
}

// succeed is where a Jetstream host begins that has not been read before:
// where another one that is no longer followed was left, less a while.
// Sequence numbers belong to one host; times are nearly the same on all.
func (s *source) succeed(ctx context.Context) (place, error) {
	followed := make([]string, 0, len(s.in.sources))
	for _, other := range s.in.sources {
		if other != s {
			followed = append(followed, other.url)
		}
	}
	list, args := store.List(1, followed)
	if len(followed) == 0 {
		list = "('')"
	}
	var at sql.NullInt64
	err := s.in.cfg.DB.Read().QueryRowContext(ctx,
		`SELECT max(at) FROM ingest_source WHERE origin_kind = '`+originJetstream+`' AND url NOT IN `+list, args...).Scan(&at)
	if err != nil {
		return place{}, fmt.Errorf("read the cursors of other hosts: %w", err)
	}
	return place{origin: originJetstream, time: at.Int64}.byTime(), nil
}

// byTime goes on by time instead of a cursor that does not hold.
func (p place) byTime() place {
	p.cursor = nil
	if p.time > 0 {
		at := p.time - rewind.Microseconds()
		p.cursor = &at
	}
	return p
}

// restart is where reading goes on when the host does not know the cursor.
func (s *source) restart() place {
	if s.kind == Repos {
		return startOf(s.at.origin)
	}
	return s.at.byTime()
}

// probe asks the host whether it is a PDS. Only an answer counts: a host that
// is down must not be taken for a relay, whose past is skipped.
func (s *source) probe(ctx context.Context) (place, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	client, err := pds.New(pds.Config{Origin: s.url, HTTP: s.in.cfg.Fetch})
	if err != nil {
		return place{}, err
	}
	_, err = client.DescribeServer(ctx)
	var refused *pds.Error
	switch {
	case err == nil:
		return startOf(originPDS), nil
	case errors.As(err, &refused) && isAbsent(refused.Status):
		// A reverse proxy says "not found" too while the PDS behind it restarts.
		if err := s.listsRepos(ctx); err != nil {
			return place{}, fmt.Errorf("ask the host what it is: it is no PDS, and: %w", err)
		}
		s.log.WarnContext(ctx, "the host is a relay: what was there before is not read")
		return startOf(originRelay), nil
	}
	return place{}, fmt.Errorf("ask the host what it is: %w", err)
}

// listsRepos proves that the host speaks com.atproto.sync at all.
func (s *source) listsRepos(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/xrpc/com.atproto.sync.listRepos?limit=1", nil)
	if err != nil {
		return err
	}
	resp, err := s.in.cfg.Fetch.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var page struct {
		Repos []json.RawMessage `json:"repos"`
	}
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&page) != nil || page.Repos == nil {
		return fmt.Errorf("listRepos is answered with status %d and no list", resp.StatusCode)
	}
	return nil
}

// isAbsent reports that a host does not have a method.
func isAbsent(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return true
	}
	return false
}

// savePlace writes where the source stands in the caller's transaction.
func (s *source) savePlace(ctx context.Context, tx *store.Tx, p place) error {
	var cursor any
	if p.cursor != nil {
		cursor = *p.cursor
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO ingest_source (url, kind, origin_kind, cursor, updated_at, at)
		VALUES (CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS BIGINT))
		ON CONFLICT (url) DO UPDATE SET kind = excluded.kind,
		    origin_kind = excluded.origin_kind, cursor = excluded.cursor, updated_at = excluded.updated_at, at = excluded.at`,
		s.url, s.kind, p.origin, cursor, store.Micros(s.in.cfg.Now()), p.time)
	if err != nil {
		return fmt.Errorf("save the cursor: %w", err)
	}
	return nil
}
