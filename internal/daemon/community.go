package daemon

import (
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/record"
)

// names finds communities and people by what they are called.
func (d *Daemon) names(i *instance, c *content) (*community.Resolver, error) {
	own, err := instanceDID(d.settings)
	if err != nil {
		return nil, err
	}
	return community.NewResolver(community.ResolverConfig{
		Index: c.index, Directory: i.directory, HTTP: i.calls, Instance: own,
	})
}

// communities is what members and moderators do with communities.
func (d *Daemon) communities(i *instance, c *content, agents *agent.Agent, records *record.Writer, names *community.Resolver) (*community.Service, error) {
	return community.New(community.Config{
		DB: i.DB, Index: c.index, Agent: agents, Records: records, Names: names, Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
}

// instanceDID is how this instance is known to others, empty in development.
func instanceDID(settings *config.Config) (syntax.DID, error) {
	if settings.PublicURL == "" {
		return "", nil
	}
	return identity.InstanceDID(settings.PublicURL)
}
