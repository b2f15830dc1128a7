package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/store"
)

// When and how the Sweeper works. Everything goes within five minutes of its
// time (S43).
const (
	sweepEvery = time.Minute
	// sweepBatch is how many rows go in one transaction: few enough that others
	// get their turn in between.
	sweepBatch = 500
	// EndedKept is how long a session that ended by itself is kept, without its
	// tokens, so that the member can be told why.
	EndedKept = 30 * 24 * time.Hour
	// DefaultAuditKept is how long audit rows are kept.
	DefaultAuditKept = 90 * 24 * time.Hour
)

// Sweep removes one kind of thing whose time is over.
type Sweep struct {
	// Kind names what it removes, in metrics and logs.
	Kind string
	// Remove removes all of it, in batches, and returns how much that was, also
	// with an error.
	Remove func(ctx context.Context) (int, error)
}

// SweeperConfig is what a Sweeper works with.
type SweeperConfig struct {
	Manager *Manager
	// AuditKept is how long audit rows are kept; zero means DefaultAuditKept.
	AuditKept time.Duration
	// Also are the sweeps of other owners of tables.
	Also []Sweep
	// Metrics counts what went; nil counts nowhere.
	Metrics prometheus.Registerer
}

// Sweeper removes what is over: devices that nobody uses, sessions that ended
// long ago, old audit rows, and what Also names. Several at once do no harm.
type Sweeper struct {
	sweeps  []Sweep
	log     *slog.Logger
	removed *prometheus.CounterVec
}

// NewSweeper checks cfg and returns a Sweeper. It does no I/O.
func NewSweeper(cfg SweeperConfig) (*Sweeper, error) {
	if cfg.Manager == nil || cfg.AuditKept < 0 {
		return nil, errors.New("session: a sweeper needs a Manager, and an AuditKept that is not negative")
	}
	if cfg.AuditKept == 0 {
		cfg.AuditKept = DefaultAuditKept
	}
	m := cfg.Manager
	s := &Sweeper{
		sweeps: append([]Sweep{
			{"devices", m.sweepDevices},
			{"sessions", m.sweepEnded},
			{"audit", func(ctx context.Context) (int, error) { return m.sweepAudit(ctx, cfg.AuditKept) }},
		}, cfg.Also...),
		log: m.log,
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_swept_total", Help: "Rows that were removed because their time was over, by kind.",
		}, []string{"kind"}),
	}
	for _, one := range s.sweeps {
		s.removed.WithLabelValues(one.Kind) // zero is a number, too
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(s.removed); err != nil {
			return nil, fmt.Errorf("session: sweeper: %w", err)
		}
	}
	return s, nil
}

// Run sweeps now and every minute until ctx ends. Trouble is logged, and the
// next pass tries again.
func (s *Sweeper) Run(ctx context.Context) error {
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		if _, err := s.Pass(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sweep incomplete", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Pass sweeps once and returns how much went, by kind. One kind that fails does
// not keep the others.
func (s *Sweeper) Pass(ctx context.Context) (map[string]int, error) {
	gone := map[string]int{}
	var failures []error
	var words []any
	for _, one := range s.sweeps {
		n, err := one.Remove(ctx)
		if err != nil {
			failures = append(failures, fmt.Errorf("sweep %s: %w", one.Kind, err))
		}
		if n > 0 {
			gone[one.Kind] = n
			words = append(words, slog.Int(one.Kind, n))
			s.removed.WithLabelValues(one.Kind).Add(float64(n))
		}
	}
	if len(words) > 0 {
		s.log.InfoContext(ctx, "swept", words...)
	}
	return gone, errors.Join(failures...)
}

// batches calls remove until it returns less than a whole batch.
func batches(ctx context.Context, remove func() (int, error)) (int, error) {
	total := 0
	for {
		n, err := remove()
		total += n
		if err != nil || n < sweepBatch || ctx.Err() != nil {
			return total, errors.Join(err, ctx.Err())
		}
	}
}

// sweepDevices removes devices that nobody has used for their life. Their
// sessions end; members' servers are told.
func (m *Manager) sweepDevices(ctx context.Context) (int, error) {
	total, err := batches(ctx, func() (int, error) {
		n := 0
		err := m.change(ctx, func(tx *change) error {
			ids, err := list[string](ctx, tx, `
DELETE FROM device WHERE expires_at <= $1 AND id IN
  (SELECT id FROM device WHERE expires_at <= $1 ORDER BY expires_at, id LIMIT $2) RETURNING id`,
				store.Micros(tx.now), sweepBatch)
			if err != nil {
				return err
			}
			n = len(ids)
			return tx.endDevices(ctx, ids)
		})
		if err != nil {
			return 0, err
		}
		return n, nil
	})
	if total > 0 {
		m.wakeRevoker()
	}
	return total, err
}

// endDevices ends what was signed in on devices that have just been removed.
func (tx *change) endDevices(ctx context.Context, ids []string) error {
	in, args := store.List(1, ids)
	sessions, err := list[string](ctx, tx, `DELETE FROM device_account WHERE device_id IN `+in+` RETURNING session_id`, args...)
	if err != nil {
		return err
	}
	for part := range slices.Chunk(sessions, store.MaxList) {
		in, args = store.List(1, part)
		if _, err := tx.ExecContext(ctx, `DELETE FROM oauth_session WHERE state = 'ended' AND id IN `+in, args...); err != nil {
			return err
		}
		in, args = store.List(4, part)
		ended, err := tx.revoke(ctx, ReasonIdle, `id IN `+in, args...)
		if err != nil {
			return err
		}
		if err := tx.recordEnded(ctx, ended, ReasonIdle); err != nil {
			return err
		}
	}
	return nil
}

// sweepEnded removes sessions that ended long ago. Their accounts stay on their
// devices and go on asking for a sign-in.
func (m *Manager) sweepEnded(ctx context.Context) (int, error) {
	return m.sweepRows(ctx, `
DELETE FROM oauth_session WHERE state = 'ended' AND id IN
  (SELECT id FROM oauth_session WHERE state = 'ended' AND ended_at <= $1 ORDER BY ended_at, id LIMIT $2)`, EndedKept)
}

func (m *Manager) sweepAudit(ctx context.Context, kept time.Duration) (int, error) {
	return m.sweepRows(ctx, `
DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at <= $1 ORDER BY at, id LIMIT $2)`, kept)
}

// sweepRows runs a statement that removes up to $2 rows of before $1.
func (m *Manager) sweepRows(ctx context.Context, statement string, kept time.Duration) (int, error) {
	before := store.Micros(m.now().Add(-kept))
	return batches(ctx, func() (int, error) {
		var n int64
		err := m.db.Tx(ctx, func(tx *store.Tx) error {
			res, err := tx.ExecContext(ctx, statement, before, sweepBatch)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil {
			return 0, err
		}
		return int(n), nil
	})
}
