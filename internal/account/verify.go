package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/pds"
)

// errInactive says that the PDS does not call the account active.
var errInactive = errors.New("the account is not active")

func unverified(cause error) *Error {
	return failure(Unverified, fault.Unavailable, cause,
		"The community's account was made, but the network does not see it as it should. The operator of this site sees why, and has to mend it.")
}

// look checks an account from outside: handle and DID lead to one another, to the
// PDS that it is on, and that says that it is active. It sets the row's status.
func (m *Manager) look(ctx context.Context, r *row) error {
	server, err := m.client(r.pds, nil)
	if err != nil {
		return err
	}
	said, err := server.RepoStatus(ctx, r.did)
	if err != nil {
		return noRepo(r, err)
	}
	r.status = statusActive
	if !said.Active {
		r.status = "inactive"
		if said.Status != "" {
			r.status = said.Status
		}
		return unverified(fmt.Errorf("%w: its PDS says %s", errInactive, r.status))
	}
	ident, err := m.cfg.Directory.LookupFresh(ctx, syntax.AtIdentifier(r.handle), 0)
	if err != nil {
		return unverified(fmt.Errorf("the handle %s does not lead to %s and back: %w", r.handle, r.did, err))
	}
	if ident.DID != r.did {
		return unverified(fmt.Errorf("the handle %s leads to %s instead of %s", r.handle, ident.DID, r.did))
	}
	origin, err := m.cfg.Directory.PDS(ident)
	if err != nil || origin != r.pds {
		return unverified(errors.Join(fmt.Errorf("the DID document of %s names the PDS %s instead of %s", r.did, origin, r.pds), err))
	}
	return nil
}

// noRepo tells an account that is gone from a PDS that is away.
func noRepo(r *row, err error) error {
	var refused *pds.Error
	if errors.As(err, &refused) && refused.Name == "RepoNotFound" {
		r.status = "deleted"
		return unverified(fmt.Errorf("%w: its PDS has no such account", errInactive))
	}
	return err
}

// checkRecovery makes sure that our recovery key comes first: with it the
// account can be taken back from a PDS for 72 hours (did:plc specification,
// rotation keys).
func (m *Manager) checkRecovery(ctx context.Context, r *row) error {
	if r.did.Method() != "plc" {
		return unverified(fmt.Errorf("the PDS made %s, which is no did:plc", r.did))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(m.cfg.PLCURL, "/")+"/"+r.did.String()+"/data", nil)
	if err != nil {
		return err
	}
	res, err := m.cfg.HTTP.Do(req)
	if err != nil {
		return unverified(fmt.Errorf("%w: ask the directory for the keys of %s: %w", identity.ErrUnavailable, r.did, err))
	}
	defer res.Body.Close()
	var data struct {
		RotationKeys []string `json:"rotationKeys"`
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	switch {
	case err == nil && res.StatusCode == http.StatusOK:
		err = json.Unmarshal(body, &data)
	case err == nil:
		err = fmt.Errorf("status %d", res.StatusCode)
	}
	switch {
	case err != nil:
		return unverified(fmt.Errorf("%w: ask the directory for the keys of %s: %w", identity.ErrUnavailable, r.did, err))
	case len(data.RotationKeys) == 0 || data.RotationKeys[0] != r.recoveryDID:
		return unverified(fmt.Errorf("the first of the rotation keys of %s is not our recovery key %s", r.did, r.recoveryDID))
	}
	return nil
}
