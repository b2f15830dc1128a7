package client

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// DueStore is what a Keeper needs of a store beside SessionStore.
type DueStore interface {
	// Due returns sessions that can be used and meet any of the conditions of
	// q, with ids after q.After, in the order of their ids, q.Limit at most. Fewer
	// than that means that there are no more.
	Due(ctx context.Context, q DueQuery) ([]DueSession, error)
}

// DueQuery asks for the next sessions that may need something. A zero time
// stands for a condition that no session meets.
type DueQuery struct {
	After string
	Limit int
	// EndsBefore: RefreshExpiresAt is known and before this.
	EndsBefore time.Time
	// RefreshedBefore: RefreshExpiresAt is not known, and RefreshedAt before this.
	RefreshedBefore time.Time
	// UsedBefore: UsedAt is before this.
	UsedBefore time.Time
}

// Wants reports whether a session meets a condition, for stores that look at
// every one.
func (q DueQuery) Wants(d *SessionData) bool {
	if d.RefreshExpiresAt.IsZero() {
		return d.RefreshedAt.Before(q.RefreshedBefore) || d.UsedAt.Before(q.UsedBefore)
	}
	return d.RefreshExpiresAt.Before(q.EndsBefore) || d.UsedAt.Before(q.UsedBefore)
}

// DueSession is what a Keeper has to know of a session; the fields are those of
// SessionData.
type DueSession struct {
	ID               string
	DID              syntax.DID
	Issuer           string
	KeyID            string
	CreatedAt        time.Time
	UsedAt           time.Time
	RefreshedAt      time.Time
	RefreshExpiresAt time.Time
}

// Due makes the DueSession of a session.
func (d *SessionData) Due() DueSession {
	return DueSession{
		ID: d.ID, DID: d.DID, Issuer: d.Issuer, KeyID: d.KeyID,
		CreatedAt: d.CreatedAt, UsedAt: d.UsedAt, RefreshedAt: d.RefreshedAt, RefreshExpiresAt: d.RefreshExpiresAt,
	}
}

// Defaults of a Keeper.
const (
	DefaultEvery   = 15 * time.Minute
	DefaultLead    = 7 * 24 * time.Hour
	DefaultPerHost = 2
	DefaultHosts   = 8
	DefaultBudget  = 20 * time.Second

	unknownLife = 24 * time.Hour // a refresh token of unknown end is renewed when it is this old
	duePage     = 200
)

// KeeperConfig is what a Keeper works with; zero values stand for the defaults.
type KeeperConfig struct {
	Client *Client
	Store  DueStore
	// Every is the time between two passes, a tenth more or less.
	Every time.Duration
	// Lead is how long before its end a refresh token is renewed, at most half
	// its life, and up to a quarter less for each session to keep them apart.
	Lead time.Duration
	// Idle is how long a session may go unused (SessionData.UsedAt) before it is
	// revoked at its server and deleted; zero keeps it for ever.
	Idle time.Duration
	// PerHost is how many sessions of one issuer are worked on at once, and
	// Hosts how many issuers.
	PerHost, Hosts int
	// Budget bounds the end of Run.
	Budget time.Duration
	// Observe, if set, gets the counts of every pass.
	Observe func(Pass)
}

// Pass counts what one pass of a Keeper did. A session may need nothing yet
// although its store named it.
type Pass struct {
	Seen      int // named by the store
	Renewed   int // refreshed, here or by another process meanwhile
	Postponed int // trouble that passes; a later pass tries again
	Ended     int // found to be over
	Idle      int // revoked and deleted because nobody used them
	Failed    int // not refreshed for another reason, such as a withdrawn key
}

// Keeper keeps sessions alive that nobody uses for a while: it renews them before
// their refresh tokens end. Any number of processes may each run one on the same
// store: the lease of a session sees to it that one of them works on it.
type Keeper struct {
	cfg KeeperConfig
	c   *Client
	log *slog.Logger
}

