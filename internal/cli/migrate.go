package cli

import (
	"fmt"

	"github.com/atoll-social/atoll/internal/daemon"
)

type migrateCommand struct{}

// Run migrates, which opening the storage does, and says where it ended.
func (migrateCommand) Run(r *run) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	logger, err := r.logger(settings)
	if err != nil {
		return err
	}
	storage, err := daemon.OpenStorage(r.ctx, settings, logger)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	version, _, err := storage.DB.SchemaVersion(r.ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.process.Stdout, "the database is at schema version %d\n", version)
	return err
}
