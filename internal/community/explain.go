package community

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

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
