package job

import "github.com/prometheus/client_golang/prometheus"

// Outcomes that are no state.
const (
	outcomeRetried = "retried"
	outcomeLost    = "lost"
)

// metrics are the numbers an operator watches. Labels are kinds and states, of
// which the program has a fixed number.
type metrics struct {
	outcomes, expired *prometheus.CounterVec
	seconds           *prometheus.HistogramVec
	depth, oldest     *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atoll_jobs_" + name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atoll_jobs_" + name, Help: help}, labels)
	}
	m := &metrics{
		outcomes: counter("runs_total", "Runs of jobs that ended, by outcome: done, retried, parked, failed, discarded, lost.", "kind", "outcome"),
		expired:  counter("expired_leases_total", "Jobs taken back from a process that gave no sign of life.", "kind"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "atoll_jobs_run_seconds", Help: "How long runs took.", Buckets: []float64{.01, .1, 1, 10, 60, 600},
		}, []string{"kind"}),
		depth:  gauge("depth", "Jobs in the queue.", "kind", "state"),
		oldest: gauge("oldest_seconds", "How long the oldest job that could begin has been waiting.", "kind"),
	}
	for _, c := range []prometheus.Collector{m.outcomes, m.expired, m.seconds, m.depth, m.oldest} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
