package daemon

import (
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/record"
)

// communities is what members and moderators do with communities. Processes
// with the role jobs also decide about posts to those that are hosted here.
func (d *Daemon) communities(i *instance, c *content, records *record.Writer) error {
	own, err := d.instanceDID(i)
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
		DB: i.DB, Index: c.index, Agent: c.agents, Records: records, Names: c.names, Jobs: i.queue, Hosting: i.accounts,
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
func (d *Daemon) instanceDID(i *instance) (syntax.DID, error) {
	if d.settings.PublicURL != "" {
		return identity.InstanceDID(d.settings.PublicURL)
	}
	at, err := url.Parse(i.origin)
	if err != nil {
		return "", err
	}
	return identity.InstanceDID("http://localhost:" + at.Port())
}
