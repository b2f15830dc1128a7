package daemon

import (
	"github.com/atoll-social/atoll/internal/aggregator"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/servicetoken"
	"github.com/atoll-social/atoll/internal/xrpc"
)

// aggregators lets services post to communities that want them.
func (d *Daemon) aggregators(i *instance, m *members, c *content) (*aggregator.Service, error) {
	return aggregator.New(aggregator.Config{
		DB: i.DB, Index: c.index, Directory: i.directory, Trail: m.sessions, Logger: d.cfg.Logger,
		PostsPerHour: d.settings.Limits.AggregatorPostsPerHour, Now: d.cfg.Now,
	})
}

// services judges the tokens that members' servers sign for this instance; nil
// without a public address, by which they would name it.
func (d *Daemon) services(i *instance) (xrpc.Services, error) {
	if d.settings.PublicURL == "" {
		return nil, nil //nolint:nilnil // a development client has no identity
	}
	did, err := identity.InstanceDID(d.settings.PublicURL)
	if err != nil {
		return nil, err
	}
	return servicetoken.New(servicetoken.Config{
		DB: i.DB, Directory: i.directory, Audience: did, Service: identity.InstanceServiceID, Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
}
