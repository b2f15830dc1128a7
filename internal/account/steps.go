package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// errAgain says that a step has to wait before it goes on.
var errAgain = errors.New("an unclear request must be over first")

// drive takes an account from where it stands to where it is ready, or, once it
// has failed, to where nothing is left. Every step can be repeated.
func (m *Manager) drive(ctx context.Context, h *held) error {
	steps := map[state]func(context.Context, *held) error{
		reserved: m.prepare, creating: m.create, created: m.publish, published: m.verify, undoing: m.undo,
	}
	for {
		step, more := steps[h.state]
		if !more {
			return nil
		}
		was := h.state
		m.cfg.Point("before " + string(was))
		if err := step(ctx, h); err != nil {
			return fmt.Errorf("account %s (%s), %s: %w", h.id, h.handle, was, err)
		}
		m.cfg.Point("after " + string(was))
		if err := h.save(ctx); err != nil {
			return err
		}
		m.metrics.steps.WithLabelValues(string(h.state)).Inc()
	}
}

// call bounds one request to a PDS.
func call(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	return do(ctx)
}

// prepare asks whether the PDS can do it, and for an invite code.
func (m *Manager) prepare(ctx context.Context, h *held) error {
	err := call(ctx, func(ctx context.Context) error {
		server, err := m.admin.DescribeServer(ctx)
		if err != nil {
			return err
		}
		return m.suits(server)
	})
	if err != nil {
		return err
	}
	if m.cfg.Hosting.Mint && h.secrets[invite].IsZero() {
		err := call(ctx, func(ctx context.Context) (err error) {
			h.secrets[invite], err = m.admin.CreateInviteCode(ctx)
			return err
		})
		if err != nil {
			return err
		}
	}
	h.state = creating
	return nil
}

// suits says whether the settings fit the PDS.
func (m *Manager) suits(server *pds.Server) error {
	public := "Communities cannot be created here at present: this server's settings do not fit its PDS. Its operator sees why."
	if want := "." + m.cfg.Hosting.HandleDomain; !slices.Contains(server.HandleDomains, want) {
		return failure(Settings, fault.Unavailable, fmt.Errorf(
			"hosting.handle_domain: the PDS gives out handles under %v, not under %s (PDS_SERVICE_HANDLE_DOMAINS)", server.HandleDomains, want), public)
	}
	if server.InviteRequired && !m.cfg.Hosting.Mint {
		return failure(Settings, fault.Unavailable, errors.New("hosting.invite is none, but the PDS takes accounts with an invite code only"), public)
	}
	return nil
}

// create makes the account on the PDS. If that was tried before without a clear
// answer, the password, which nobody else can know, tells whether it is there.
func (m *Manager) create(ctx context.Context, h *held) error {
	if !h.sentAt.IsZero() {
		if there, err := m.adopt(ctx, h); there || err != nil {
			return err
		}
	}
	h.sentAt = m.cfg.Now()
	if err := h.save(ctx); err != nil {
		return err
	}
	m.cfg.Point("sending")
	var s *pds.Session
	err := call(ctx, func(ctx context.Context) (err error) {
		s, err = m.server(h).CreateAccount(ctx, pds.CreateAccount{Handle: h.handle, Email: h.email,
			Password: h.secrets[password], Invite: h.secrets[invite], RecoveryKey: h.recoveryDID})
		return err
	})
	m.cfg.Point("sent")
	if err == nil {
		h.got(s)
		return nil
	}
	unclear := pds.Unclear(err)
	refused := refusedName(h.name, err)
	if unclear || refused != nil && refused.Reason == Taken {
		if there, settleErr := m.adopt(ctx, h); there {
			return nil
		} else if settleErr != nil {
			return errors.Join(err, settleErr)
		}
	}
	if !unclear {
		h.sentAt = time.Time{}
	}
	if refused != nil {
		return refused
	}
	return err
}

