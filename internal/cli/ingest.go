package cli

import (
	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/daemon"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/ingest"
)

type ingestCommand struct {
	Status   ingestStatus   `cmd:"" help:"Show how far each source has been read, and what waits."`
	Dead     ingestDead     `cmd:"" help:"List the events whose data the database refused."`
	Retry    ingestRetry    `cmd:"" help:"Drive dead letters again: those named, or all."`
	Backfill ingestBackfill `cmd:"" help:"Rebuild repositories from their servers: those named, or all of a source that hold records of ours. It can be interrupted."`
	Verify   ingestVerify   `cmd:"" help:"Compare the index with repositories and change nothing."`
}

type ingestStatus struct{}

// Run shows how ingestion stands.
func (ingestStatus) Run(r *run) error {
	return r.withIngest(func(a *admin.Ingest) error { return a.Status(r.ctx, r.process.Stdout) })
}

type ingestDead struct {
	Limit int `default:"100" help:"How many (100)."`
}

// Run lists dead letters.
func (c ingestDead) Run(r *run) error {
	return r.withIngest(func(a *admin.Ingest) error { return a.Dead(r.ctx, r.process.Stdout, c.Limit) })
}

type ingestRetry struct {
	IDs []int64 `arg:"" optional:"" name:"id" help:"Dead letters, as dead shows them; none for all."`
}

// Run drives dead letters again.
func (c ingestRetry) Run(r *run) error {
	return r.withIngest(func(a *admin.Ingest) error { return a.Retry(r.ctx, r.process.Stdout, c.IDs) })
}

type ingestBackfill struct {
	DIDs   []string `arg:"" optional:"" name:"did" help:"Accounts whose repositories are rebuilt."`
	Source string   `placeholder:"URL" help:"A relay or PDS, all of whose repositories with records of ours are rebuilt."`
}

// Run rebuilds repositories.
func (c ingestBackfill) Run(r *run) error {
	dids, err := ingest.CheckDIDs(c.DIDs)
	if err != nil {
		return err
	}
	if (len(dids) == 0) == (c.Source == "") {
		return fault.New(fault.Invalid, "name either accounts or --source")
	}
	return r.withIngest(func(a *admin.Ingest) error {
		if c.Source != "" {
			return a.BackfillSource(r.ctx, r.process.Stdout, c.Source)
		}
		return a.Backfill(r.ctx, r.process.Stdout, dids)
	})
}

type ingestVerify struct {
	DIDs []string `arg:"" name:"did" help:"Accounts whose repositories are compared."`
}

// Run compares repositories with the index.
func (c ingestVerify) Run(r *run) error {
	dids, err := ingest.CheckDIDs(c.DIDs)
	if err != nil {
		return err
	}
	return r.withIngest(func(a *admin.Ingest) error { return a.Verify(r.ctx, r.process.Stdout, dids) })
}

// withIngest opens the storage and what ingestion needs for one command.
func (r *run) withIngest(do func(*admin.Ingest) error) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	storage, logger, err := r.storage(settings)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	in, err := daemon.NewIngester(r.daemon(settings, logger), storage)
	if err != nil {
		return err
	}
	return do(&admin.Ingest{Ingester: in, Now: r.now})
}
