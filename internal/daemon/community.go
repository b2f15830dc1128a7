package daemon

import (
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/identity"
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

// instanceDID is how this instance is known to others, empty in development.
func instanceDID(settings *config.Config) (syntax.DID, error) {
	if settings.PublicURL == "" {
		return "", nil
	}
	return identity.InstanceDID(settings.PublicURL)
}
