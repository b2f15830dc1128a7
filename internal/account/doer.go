package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
)

// Doer sends requests as a hosted account, with that account's own credential,
// renewed as needed. hosted is false for everybody else's account. The doer's
// errors are *Error for trouble with the credential, and those of the network.
func (m *Manager) Doer(ctx context.Context, did syntax.DID) (d pds.Doer, hosted bool, err error) {
	hosted, err = m.Hosts(ctx, did)
	if err != nil || !hosted {
		return nil, false, err
	}
	return doer{did, pds.Bearer{HTTP: m.cfg.HTTP, Access: func(ctx context.Context, refused pds.Access) (pds.Access, error) {
		return m.access(ctx, did, refused.Version)
	}}}, true, nil
}

// doer acts as one account.
type doer struct {
	did    syntax.DID
	bearer pds.Bearer
}

// Do sends the request to the account's own PDS and to nobody else.
func (d doer) Do(req *http.Request) (*http.Response, error) {
	res, err := d.bearer.Do(req)
	if errors.Is(err, pds.ErrElsewhere) {
		return nil, failure(Settings, fault.Unavailable, fmt.Errorf("with the credentials of %s: %w", d.did, err),
			"The community's account is not where it is expected to be. The operator of this site sees why, and has to mend it.")
	}
	return res, err
}

// acting is a client of the PDS in the name of an account that we hold, whose
// credentials nobody else renews meanwhile.
func (m *Manager) acting(ctx context.Context, h *held) (*pds.Client, error) {
	if err := m.current(ctx, h); err != nil {
		return nil, err
	}
	return m.client(h.pds, pds.Bearer{HTTP: m.cfg.HTTP, Access: func(ctx context.Context, refused pds.Access) (pds.Access, error) {
		if refused.Version == h.version {
			if err := m.renew(ctx, h); err != nil {
				return pds.Access{}, err
			}
		}
		return h.access(), nil
	}})
}