// server is a client of the account's PDS in nobody's name.
func (m *Manager) server(h *held) *pds.Client {
	c, err := m.client(h.pds, nil)
	if err != nil {
		panic(err) // it was checked when the Manager was made
	}
	return c
}

// adopt takes the account over if it is there and ours.
func (m *Manager) adopt(ctx context.Context, h *held) (there bool, err error) {
	s, err := m.signIn(ctx, h)
	switch {
	case err == nil:
		h.got(s)
		return true, nil
	case isNotOurs(err):
		return false, nil
	}
	return false, err
}

// signIn begins a session by the account's password.
func (m *Manager) signIn(ctx context.Context, h *held) (s *pds.Session, err error) {
	who := syntax.AtIdentifier(h.handle)
	if h.did != "" {
		who = syntax.AtIdentifier(h.did)
	}
	err = call(ctx, func(ctx context.Context) error {
		s, err = m.server(h).CreateSession(ctx, who, h.secrets[password])
		return err
	})
	if err == nil && h.did != "" && s.DID != h.did {
		return nil, fmt.Errorf("%w: a session of %s instead of %s", pds.ErrBadAnswer, s.DID, h.did)
	}
	return s, err
}

// isNotOurs reports that no account takes our password: none is there, or
// somebody else's.
func isNotOurs(err error) bool {
	var refused *pds.Error
	return errors.As(err, &refused) && refused.Status == http.StatusUnauthorized &&
		(refused.Name == pds.NameAuthRequired || refused.Name == pds.NameFactorRequired)
}

// got notes the account and its tokens, to be saved before anything is published.
func (h *held) got(s *pds.Session) {
	h.did, h.state, h.sentAt = s.DID, created, time.Time{}
	h.secrets[invite] = keyring.Secret{}
	h.tokens(s)
}

// tokens notes a session.
func (h *held) tokens(s *pds.Session) {
	h.secrets[accessToken], h.secrets[refreshToken] = s.Access, s.Refresh
	h.accessExpires, h.renewedAt = s.AccessExpires, h.m.cfg.Now()
	if h.accessExpires.IsZero() {
		h.accessExpires = h.renewedAt.Add(unknownLife)
	}
	h.version++
	h.needsRepair = false
}

// publish writes the profile: the stored record under the stored key, which is
// the same however often it is done.
func (m *Manager) publish(ctx context.Context, h *held) error {
	server, err := m.acting(ctx, h)
	if err != nil {
		return err
	}
	var written *pds.Written
	err = m.patiently(ctx, func(ctx context.Context) error {
		written, err = server.PutRecord(ctx, pds.PutRecord{
			Place:  pds.Place{Repo: h.did, Collection: Profile, RKey: "self"},
			Record: json.RawMessage(h.record),
		})
		return err
	})
	if err != nil {
		return err
	}
	h.recordCID, h.state = written.CID, published
	if written.Rev != "" {
		h.recordRev = written.Rev
	}
	return nil
}

// patience bounds patiently: two of them fit into a lease.
const patience = 25 * time.Second

// patiently tries a few times what may be better in a moment.
func (m *Manager) patiently(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	pause := 200 * time.Millisecond
	for {
		err := call(ctx, do)
		if err == nil || pause > time.Second || !isTransient(explain(err)) {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return err
		}
	}
}

// verify looks at the account from outside, as everybody will.
func (m *Manager) verify(ctx context.Context, h *held) error {
	err := m.patiently(ctx, func(ctx context.Context) error { return m.look(ctx, h.row) })
	if err != nil {
		return err
	}
	if err := m.patiently(ctx, func(ctx context.Context) error { return m.checkRecovery(ctx, h.row) }); err != nil {
		return err
	}
	h.state, h.problem, h.failure = active, "", nil
	h.checkedAt = m.cfg.Now()
	m.log.InfoContext(ctx, "account is ready", "account", h.id, "did", h.did, "handle", h.handle)
	return nil
}
