package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
)

const (
	// resolveTimeout bounds asking about one account.
	resolveTimeout = 20 * time.Second
	// The wait after a failure doubles from the first to the last.
	resolveAgainMin = 5 * time.Second
	resolveAgainMax = 24 * time.Hour
)

// Directory answers who an account is; identity.Directory does.
type Directory interface {
	// LookupFresh finds an identity by answers at most maxAge old.
	LookupFresh(ctx context.Context, id syntax.AtIdentifier, maxAge time.Duration) (*sdk.Identity, error)
	// LookupDocument finds keys and server without a look at the handle, for
	// whose host, which may be anybody's, no event must wait.
	LookupDocument(ctx context.Context, did syntax.DID, maxAge time.Duration) (*sdk.Identity, error)
	// VerifyHandle says why a handle does not lead to the account.
	VerifyHandle(ctx context.Context, did syntax.DID, handle syntax.Handle) error
	// PDS is the origin of the account's server.
	PDS(ident *sdk.Identity) (string, error)
}

// resolver asks about accounts that the index marks as unresolved, in the
// background and a few at a time. What is to be asked is in the database.
type resolver struct {
	in    *Ingester
	log   *slog.Logger
	lanes []*lane
}

// lane keeps accounts of one DID method apart: a did:web leads to a host of
// its owner's choice, who may let us wait, and must not make others wait.
type lane struct {
	prefix  string
	workers int
	wake    chan struct{}
}

func newResolver(in *Ingester) *resolver {
	return &resolver{in: in, log: in.log, lanes: []*lane{
		{prefix: "did:plc:", workers: 12, wake: make(chan struct{}, 1)},
		{prefix: "did:web:", workers: 4, wake: make(chan struct{}, 1)},
	}}
}

// poke wakes the lanes. It never waits.
func (r *resolver) poke() {
	for _, l := range r.lanes {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (r *resolver) run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, l := range r.lanes {
		wg.Go(func() { r.runLane(ctx, l) })
	}
	wg.Wait()
}

// runLane keeps up to l.workers accounts in the making.
func (r *resolver) runLane(ctx context.Context, l *lane) {
	done := make(chan syntax.DID)
	running := map[syntax.DID]bool{}
	ticker := time.NewTicker(r.in.cfg.Limits.ResolveEvery)
	defer ticker.Stop()
	for {
		for _, u := range r.due(ctx, l, running) {
			running[u.DID] = true
			go func() {
				r.resolve(ctx, u)
				done <- u.DID
			}()
		}
		select {
		case did := <-done:
			delete(running, did)
		case <-l.wake:
		case <-ticker.C:
		case <-ctx.Done():
			for range running {
				<-done
			}
			return
		}
	}
}

// due lists accounts to begin with now.
func (r *resolver) due(ctx context.Context, l *lane, running map[syntax.DID]bool) []index.Unresolved {
	free := l.workers - len(running)
	if free == 0 || ctx.Err() != nil {
		return nil
	}
	list, err := r.in.cfg.Index.Unresolved(ctx, l.prefix, l.workers)
	if err != nil {
		if ctx.Err() == nil {
			r.log.WarnContext(ctx, "unresolved accounts cannot be read", "error", err)
		}
		return nil
	}
	var out []index.Unresolved
	for _, u := range list {
		if !running[u.DID] && len(out) < free {
			out = append(out, u)
		}
	}
	return out
}

// resolve asks about one account and stores the answer, or when to try again.
func (r *resolver) resolve(ctx context.Context, u index.Unresolved) {
	asking, cancel := context.WithTimeout(ctx, resolveTimeout)
	answer, err := r.ask(asking, u)
	cancel()
	outcome := "ok"
	if err == nil {
		err = r.in.cfg.Index.Resolve(ctx, u, answer)
	} else if ctx.Err() == nil {
		outcome = "failed"
		r.log.DebugContext(ctx, "account not resolved", "did", u.DID, "attempts", u.Attempts+1, "error", err)
		err = r.in.cfg.Index.Postpone(ctx, u, againAfter(u.Attempts))
	}
	if ctx.Err() != nil {
		return // it stays due
	}
	if err != nil {
		outcome = "storage"
		r.log.WarnContext(ctx, "answer about an account not stored", "did", u.DID, "error", err)
	}
	r.in.metrics.resolved.WithLabelValues(outcome).Inc()
}

// againAfter spaces the attempts.
func againAfter(attempts int) time.Duration {
	wait := resolveAgainMax
	if attempts < 16 {
		wait = min(resolveAgainMin<<attempts, resolveAgainMax)
	}
	return wait/2 + rand.N(wait/2)
}

// ask finds out handle, server and status. Only the first look may use what
// is cached.
func (r *resolver) ask(ctx context.Context, u index.Unresolved) (index.Answer, error) {
	maxAge := 10 * time.Minute
	if u.Again {
		maxAge = 0
	}
	ident, err := r.in.cfg.Directory.LookupFresh(ctx, u.DID.AtIdentifier(), maxAge)
	if err != nil {
		return index.Answer{}, fmt.Errorf("look up %s: %w", u.DID, err)
	}
	answer := index.Answer{Identity: index.Identity{DID: u.DID}}
	if !ident.Handle.IsInvalidHandle() {
		answer.Handle = ident.Handle
	} else if r.uncertain(ctx, ident) {
		answer.Unchecked, answer.Again = true, againAfter(u.Attempts)
	}
	if answer.PDS, err = r.in.cfg.Directory.PDS(ident); err == nil {
		answer.Status = r.status(ctx, answer.PDS, u.DID)
	} else {
		r.log.DebugContext(ctx, "account has no server", "did", u.DID, "error", err) // which is an answer, too
	}
	return answer, nil
}

// status is what the account's server says about it; nil when it says nothing.
func (r *resolver) status(ctx context.Context, origin string, did syntax.DID) *index.Status {
	at := r.in.cfg.Now()
	status, err := r.hostStatus(ctx, origin, did)
	if err != nil {
		r.log.DebugContext(ctx, "host does not tell the account's status", "did", did, "error", err)
		return nil
	}
	status.At, status.Host = at, origin
	return status
}

// uncertain reports that a handle could not be checked, rather than that it
// leads elsewhere.
func (r *resolver) uncertain(ctx context.Context, ident *sdk.Identity) bool {
	declared, err := ident.DeclaredHandle()
	if err != nil {
		return false
	}
	err = r.in.cfg.Directory.VerifyHandle(ctx, ident.DID, declared)
	return errors.Is(err, identity.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}

// hostStatus asks an account's server (com.atproto.sync.getRepoStatus).
func (r *resolver) hostStatus(ctx context.Context, origin string, did syntax.DID) (*index.Status, error) {
	address := origin + "/xrpc/com.atproto.sync.getRepoStatus?did=" + url.QueryEscape(did.String())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := r.in.cfg.Fetch.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var said struct {
		DID    string `json:"did"`
		Active bool   `json:"active"`
		Status string `json:"status"`
	}
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said); err != nil {
		return nil, fmt.Errorf("status %d: %w", res.StatusCode, err)
	}
	if res.StatusCode != http.StatusOK || said.DID != did.String() || !isStatus(said.Status) {
		return nil, fmt.Errorf("status %d is no answer about the account", res.StatusCode)
	}
	return &index.Status{Active: said.Active, Reason: said.Status}, nil
}
