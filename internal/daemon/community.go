package daemon

import (
	"context"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/oauth/client"
)

// communities is what members and moderators do with communities. Processes
// with the role jobs also decide about posts to those that are hosted here.
func (d *Daemon) communities(i *instance, c *content, records *record.Writer) error {
	own, err := instanceDID(d.settings, i.origin)
	if err != nil {
		return err
	}
	c.names, err = community.NewResolver(community.ResolverConfig{
		Index: c.index, Directory: i.directory, HTTP: i.calls, Instance: own,
		HandleDomain: d.settings.Hosting.HandleDomain,
	})
	if err != nil {
		return err
	}
	c.communities, err = community.New(community.Config{
		DB: i.DB, Index: c.index, Agent: c.agents, Records: records, Names: c.names, Jobs: i.queue, Hosting: i.accounts, HostingOff: !d.settings.Hosting.On(),
		Instance: own, Admins: d.settings.Admins, AdminsOnly: d.settings.Community.Creation == config.CreationAdmins,
		Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
	if err == nil && d.settings.Has(config.RoleJobs) {
		c.communities.Work(i.queue)
		i.work("admission", c.communities.Run)
	}
	return err
}

// instanceDID is what communities say that they are hosted by. In development
// that is localhost with our port, which nobody else can look up.
func instanceDID(settings *config.Config, origin string) (syntax.DID, error) {
	if settings.PublicURL != "" {
		return identity.InstanceDID(settings.PublicURL)
	}
	at, err := url.Parse(origin)
	if err != nil {
		return "", err
	}
	return identity.InstanceDID("http://localhost:" + at.Port())
}

// NewCommunities makes what operators' commands about communities work with,
// beside a server or without one, and tells who the operator is.
func NewCommunities(cfg Config, storage *Storage) (*community.Service, agent.Actor, error) {
	own, err := instanceDID(cfg.Settings, "http://"+cfg.Settings.Listen)
	if err != nil {
		return nil, agent.Actor{}, err
	}
	out, err := newOutside(cfg)
	if err != nil {
		return nil, agent.Actor{}, err
	}
	accounts, queue, err := out.accounts(cfg, storage)
	if err != nil {
		return nil, agent.Actor{}, err
	}
	ix, err := index.New(index.Config{DB: storage.DB, Now: cfg.Now})
	if err != nil {
		return nil, agent.Actor{}, err
	}
	agents, err := agent.New(agent.Config{
		DB: storage.DB, Hosted: accounts, Directory: out.directory, HTTP: out.calls, Logger: cfg.Logger, Now: cfg.Now,
		// Operators act as communities, never as members.
		Open: func(context.Context, agent.Actor) (pds.Doer, error) { return nil, client.ErrNotFound },
	})
	if err != nil {
		return nil, agent.Actor{}, err
	}
	records, err := record.New(record.Config{DB: storage.DB, Index: ix, Agent: agents, Directory: out.directory, Logger: cfg.Logger})
	if err != nil {
		return nil, agent.Actor{}, err
	}
	names, err := community.NewResolver(community.ResolverConfig{
		Index: ix, Directory: out.directory, HTTP: out.calls, Instance: own, HandleDomain: cfg.Settings.Hosting.HandleDomain})
	if err != nil {
		return nil, agent.Actor{}, err
	}
	s, err := community.New(community.Config{
		DB: storage.DB, Index: ix, Agent: agents, Records: records, Names: names, Jobs: queue, Hosting: accounts,
		Instance: own, Admins: []syntax.DID{own}, Logger: cfg.Logger, Now: cfg.Now,
	})
	return s, agent.Actor{DID: own}, err
}
