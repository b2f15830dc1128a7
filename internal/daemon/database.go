package daemon

import "github.com/prometheus/client_golang/prometheus"

// databaseMetrics counts how long the database is written to.
func (d *Daemon) databaseMetrics(i *instance) error {
	return d.registry.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "atoll_database_writing_seconds_total", Help: "Time that transactions that write spent in the database.",
	}, func() float64 { return i.DB.Busy().Seconds() }))
}
