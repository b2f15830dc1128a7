package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

// Info is a hosted account as an operator sees it, without secrets.
type Info struct {
	ID        string
	Name      string
	Handle    syntax.Handle
	DID       syntax.DID // empty until the PDS has made it
	CreatedBy syntax.DID
	PDS       string
	Email     string
	// State is how far it has come: reserved, creating, created, published,
	// active, undoing, undone.
	State string
	// Status is what its PDS says: active, deactivated, takendown, deleted, …
	Status string
	// NeedsRepair: its credentials are refused, and Repair makes new ones.
	NeedsRepair bool
	RecoveryKey string // did:key
	// OwnRecovery says that the private half of it is kept here.
	OwnRecovery bool
	Problem     string // what went wrong last; empty: nothing

	CreatedAt, CheckedAt, RenewedAt, AccessExpires time.Time
}

func (r *row) info() Info {
	return Info{
		ID: r.id, Name: r.name, Handle: r.handle, DID: r.did, CreatedBy: r.createdBy, PDS: r.pds, Email: r.email,
		State: string(r.state), Status: r.status, NeedsRepair: r.needsRepair, RecoveryKey: r.recoveryDID,
		OwnRecovery: !r.secrets[recoveryKey].IsZero(), Problem: r.problem,
		CreatedAt: r.createdAt, CheckedAt: r.checkedAt, RenewedAt: r.renewedAt, AccessExpires: r.accessExpires,
	}
}

// List returns the hosted accounts, newest first, those that came to nothing
// only with failed.
func (m *Manager) List(ctx context.Context, failed bool) ([]Info, error) {
	where := `state <> 'undone'`
	if failed {
		where = `true`
	}
	rows, err := m.all(ctx, where+` ORDER BY created_at DESC, id`)
	if err != nil {
		return nil, err
	}
	list := make([]Info, 0, len(rows))
	for _, r := range rows {
		list = append(list, r.info())
	}
	return list, nil
}

// Get finds an account by DID, handle or id. Errors: a fault of the kind NotFound.
func (m *Manager) Get(ctx context.Context, which string) (Info, error) {
	r, err := m.find(ctx, which)
	if err != nil {
		return Info{}, err
	}
	return r.info(), nil
}

func (m *Manager) find(ctx context.Context, which string) (*row, error) {
	list, err := m.all(ctx, `did = $1 OR handle = $1 OR id = $1 ORDER BY CASE WHEN state = 'undone' THEN 1 ELSE 0 END, created_at DESC LIMIT 1`, which)
	if err != nil && !errors.Is(err, store.ErrBadText) {
		return nil, err
	}
	if len(list) == 0 || which == "" {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("There is no hosted account %q; `atoll accounts list` shows them.", which))
	}
	return list[0], nil
}

// Repair makes an account usable again: with the credentials that are there, or
// with a new password that the PDS is told by its administrator. Then it is
// looked at, and made active if it was deactivated. how says what it took.
func (m *Manager) Repair(ctx context.Context, did syntax.DID) (how string, err error) {
	h, err := m.mine(ctx, did)
	if err != nil {
		return "", err
	}
	how, err = m.repair(ctx, h)
	h.release(ctx)
	if err != nil {
		return "", err
	}
	return how, m.Check(ctx, h.id)
}

func (m *Manager) repair(ctx context.Context, h *held) (how string, err error) {
	if err := m.look(ctx, h.row); errors.Is(err, errInactive) && h.status != "deactivated" {
		h.checkedAt, h.problem = m.cfg.Now(), problemText(err)
		return "", errors.Join(err, h.save(ctx)) // no credential would help
	}
	h.needsRepair = false // to be found out anew
	err = m.renew(ctx, h)
	if err == nil {
		return "its credentials work and were renewed", nil
	}
	if known := explain(err); known.Reason != NeedsRepair {
		return "", known
	}
	fresh := newPassword()
	err = call(ctx, func(ctx context.Context) error { return m.admin.SetPassword(ctx, h.did, fresh) })
	if err != nil && !pds.Unclear(err) {
		return "", explain(err)
	}
	// The new one is kept once it is known to be the password, also where the
	// answer was lost.
	old := h.secrets[password]
	h.secrets[password] = fresh
	s, err := m.signIn(ctx, h)
	if err != nil {
		h.secrets[password] = old
		return "", explain(err)
	}
	h.tokens(s)
	h.problem = ""
	return "it got a new password", h.save(ctx, session.Entry{Kind: KindRepaired})
}

// ExportRecovery returns the private half of the account's recovery key, in
// multibase, with the did:key that it belongs to. Whoever has it can take the
// account to another server. Errors: a fault when the key is the operator's own.
func (m *Manager) ExportRecovery(ctx context.Context, which string) (Info, keyring.Secret, error) {
	r, err := m.find(ctx, which)
	if err != nil {
		return Info{}, keyring.Secret{}, err
	}
	if r.secrets[recoveryKey].IsZero() {
		return Info{}, keyring.Secret{}, fault.New(fault.Conflict,
			"The recovery key of this account is not here: it is the one that was in hosting.recovery_key when it was made ("+r.recoveryDID+").")
	}
	err = m.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		return session.Audit(ctx, tx, session.Entry{Kind: KindExported, DID: r.did}, m.cfg.Now())
	})
	if err != nil {
		return Info{}, keyring.Secret{}, err
	}
	return r.info(), r.secrets[recoveryKey], nil
}

// sealed says what of the table is sealed.
func sealed() store.Sealed[string] {
	return store.Sealed[string]{Table: table, Key: "id", Columns: sealedColumns(), Place: func(id string) string { return id }}
}

// Seals is what is sealed of hosted accounts, for changes of the master key.
type Seals struct {
	DB   *store.DB
	Ring *keyring.Ring
}

// Reseal seals all credentials with the newest master key.
func (s Seals) Reseal(ctx context.Context) (store.Resealed, error) {
	return store.Reseal(ctx, s.DB, s.Ring, sealed())
}

// SealedWith counts sealed values by the id of their master key.
func (s Seals) SealedWith(ctx context.Context) (map[string]int, error) {
	return sealed().SealedWith(ctx, s.DB)
}
