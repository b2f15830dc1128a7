package daemon

import (
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/job"
)

// jobs makes the queue. Every process can put work into it; those with the role
// do it, once all parts have registered what they do.
func (d *Daemon) jobs(i *instance) (*job.Queue, error) {
	q, err := job.New(job.Config{DB: i.DB, Logger: d.cfg.Logger, Metrics: d.registry, Now: d.cfg.Now})
	if err != nil {
		return nil, err
	}
	if d.settings.Has(config.RoleJobs) {
		i.work("jobs", q.Run)
	}
	i.ready.Want("jobs", q.Trouble)
	return q, nil
}