// NewKeeper checks cfg and makes a Keeper. It does no I/O.
func NewKeeper(cfg KeeperConfig) (*Keeper, error) {
	if cfg.Client == nil || cfg.Store == nil || cfg.Client.cfg.Sessions == nil {
		return nil, errors.New("keeper: a client with a session store, and a store, are required")
	}
	if min(cfg.Every, cfg.Lead, cfg.Idle, cfg.Budget) < 0 || min(cfg.PerHost, cfg.Hosts) < 0 {
		return nil, errors.New("keeper: a time or a number is negative")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&cfg.Every, DefaultEvery}, {&cfg.Lead, DefaultLead}, {&cfg.Budget, DefaultBudget}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if cfg.PerHost == 0 {
		cfg.PerHost = DefaultPerHost
	}
	if cfg.Hosts == 0 {
		cfg.Hosts = DefaultHosts
	}
	return &Keeper{cfg: cfg, c: cfg.Client, log: cfg.Client.log}, nil
}

// Run makes passes until ctx ends, the first one soon. It then begins nothing
// new, waits for the client's refreshes that are under way, within Budget, and
// lets idle connections go. It returns nil, or an error when the budget was not
// enough.
func (k *Keeper) Run(ctx context.Context) error {
	next := time.Duration(rand.Int64N(int64(k.cfg.Every)/10 + 1))
	for {
		timer := time.NewTimer(next)
		select {
		case <-ctx.Done():
			timer.Stop()
			return k.stop(ctx)
		case <-timer.C:
		}
		pass, err := k.Pass(ctx)
		if err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "keeping sessions alive", "error", err)
		}
		k.log.InfoContext(ctx, "sessions kept alive", "seen", pass.Seen, "renewed", pass.Renewed, "postponed", pass.Postponed,
			"ended", pass.Ended, "idle", pass.Idle, "failed", pass.Failed)
		next = time.Duration(float64(k.cfg.Every) * (0.9 + 0.2*rand.Float64()))
	}
}

func (k *Keeper) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), k.cfg.Budget)
	defer cancel()
	err := k.c.Drain(ctx)
	k.c.http.CloseIdleConnections()
	if err != nil {
		return fmt.Errorf("keeper: stop: %w", err)
	}
	return nil
}

// Pass looks at every session once. The error is the store's; the counts are
// right as far as it came.
func (k *Keeper) Pass(ctx context.Context) (Pass, error) {
	var total counts
	now := k.c.now()
	q := DueQuery{Limit: duePage, EndsBefore: now.Add(k.cfg.Lead), RefreshedBefore: now.Add(-unknownLife * 3 / 4)}
	if k.cfg.Idle > 0 {
		q.UsedBefore = now.Add(-k.cfg.Idle)
	}
	var err error
	for ctx.Err() == nil {
		var page []DueSession
		if page, err = k.cfg.Store.Due(ctx, q); err != nil {
			err = fmt.Errorf("look for sessions that are due: %w", err)
			break
		}
		k.page(ctx, page, &total)
		if len(page) < q.Limit {
			break
		}
		q.After = page[len(page)-1].ID
	}
	pass := total.read()
	if k.cfg.Observe != nil {
		k.cfg.Observe(pass)
	}
	return pass, err
}

type counts struct {
	mu   sync.Mutex
	pass Pass
}

func (c *counts) read() Pass {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pass
}

func (c *counts) add(field func(*Pass) *int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	*field(&c.pass)++
}

// page works on sessions, host by host, and returns when it is done with them.
func (k *Keeper) page(ctx context.Context, page []DueSession, total *counts) {
	byHost := map[string][]DueSession{}
	for _, d := range page {
		total.add(func(p *Pass) *int { return &p.Seen })
		byHost[d.Issuer] = append(byHost[d.Issuer], d)
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, k.cfg.Hosts)
	for _, sessions := range byHost {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			k.host(ctx, sessions, total)
		})
	}
	wg.Wait()
}

