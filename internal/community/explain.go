package community

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Closed says why person cannot create communities here, in a sentence; empty
// when they can. An empty person is anybody.
func (s *Service) Closed(person syntax.DID) string {
	switch {
	case s.cfg.Hosting == nil || s.cfg.HostingOff:
		return "Communities cannot be created here: this server has no PDS to keep them on. Its operator can configure one (hosting.pds_url)."
	case s.cfg.AdminsOnly && !s.isAdmin(person):
		return "On this site only its admins create communities."
	}
	return ""
}

// Explain says to people how a community that this instance hosts admits posts;
// empty for others, whose own servers decide.
func (s *Service) Explain(ctx context.Context, community syntax.DID) (string, error) {
	hosted, err := s.hosts(ctx, community)
	if err != nil || !hosted {
		return "", err
	}
	p, err := s.Policy(ctx, community)
	return p.Explain(), err
}
