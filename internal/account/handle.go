package account

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/store"
)

// Rename gives a hosted account another name: the PDS changes its own records and
// the DID document, then we follow. Errors: *Error, with a sentence for people.
func (m *Manager) Rename(ctx context.Context, did syntax.DID, name string) (syntax.Handle, error) {
	handle, err := m.handleOf(name)
	if err != nil {
		return "", err
	}
	h, err := m.mine(ctx, did)
	if err != nil {
		return "", err
	}
	defer h.release(ctx)
	if h.handle == handle {
		return handle, nil
	}
	err = call(ctx, func(ctx context.Context) error { return m.admin.SetHandle(ctx, did, handle) })
	if refused := refusedName(name, err); refused != nil {
		return "", refused
	}
	if err != nil {
		return "", explain(err)
	}
	old := h.handle
	h.name, h.handle = name, handle
	if err := h.save(ctx); err != nil {
		if store.IsUnique(err) {
			return "", taken(name, err)
		}
		return "", err
	}
	m.purge(ctx, did, old, handle)
	return handle, nil
}

// purge forgets what the directory knew about a handle that has changed.
func (m *Manager) purge(ctx context.Context, did syntax.DID, handles ...syntax.Handle) {
	ids := []syntax.AtIdentifier{syntax.AtIdentifier(did)}
	for _, handle := range handles {
		ids = append(ids, syntax.AtIdentifier(handle))
	}
	for _, id := range ids {
		if err := m.cfg.Directory.Purge(ctx, id); err != nil {
			m.log.WarnContext(ctx, "cached identity not forgotten, it ends by itself", "id", id.String(), "error", err)
		}
	}
}

// mine holds a hosted account that is ready, at the PDS that is configured.
func (m *Manager) mine(ctx context.Context, did syntax.DID) (*held, error) {
	r, err := m.get(ctx, m.cfg.DB.Read(), `did = $1`, did.String())
	if errors.Is(err, errNone) || err == nil && r.state != active {
		return nil, fault.Wrap(fault.NotFound, err, fmt.Sprintf("%s is no hosted account that is ready; `atoll accounts list` shows them.", did))
	}
	if err != nil {
		return nil, err
	}
	if m.admin == nil || r.pds != m.cfg.Hosting.PDS {
		return nil, failure(Settings, fault.Conflict, nil, fmt.Sprintf(
			"%s is at %s, whose administrator's password is not configured (hosting.pds_url, hosting.pds_admin_password).", did, r.pds))
	}
	ctx, cancel := context.WithTimeout(ctx, leaseTime)
	defer cancel()
	return m.holdWaiting(ctx, r.id)
}

// followHandle takes over a handle that was changed at the PDS without us, or
// while we died. It is asked when the account was not found right (cause) under
// the handle that we know, and returns what is wrong then.
func (m *Manager) followHandle(ctx context.Context, h *held, cause error) error {
	if m.admin == nil || h.pds != m.cfg.Hosting.PDS {
		return cause
	}
	var now syntax.Handle
	err := call(ctx, func(ctx context.Context) (err error) {
		now, err = m.admin.AccountHandle(ctx, h.did)
		return err
	})
	if err != nil || now == h.handle {
		return cause
	}
	old := h.handle
	h.handle = now
	if err := m.look(ctx, h.row); err != nil {
		h.handle = old
		return err
	}
	if name, ok := strings.CutSuffix(now.String(), "."+m.cfg.Hosting.HandleDomain); ok {
		h.name = name
	}
	m.purge(ctx, h.did, old)
	m.log.InfoContext(ctx, "handle of a hosted account has changed", "did", h.did, "old", old, "new", now)
	return nil
}
