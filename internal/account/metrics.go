package account

import "github.com/prometheus/client_golang/prometheus"

// Outcomes of renewals.
const (
	renewedByToken    = "refreshed"
	renewedByPassword = "password"
	renewLimited      = "limited"
	renewUnreachable  = "unreachable"
	renewInactive     = "inactive"
	renewRefused      = "refused" // it needs repair
)

// metrics are the numbers an operator watches.
type metrics struct {
	steps, failed, renewals *prometheus.CounterVec
	accounts                *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "atoll_hosted_" + name, Help: help}, []string{label})
	}
	m := &metrics{
		steps:    counter("steps_total", "Steps of making accounts, by what they ended in.", "state"),
		failed:   counter("failed_total", "Accounts that could not be made, by reason.", "reason"),
		renewals: counter("renewals_total", "Renewals of credentials, by outcome.", "outcome"),
		accounts: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "atoll_hosted_accounts",
			Help: "Hosted accounts: active, unfinished, in trouble (see atoll accounts)."}, []string{"state"}),
	}
	for _, c := range []prometheus.Collector{m.steps, m.failed, m.renewals, m.accounts} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
