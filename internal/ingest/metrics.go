package ingest

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/index"
)

// metrics are the numbers an operator watches. Labels are sources, which the
// configuration bounds, and reasons, of which there is a fixed list.
type metrics struct {
	events, dropped, records, reconnects, retries, dead, gaps, resolved, fetched, posts *prometheus.CounterVec

	lag, connected *prometheus.GaugeVec
	letters        prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atoll_ingest_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atoll_ingest_" + name, Help: help}, labels)
	}
	m := &metrics{
		events:     counter("events_total", "Events that were read and committed.", "source"),
		dropped:    counter("dropped_total", "What was passed over, by reason.", "reason"),
		records:    counter("records_total", "Records: applied, or stale because a later revision was there.", "outcome"),
		reconnects: counter("reconnects_total", "Connections that ended.", "source"),
		retries:    counter("retries_total", "Batches that had to be written again.", "source"),
		dead:       counter("dead_letters_total", "Events whose data the database refused.", "source"),
		gaps:       counter("gaps_total", "Times that a host no longer had what came after the cursor.", "source"),
		resolved:   counter("resolved_total", "Accounts that were asked for, by outcome.", "outcome"),
		fetched:    counter("repositories_total", "Repositories that were fetched whole, by outcome.", "outcome"),
		posts:      counter("posts_fetched_total", "Posts that were accepted before they were here and asked for, by outcome.", "outcome"),
		lag:        gauge("lag_seconds", "Age of the event committed last, when it was committed.", "source"),
		letters: prometheus.NewGauge(prometheus.GaugeOpts{Name: "atoll_ingest_dead_letters",
			Help: "Dead letters that are kept, as the process that ingests counts them."}),
		connected: gauge("connected", "Whether the source is connected.", "source"),
	}
	all := []prometheus.Collector{m.events, m.dropped, m.records, m.reconnects, m.retries, m.dead, m.gaps,
		m.resolved, m.fetched, m.posts, m.lag, m.connected, m.letters}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) drop(reason index.Reason) { m.dropped.WithLabelValues(string(reason)).Inc() }
