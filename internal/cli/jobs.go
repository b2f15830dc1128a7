package cli

import (
	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/job"
)

type jobsCommand struct {
	List   jobsList   `cmd:"" help:"List jobs, newest first."`
	Show   jobsShow   `cmd:"" help:"Show one job."`
	Retry  jobsRetry  `cmd:"" help:"Let a job that failed, or waits, begin at once."`
	Cancel jobsCancel `cmd:"" help:"End a job that waits or runs."`
}

type jobsList struct {
	State string `enum:"all,waiting,parked,running,done,failed,discarded,cancelled" default:"all" help:"Which: waiting, parked, running, done, failed, discarded, cancelled or all (all)."`
	Kind  string `placeholder:"KIND" help:"Only those of one kind."`
	Limit int    `default:"100" help:"How many, 1000 at most (100)."`
}

// Run lists jobs.
func (c jobsList) Run(r *run) error {
	q := job.Query{Kind: c.Kind, Limit: c.Limit}
	if c.State != "all" {
		q.State = job.State(c.State)
	}
	return r.withJobs(func(a *admin.Jobs) error { return a.List(r.ctx, r.process.Stdout, q) })
}

type jobsShow struct {
	ID string `arg:"" help:"The job, as list shows it."`
}

// Run shows one job.
func (c jobsShow) Run(r *run) error {
	return r.withJobs(func(a *admin.Jobs) error { return a.Show(r.ctx, r.process.Stdout, c.ID) })
}

type jobsRetry struct {
	ID string `arg:"" help:"The job, as list shows it."`
}

// Run lets a job begin.
func (c jobsRetry) Run(r *run) error {
	return r.withJobs(func(a *admin.Jobs) error { return a.Retry(r.ctx, r.process.Stdout, c.ID) })
}

type jobsCancel struct {
	ID string `arg:"" help:"The job, as list shows it."`
}

// Run ends a job.
func (c jobsCancel) Run(r *run) error {
	return r.withJobs(func(a *admin.Jobs) error { return a.Cancel(r.ctx, r.process.Stdout, c.ID) })
}

// withJobs opens the storage and its queue for one command.
func (r *run) withJobs(do func(*admin.Jobs) error) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	storage, logger, err := r.storage(settings)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	q, err := job.New(job.Config{DB: storage.DB, Logger: logger, Now: r.now})
	if err != nil {
		return err
	}
	return do(&admin.Jobs{Queue: q, Now: r.now})
}
