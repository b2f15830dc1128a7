package daemon

import (
	"cmp"
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// keepSessions tells members' servers of sessions that have ended, and keeps the
// others alive. At the stop the keeper waits for refreshes that are under way,
// which requests may have begun.
func (d *Daemon) keepSessions(i *instance, manager *session.Manager, c *client.Client) error {
	revoker, err := session.NewRevoker(session.RevokerConfig{Manager: manager, Client: c})
	if err != nil {
		return err
	}
	kept := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atoll_sessions_kept_total", Help: "What the worker that keeps sessions alive did with those that were due, by outcome.",
	}, []string{"outcome"})
	if err := d.registry.Register(kept); err != nil {
		return err
	}
	countPass(kept, client.Pass{}) // zero is a number, too
	keeper, err := client.NewKeeper(client.KeeperConfig{
		Client: c, Store: manager, Idle: d.unused(), Observe: func(p client.Pass) { countPass(kept, p) },
	})
	if err != nil {
		return err
	}
	i.work("revoker", revoker.Run)
	i.work("session keeper", keeper.Run)
	return nil
}

// unused is how long devices and sessions are kept that nobody uses.
func (d *Daemon) unused() time.Duration {
	return time.Duration(d.settings.Retention.SessionDays) * 24 * time.Hour
}

func countPass(kept *prometheus.CounterVec, p client.Pass) {
	for outcome, n := range map[string]int{
		"renewed": p.Renewed, "postponed": p.Postponed, "ended": p.Ended, "idle": p.Idle, "failed": p.Failed,
	} {
		kept.WithLabelValues(outcome).Add(float64(n))
	}
}

// NewSessionClient makes what an operator's command renews sessions with, beside
// a server or without one.
func NewSessionClient(ctx context.Context, cfg Config, storage *Storage, sessions *session.Manager) (*client.Client, error) {
	d, err := New(cfg)
	if err != nil {
		return nil, err
	}
	guard, err := outbound(cfg, d.registry)
	if err != nil {
		return nil, err
	}
	dir, err := directory(cfg, guard)
	if err != nil {
		return nil, err
	}
	i := &instance{
		Storage: storage, origin: cmp.Or(cfg.Settings.PublicURL, "http://127.0.0.1"), guard: guard, directory: dir,
		calls: guard.Client(egress.Limits{Timeout: callTimeout, MaxBytes: callSize}),
	}
	return d.oauthClient(ctx, i, nil, sessions)
}

// forgetIdentity has an account that the network has news of looked up anew by
// the next who needs it: where to write for a member is not a thing of the cache.
func forgetIdentity(directory *identity.Directory) ingest.Subscriber {
	return func(ctx context.Context, a index.AccountChange) error {
		return directory.Purge(ctx, a.DID.AtIdentifier())
	}
}
