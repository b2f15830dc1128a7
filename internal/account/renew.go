package account

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
)

const (
	// renewBefore is how long before its end an access token is renewed (H2).
	renewBefore = 5 * time.Minute
	// unknownLife is taken for a token that does not say when it ends.
	unknownLife = 30 * time.Minute
	// renewTime bounds a renewal with all its waiting.
	renewTime = leaseTime + callTime
)

// Kinds of audit rows about hosted accounts. They are stored; a name is never
// reused.
const (
	KindRenewed session.Kind = "hosted_renewed" // its tokens; Detail says by what: refreshed, password
	KindRefused session.Kind = "hosted_refused" // they could not be: refused, inactive
	// KindRepaired is a new password that the operator had made, KindExported the
	// recovery key that was shown to the operator.
	KindRepaired session.Kind = "hosted_repaired"
	KindExported session.Kind = "hosted_recovery_exported"
)

// usable reports whether the access token can be used for a while and is
// another than the one of version refused.
func (m *Manager) usable(r *row, refused int64) bool {
	return r.version != refused && r.accessExpires.Sub(m.cfg.Now()) > renewBefore
}

// access returns an access token of an account, renewed if it ends soon or is of
// the version that the PDS has refused (0: none). Errors: *Error.
func (m *Manager) access(ctx context.Context, did syntax.DID, refused int64) (pds.Access, error) {
	r, err := m.get(ctx, m.cfg.DB.Read(), `did = $1`, did.String())
	if err != nil {
		return pds.Access{}, err
	}
	if err := m.barred(r); err != nil {
		return pds.Access{}, err
	}
	if m.usable(r, refused) {
		return r.access(), nil
	}
	renewed, err := m.renewOnce(ctx, r, refused)
	if err == nil {
		return renewed.access(), nil
	}
	// It was early: what is left of the old one can be used.
	if r.version != refused && isTransient(err) && r.accessExpires.After(m.cfg.Now()) {
		m.log.WarnContext(ctx, "credentials not renewed yet, the old ones are used while they last", "did", did, "error", err)
		return r.access(), nil
	}
	return pds.Access{}, explain(err)
}

func (r *row) access() pds.Access {
	return pds.Access{Origin: r.pds, Token: r.secrets[accessToken], Version: r.version}
}

// barred says why nobody can act as the account at present.
func (m *Manager) barred(r *row) error {
	switch {
	case r.needsRepair:
		return failure(NeedsRepair, fault.Unavailable, errors.New(r.problem),
			"This site cannot act for the community at present. Its operator sees why, and has to mend it.")
	case r.status != statusActive:
		return failure(Inactive, fault.Unavailable, errors.New(r.problem),
			"The community's account is not active at its server, so nothing can be written there.")
	}
	return nil
}

// renewOnce renews the credentials of an account, once for all who ask at the
// same time, here and in other processes. It is finished even if they leave.
func (m *Manager) renewOnce(ctx context.Context, r *row, refused int64) (*row, error) {
	result := m.renewal.DoChan(r.id, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTime)
		defer cancel()
		h, err := m.holdWaiting(ctx, r.id)
		if err != nil {
			return nil, err
		}
		defer h.release(ctx)
		if h.version != r.version && m.usable(h.row, refused) {
			return h.row, nil // somebody else did it while we waited
		}
		if err := m.barred(h.row); err != nil {
			return nil, err
		}
		if err := m.renew(ctx, h); err != nil {
			return nil, err
		}
		return h.row, nil
	})
	select {
	case got := <-result:
		if got.Err != nil {
			return nil, got.Err
		}
		return got.Val.(*row), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// current makes sure of a usable access token of an account that we hold.
func (m *Manager) current(ctx context.Context, h *held) error {
	if m.usable(h.row, 0) {
		return nil
	}
	return m.renew(ctx, h)
}

// renew gets new tokens, by the refresh token and where that is gone by the
// password, and saves both together. Only who holds the account comes here.
// Trouble on the way leaves the credentials as they are; a password that is
// refused leaves an account that needs repair.
func (m *Manager) renew(ctx context.Context, h *held) error {
	s, outcome, err := m.session(ctx, h)
	m.metrics.renewals.WithLabelValues(outcome).Inc()
	switch {
	case err == nil:
		h.tokens(s)
		h.problem = ""
		return h.save(ctx, session.Entry{Kind: KindRenewed, Detail: outcome})
	case outcome == renewRefused:
		h.needsRepair = true
	case outcome == renewInactive:
		h.status = "takendown"
	default:
		return explain(err)
	}
	h.problem = problemText(err)
	m.log.ErrorContext(ctx, "credentials of a hosted account are refused; `atoll accounts` shows how to repair it",
		"did", h.did, "handle", h.handle, "error", err)
	if err := h.save(ctx, session.Entry{Kind: KindRefused, Detail: outcome}); err != nil {
		return err
	}
	return m.barred(h.row)
}

// session begins or continues a session at the PDS.
func (m *Manager) session(ctx context.Context, h *held) (s *pds.Session, outcome string, err error) {
	if refresh := h.secrets[refreshToken]; !refresh.IsZero() {
		err := call(ctx, func(ctx context.Context) error {
			s, err = m.server(h).RefreshSession(ctx, refresh)
			return err
		})
		if err == nil && s.DID == h.did {
			return s, renewedByToken, nil
		}
		if err != nil && !isOver(err) {
			return nil, trouble(err), err
		}
	}
	if s, err = m.signIn(ctx, h); err == nil {
		return s, renewedByPassword, nil
	}
	if isNotOurs(err) {
		return nil, renewRefused, err
	}
	return nil, trouble(err), err
}

// trouble is the outcome of a renewal that met with err.
func trouble(err error) string {
	switch explain(err).Reason {
	case Limited:
		return renewLimited
	case Inactive:
		return renewInactive
	}
	return renewUnreachable
}

// isOver reports that a refresh token is not accepted any more.
func isOver(err error) bool {
	var refused *pds.Error
	return errors.As(err, &refused) && !refused.Limited() && refused.Name != pds.NameAccountTakedown &&
		(refused.Name == pds.NameExpiredToken || refused.Name == pds.NameInvalidToken || refused.Status == http.StatusUnauthorized)
}
