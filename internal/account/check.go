package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	lookKind   = "account_look"
	checkKind  = "account_check"
	checkEvery = 10 * time.Minute
	checkTime  = 9 * time.Minute
	// checkAfter is how old a look at a good account may be; one in trouble is
	// looked at every time.
	checkAfter = 6 * time.Hour
	// renewAfter keeps the credentials of an account fresh that nobody acts as,
	// so that they are known to work.
	renewAfter = 24 * time.Hour
	// keepUndone is how long the reason of a failure is kept.
	keepUndone = 30 * 24 * time.Hour
	checkBatch = 500
)

// checkJob looks at the accounts whose turn it is, repairs what it can, and
// counts them all.
func (m *Manager) checkJob(ctx context.Context, _ job.Job) error {
	now := m.cfg.Now()
	due, err := m.all(ctx, fmt.Sprintf(`state = 'active' AND (checked_at <= $1 OR problem <> '' OR status <> 'active')
		ORDER BY checked_at, id LIMIT %d`, checkBatch), store.Micros(now.Add(-checkAfter)))
	if err != nil {
		return err
	}
	for _, r := range due {
		if err := m.Check(ctx, r.id); err != nil && ctx.Err() == nil && !errors.Is(err, errHeld) {
			m.log.WarnContext(ctx, "hosted account is in trouble", "did", r.did, "handle", r.handle, "error", err)
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.Join(m.forget(ctx), m.count(ctx))
}

// Changed is told that the network says something new about an account. If it is
// one of ours, it is looked at soon: what others say of it is not believed.
func (m *Manager) Changed(ctx context.Context, did syntax.DID) error {
	hosted, err := m.Hosts(ctx, did)
	if err != nil || !hosted {
		return err
	}
	r, err := m.get(ctx, m.cfg.DB.Read(), `did = $1`, did.String())
	if err != nil {
		return err
	}
	_, err = m.cfg.Queue.EnqueueNow(ctx, job.Insert{Kind: lookKind, Args: jobArgs{r.id}, Unique: r.id})
	return err
}

// lookJob looks at one account. What is wrong is noted with the account.
func (m *Manager) lookJob(ctx context.Context, j job.Job) error {
	var args jobArgs
	if err := j.Decode(&args); err != nil {
		return err
	}
	err := m.Check(ctx, args.ID)
	var known *Error
	switch {
	case errors.Is(err, errHeld):
		return job.Park(m.cfg.Now().Add(10*time.Second), err)
	case errors.Is(err, errNone):
		return job.Discard(err)
	case errors.As(err, &known):
		m.log.WarnContext(ctx, "hosted account is in trouble", "account", args.ID, "error", err)
		return nil
	}
	return err
}

// Check looks at one account from outside, keeps its credentials fresh, and makes
// it active again if it was deactivated. What is wrong is noted and returned.
func (m *Manager) Check(ctx context.Context, id string) error {
	h, err := m.hold(ctx, id)
	if err != nil {
		return err
	}
	defer h.release(ctx)
	err = m.look(ctx, h.row)
	if errors.Is(err, errInactive) && h.status == "deactivated" && !h.needsRepair {
		if err = m.reactivate(ctx, h); err == nil {
			err = m.look(ctx, h.row)
		}
	}
	if err != nil && !errors.Is(err, errInactive) {
		err = m.followHandle(ctx, h, err)
	}
	h.checkedAt = m.cfg.Now()
	if h.needsRepair {
		return h.save(ctx) // its problem stays until it is repaired
	}
	h.problem = ""
	if err != nil {
		h.problem = problemText(err)
	}
	if saveErr := h.save(ctx); saveErr != nil || err != nil {
		return errors.Join(err, saveErr)
	}
	if h.checkedAt.Sub(h.renewedAt) < renewAfter {
		return nil
	}
	return m.renew(ctx, h)
}

// reactivate makes an account active with its own credential: nobody but us has
// that.
func (m *Manager) reactivate(ctx context.Context, h *held) error {
	server, err := m.acting(ctx, h)
	if err != nil {
		return err
	}
	return call(ctx, server.ActivateAccount)
}

// forget removes the rows of which nothing is left but an old reason.
func (m *Manager) forget(ctx context.Context) error {
	return m.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM hosted_account WHERE state = 'undone' AND updated_at <= $1`,
			store.Micros(m.cfg.Now().Add(-keepUndone)))
		return err
	})
}

// tally is how many accounts are how.
type tally struct{ active, unfinished, trouble int }

func (m *Manager) tally(ctx context.Context) (t tally, err error) {
	err = m.cfg.DB.Read().QueryRowContext(ctx, `
		SELECT count(CASE WHEN state = 'active' AND problem = '' AND status = 'active' AND NOT needs_repair THEN 1 END),
			count(CASE WHEN state <> 'active' AND state <> 'undone' THEN 1 END),
			count(CASE WHEN state = 'active' AND (problem <> '' OR status <> 'active' OR needs_repair) THEN 1 END)
		FROM hosted_account`).Scan(&t.active, &t.unfinished, &t.trouble)
	if err != nil {
		return tally{}, fmt.Errorf("count hosted accounts: %w", err)
	}
	return t, nil
}

func (m *Manager) count(ctx context.Context) error {
	t, err := m.tally(ctx)
	if err != nil {
		return err
	}
	m.metrics.accounts.WithLabelValues("active").Set(float64(t.active))
	m.metrics.accounts.WithLabelValues("unfinished").Set(float64(t.unfinished))
	m.metrics.accounts.WithLabelValues("trouble").Set(float64(t.trouble))
	return nil
}

// Trouble says that accounts need the operator, for those who watch.
func (m *Manager) Trouble(ctx context.Context) error {
	t, err := m.tally(ctx)
	if err == nil && t.trouble > 0 {
		err = fmt.Errorf("%d hosted accounts are in trouble; `atoll accounts list` shows them", t.trouble)
	}
	return err
}