// host works on the sessions of one issuer.
func (k *Keeper) host(ctx context.Context, sessions []DueSession, total *counts) {
	work := make(chan DueSession)
	var wg sync.WaitGroup
	for range min(k.cfg.PerHost, len(sessions)) {
		wg.Go(func() {
			for d := range work {
				if field := k.one(ctx, d); field != nil {
					total.add(field)
				}
			}
		})
	}
	for _, d := range sessions {
		if ctx.Err() != nil {
			break
		}
		work <- d
	}
	close(work)
	wg.Wait()
}

// one does what a session needs, and returns what to count.
func (k *Keeper) one(ctx context.Context, d DueSession) func(*Pass) *int {
	var err error
	var done func(*Pass) *int
	switch now := k.c.now(); {
	case k.cfg.Idle > 0 && d.UsedAt.Before(now.Add(-k.cfg.Idle)):
		done = func(p *Pass) *int { return &p.Idle }
		err = k.c.retire(ctx, d.ID, ReasonIdle, func(s *SessionData) bool { return s.UsedAt.Before(now.Add(-k.cfg.Idle)) })
	case d.KeyID == "" && !d.RefreshExpiresAt.IsZero() && !now.Before(d.RefreshExpiresAt):
		// No refresh makes the session of a public client last longer.
		done = func(p *Pass) *int { return &p.Ended }
		err = k.c.retire(ctx, d.ID, ReasonExpired, func(s *SessionData) bool { return s.KeyID == "" })
	case k.due(d, now):
		done = func(p *Pass) *int { return &p.Renewed }
		_, err = k.c.Refresh(ctx, d.ID)
	}
	switch {
	case err == nil:
		return done
	case errors.Is(err, ErrEnded):
		return func(p *Pass) *int { return &p.Ended }
	case errors.Is(err, errBusy), Temporary(err), ctx.Err() != nil:
		return func(p *Pass) *int { return &p.Postponed }
	}
	k.log.WarnContext(ctx, "session not kept alive", "session_id", d.ID, "did", d.DID, "error", err)
	return func(p *Pass) *int { return &p.Failed }
}

// due tells whether a session is to be renewed now.
func (k *Keeper) due(d DueSession, now time.Time) bool {
	part := 0.75 + 0.25*spread(d.ID)
	if d.RefreshExpiresAt.IsZero() {
		return now.Sub(d.RefreshedAt) >= time.Duration(float64(unknownLife)*part)
	}
	if d.KeyID == "" {
		return false
	}
	life := d.RefreshExpiresAt.Sub(d.RefreshedAt)
	lead := time.Duration(float64(min(k.cfg.Lead, life/2)) * part)
	// Where renewing does not move the end, once a day is enough.
	return d.RefreshExpiresAt.Sub(now) < lead && now.Sub(d.RefreshedAt) >= min(unknownLife, life/2)
}

// spread is a number in [0,1) of a session's own, so that sessions which began
// together are not all renewed together.
func spread(id string) float64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return float64(h.Sum32()%1000) / 1000
}

var errBusy = errors.New("the session is in use")

// retire ends a session of our own accord, under its lease: the server is told,
// then it is deleted. errBusy: somebody refreshes it, or still says no by now.
func (c *Client) retire(ctx context.Context, id string, why Reason, still func(*SessionData) bool) error {
	d, err := c.read(ctx, id)
	if err != nil {
		return err
	}
	if !still(d) {
		return errBusy
	}
	if _, ok := free(d, c.now(), 0); !ok {
		return errBusy
	}
	h, err := c.acquire(ctx, d)
	if errors.Is(err, ErrConflict) {
		return errBusy
	}
	if err != nil {
		return err
	}
	defer h.end()
	ctx = context.WithoutCancel(ctx) // what has begun is ended
	c.forget(ctx, h.current())
	_ = c.ended(ctx, h.current(), why, nil) // what it returns is for those who use the session
	return nil
}
