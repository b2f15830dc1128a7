package daemon

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// instance holds what several subsystems stand on while they are assembled.
type instance struct {
	*Storage
	origin    string // where browsers reach us
	guard     *egress.Guard
	directory *identity.Directory
	calls     *http.Client // to members' servers
	ready     *httpserver.Readiness
	queue     *job.Queue
	accounts  *account.Manager
	workers   []worker
	serving   []worker // end when the listeners begin to

	subscribers []ingest.Subscriber // of changes of accounts
}

// work adds a part that runs until the stop.
func (i *instance) work(name string, run func(context.Context) error) {
	i.workers = append(i.workers, worker{name, run})
}

// whileServing adds a part that is told of the stop together with the listeners,
// which wait for requests that it may hold up.
func (i *instance) whileServing(name string, run func(context.Context) error) {
	i.serving = append(i.serving, worker{name, run})
}

// members is everything about people and their sessions.
type members struct {
	client   *client.Client
	sessions *session.Manager
	cookies  session.Cookies
	login    *login.Service
	apps     *apps
}

func (d *Daemon) members(ctx context.Context, i *instance, ix *index.Index) (*members, error) {
	manager, err := session.New(session.Config{
		DB: i.DB, Ring: i.Ring, Logger: d.cfg.Logger, Now: d.cfg.Now, ClientID: ClientID(d.settings), DeviceLife: d.unused(),
	})
	if err != nil {
		return nil, err
	}
	attempts, err := login.NewAttempts(login.AttemptsConfig{DB: i.DB, Ring: i.Ring, Now: d.cfg.Now})
	if err != nil {
		return nil, err
	}
	c, err := d.oauthClient(ctx, i, attempts, manager)
	if err != nil {
		return nil, err
	}
	if err := d.keepSessions(i, manager, c); err != nil {
		return nil, err
	}
	cookies, err := session.NewCookies(i.origin, d.unused())
	if err != nil {
		return nil, err
	}
	programs, err := d.apps(ctx, i, manager)
	if err != nil {
		return nil, err
	}
	service, err := login.New(login.Config{
		Client: c, Attempts: attempts, Sessions: manager, Directory: i.directory, Cookies: cookies, HandOffs: programs.handOffs,
		Meet: ix.Meet, Scope: d.cfg.SignInScope,
		Origin: i.origin, Limit: perMinute(d.settings.Limits.SignInsPerMinute), Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	m := &members{client: c, sessions: manager, cookies: cookies, login: service, apps: programs}
	return m, d.sessionUpkeep(i, m, attempts)
}

// oauthClient makes the client that signs members in: confidential with a
// public_url, else for development on this machine.
func (d *Daemon) oauthClient(ctx context.Context, i *instance, attempts client.AttemptStore, sessions client.SessionStore) (*client.Client, error) {
	pushes, err := login.NewPushLimit()
	if err != nil {
		return nil, err
	}
	cfg := client.Config{
		ClientID: ClientID(d.settings), RedirectURIs: []string{i.origin + callbackPath}, Scope: login.Scope(),
		Name: "Atoll", HTTP: i.calls, Directory: i.directory, Attempts: attempts, Sessions: sessions,
		BeforePush: pushes.Wait, Timeout: oauthTimeout, AllowLoopback: d.settings.Dev, Now: d.cfg.Now, Logger: d.cfg.Logger,
	}
	if d.settings.PublicURL != "" {
		keys, err := session.NewKeys(session.KeysConfig{DB: i.DB, Ring: i.Ring, Logger: d.cfg.Logger, Now: d.cfg.Now})
		if err != nil {
			return nil, err
		}
		if err := keys.Ensure(ctx); err != nil {
			return nil, fmt.Errorf("client keys: %w", err)
		}
		cfg.Keys, cfg.URI = keys.Set(), d.settings.PublicURL
		i.work("client keys", keys.Run)
	}
	return client.New(cfg)
}

// perMinute grants n requests a minute, and half of them at once.
func perMinute(n int) httpserver.LimiterConfig {
	return httpserver.LimiterConfig{Every: time.Minute / time.Duration(n), Burst: max(n/2, 1)}
}

// content is what the network says, and what members add to it.
type content struct {
	index   *index.Index
	cursors *index.Cursors
	feeds   *feed.Feeds         // nil where nobody is served
	names   *community.Resolver // nil until writing is assembled
	// What members write with; nil until writing is assembled.
	agents      *agent.Agent
	passwords   *agent.Passwords
	posts       *post.Service
	communities *community.Service
}

// cursorKey is the label under which the key that signs cursors is derived.
const cursorKey = "feed cursors"

func (d *Daemon) content(i *instance) (*content, error) {
	ix, err := index.New(index.Config{DB: i.DB, Now: d.cfg.Now})
	if err != nil {
		return nil, err
	}
	i.work("index", func(ctx context.Context) error { return ix.Run(ctx, d.cfg.Logger.With("component", "index")) })
	cursors, err := index.NewCursors(i.Ring.Derive(cursorKey, 32))
	if err != nil {
		return nil, err
	}
	if d.settings.Has(config.RoleIngest) {
		if err := d.listen(i, ix); err != nil {
			return nil, err
		}
	}
	return &content{index: ix, cursors: cursors}, nil
}

// writing is how members write: posts, and what stands behind every write.
func (d *Daemon) writing(i *instance, m *members, c *content) error {
	agents, passwords, err := d.agents(i, m)
	if err != nil {
		return err
	}
	c.agents, c.passwords = agents, passwords
	records, err := record.New(record.Config{
		DB: i.DB, Index: c.index, Agent: agents, Directory: i.directory, Logger: d.cfg.Logger,
		Applied: func() { c.communities.Wake() },
	})
	if err != nil {
		return err
	}
	if err := d.communities(i, c, records); err != nil {
		return err
	}
	c.posts, err = post.New(post.Config{
		DB: i.DB, Index: c.index, Agent: agents, Records: records, Communities: c.names, Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
	return err
}

// assemble makes every part and returns what answers requests.
func (d *Daemon) assemble(ctx context.Context, storage *Storage, l *listening) (*parts, error) {
	guard, err := outbound(d.cfg, d.registry)
	if err != nil {
		return nil, err
	}
	dir, err := directory(d.cfg, guard)
	if err != nil {
		return nil, err
	}
	i := &instance{
		Storage: storage, origin: l.origin(d.settings), guard: guard, directory: dir,
		calls: guard.Client(egress.Limits{Timeout: callTimeout, MaxBytes: callSize}),
		ready: l.ready,
	}
	d.needs(i, l)
	i.work("storage upkeep", storage.DB.Run)
	if err := d.databaseMetrics(i); err != nil {
		return nil, err
	}
	if i.queue, err = d.jobs(i); err != nil {
		return nil, err
	}
	if i.accounts, err = d.accounts(i); err != nil {
		return nil, err
	}
	if d.cfg.Hangup != nil {
		i.work("secret key", d.rereadKeys(storage))
	}
	p := &parts{origin: i.origin}
	if l.handler, p.clientID, err = d.serving(ctx, i); err != nil {
		return nil, err
	}
	p.workers[stageServe] = append(l.workers(), i.serving...)
	p.workers[stageWork] = i.workers
	return p, nil
}

// serving makes what answers requests, and what stands behind it.
func (d *Daemon) serving(ctx context.Context, i *instance) (http.Handler, string, error) {
	c, err := d.content(i)
	if err != nil {
		return nil, "", err
	}
	if !d.settings.Has(config.RoleWeb) && !d.settings.Has(config.RoleJobs) {
		return d.healthOnly(i), "", nil
	}
	m, err := d.members(ctx, i, c.index)
	if err != nil {
		return nil, "", err
	}
	if err := d.writing(i, m, c); err != nil {
		return nil, "", err
	}
	i.onAccount(followAccounts(m.sessions))
	i.onAccount(forgetIdentity(i.directory))
	i.onAccount(forgetPassword(c.passwords))
	i.onAccount(lookAtHosted(i.accounts))
	if err := d.tell(i, c); err != nil {
		return nil, "", err
	}
	if !d.settings.Has(config.RoleWeb) {
		return d.healthOnly(i), "", nil
	}
	if d.settings.PublicURL != "" {
		i.work("published documents", d.checkPublished)
	}
	if err := d.feeds(i, c); err != nil {
		return nil, "", err
	}
	s, err := d.surfaces(i, m, c)
	if err != nil {
		return nil, "", err
	}
	handler, err := d.handler(i, s)
	return handler, m.client.ID(), err
}
