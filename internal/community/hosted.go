package community

import (
	"context"
	"fmt"

	"github.com/atoll-social/atoll/internal/index"
)

// Hosted is a community that this instance hosts.
type Hosted struct {
	Account index.Account
	Policy  Policy
	Waiting int // posts that wait
}

// Hosted lists the communities whose posts this instance decides about.
func (s *Service) Hosted(ctx context.Context) ([]Hosted, error) {
	accounts, err := s.cfg.Index.HostedBy(ctx, s.cfg.Instance)
	if err != nil {
		return nil, err
	}
	var out []Hosted
	for _, a := range accounts {
		hosts, err := s.hosts(ctx, a.DID)
		if err != nil {
			return nil, err
		}
		if !hosts {
			continue
		}
		h := Hosted{Account: a}
		if h.Policy, err = s.Policy(ctx, a.DID); err != nil {
			return nil, err
		}
		err = s.cfg.DB.Read().QueryRowContext(ctx, `SELECT count(*) FROM community_review WHERE community = $1 AND verdict IS NULL`, a.DID).
			Scan(&h.Waiting)
		if err != nil {
			return nil, fmt.Errorf("count what waits in %s: %w", a.DID, err)
		}
		out = append(out, h)
	}
	return out, nil
}
