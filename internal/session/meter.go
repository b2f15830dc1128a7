package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/store"
)

// countEvery is how often a Meter asks the database: one index is read.
const countEvery = time.Minute

// expiringWithin is how close the end of a session must be to count as expiring.
const expiringWithin = 7 * 24 * time.Hour

// MeterConfig is what a Meter works with.
type MeterConfig struct {
	Manager *Manager
	Metrics prometheus.Registerer
}

// Meter shows an operator how many sessions are alive, about to end, paused or
// over, and why: atoll_sessions by state and reason, and what this process has
// ended, atoll_sessions_ended_total by reason.
type Meter struct {
	m     *Manager
	log   *slog.Logger
	now   *prometheus.GaugeVec
	ended *prometheus.CounterVec
}

// NewMeter checks cfg, registers the metrics and subscribes to the Manager. It
// does no I/O.
func NewMeter(cfg MeterConfig) (*Meter, error) {
	if cfg.Manager == nil || cfg.Metrics == nil {
		return nil, errors.New("session: a meter needs Manager and Metrics")
	}
	t := &Meter{
		m: cfg.Manager, log: cfg.Manager.log,
		now: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "atoll_sessions",
			Help: "OAuth sessions, by state (live, expiring, paused, revoking, ended) and the reason of the last three; counted once a minute.",
		}, []string{"state", "reason"}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "atoll_sessions_ended_total", Help: "OAuth sessions that this process has ended, by reason.",
		}, []string{"reason"}),
	}
	for _, c := range []prometheus.Collector{t.now, t.ended} {
		if err := cfg.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("session: meter: %w", err)
		}
	}
	t.m.Subscribe(func(e Event) {
		if e.Kind == EventEnded {
			t.ended.WithLabelValues(string(e.Reason)).Inc()
		}
	})
	return t, nil
}

// Run counts now and every minute until ctx ends.
func (t *Meter) Run(ctx context.Context) error {
	ticker := time.NewTicker(countEvery)
	defer ticker.Stop()
	for {
		if err := t.Count(ctx); err != nil && ctx.Err() == nil {
			t.log.WarnContext(ctx, "sessions not counted", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Count counts once.
func (t *Meter) Count(ctx context.Context) error {
	counts, err := t.m.Counts(ctx)
	if err != nil {
		return err
	}
	t.now.Reset()
	for _, state := range States() {
		t.now.WithLabelValues(string(state), "").Set(0)
	}
	for _, c := range counts {
		t.now.WithLabelValues(string(c.State), string(c.Reason)).Add(float64(c.Sessions))
	}
	return nil
}

// Count is how many sessions are in a state, for a reason.
type Count struct {
	State    State
	Reason   Reason
	Sessions int
}

// Counts counts all sessions by state and reason, without reading their rows.
func (m *Manager) Counts(ctx context.Context) ([]Count, error) {
	rows, err := m.db.Read().QueryContext(ctx, `
SELECT state, ended_reason, paused, `+soon+`, count(*) FROM oauth_session
GROUP BY state, ended_reason, paused, `+soon, store.Micros(m.now().Add(expiringWithin)))
	if err != nil {
		return nil, fmt.Errorf("count sessions: %w", err)
	}
	defer rows.Close()
	var all []Count
	for rows.Next() {
		var c Count
		var state string
		var paused Reason
		var expiring bool
		if err := rows.Scan(&state, &c.Reason, &paused, &expiring, &c.Sessions); err != nil {
			return nil, fmt.Errorf("count sessions: %w", err)
		}
		c.State = stateOf(state, paused, expiring)
		if c.State == StatePaused {
			c.Reason = paused
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// soon tells whether a session's refresh token ends before $1.
const soon = `(refresh_expires_at > 0 AND refresh_expires_at <= $1)`

// stateOf is a stored state as an operator sees it.
func stateOf(stored string, paused Reason, expiring bool) State {
	switch {
	case stored != stateLive:
		return State(stored)
	case paused != "":
		return StatePaused
	case expiring:
		return StateExpiring
	}
	return StateLive
}
