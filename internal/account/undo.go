package account

import (
	"context"
	"errors"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// settleFor is how long after an unclear request for an account the PDS may
// still be making it.
const settleFor = 2 * time.Minute

// fail notes why an account came to nothing and removes what is there of it.
// Whether or not that can be done now, it is noted and will be done.
func (m *Manager) fail(ctx context.Context, h *held, failed *Error) error {
	m.log.WarnContext(ctx, "account failed and is undone", "account", h.id, "handle", h.handle, "state", string(h.state), "error", failed)
	m.metrics.failed.WithLabelValues(string(failed.Reason)).Inc()
	h.problem = problemText(failed)
	h.failure = failed.public
	h.state = undoing
	if err := h.save(ctx); err != nil {
		return err
	}
	return m.drive(ctx, h)
}

// undo removes the account from the PDS and forgets its secrets. An account that
// may come into being is waited for.
func (m *Manager) undo(ctx context.Context, h *held) error {
	why, problem := h.failure, h.problem
	if h.did == "" && !h.sentAt.IsZero() {
		sent := h.sentAt
		there, err := m.adopt(ctx, h)
		if err != nil {
			return err
		}
		if there {
			h.state = undoing
			if err := h.save(ctx); err != nil { // who it is must survive a crash
				return err
			}
		} else if m.cfg.Now().Before(sent.Add(settleFor)) {
			return errAgain
		}
	}
	if h.did != "" {
		if err := call(ctx, func(ctx context.Context) error { return m.remove(ctx, h) }); err != nil {
			return err
		}
	}
	if code := h.secrets[invite]; !code.IsZero() {
		if err := call(ctx, func(ctx context.Context) error { return m.admin.DisableInviteCode(ctx, code) }); err != nil {
			return err
		}
	}
	h.state, h.did, h.sentAt, h.failure, h.problem = undone, "", time.Time{}, why, problem
	h.secrets = map[string]keyring.Secret{}
	m.log.InfoContext(ctx, "account is undone, nothing of it is left", "account", h.id, "handle", h.handle)
	return nil
}

// remove deletes the account and makes sure that it is gone.
func (m *Manager) remove(ctx context.Context, h *held) error {
	if err := m.admin.DeleteAccount(ctx, h.did); err != nil {
		return err
	}
	_, err := m.server(h).RepoStatus(ctx, h.did)
	var refused *pds.Error
	if errors.As(err, &refused) && refused.Status < 500 {
		return nil
	}
	if err == nil {
		err = errors.New("the PDS still has the account that it was told to delete")
	}
	return err
}
