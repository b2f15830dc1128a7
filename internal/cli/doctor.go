package cli

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/daemon"
	"github.com/atoll-social/atoll/internal/doctor"
)

type doctorCommand struct{}

// doctorBudget bounds all checks together.
const doctorBudget = 2 * time.Minute

// errUnhealthy makes the exit code; the findings have been printed.
var errUnhealthy = errors.New("something is broken; see above")

// Run checks the settings, the storage, and the instance from outside. It makes
// nothing that is not there yet.
func (doctorCommand) Run(r *run) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	logger, err := r.logger(settings)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.ctx, doctorBudget)
	defer cancel()
	outside, err := daemon.NewDoctor(r.daemon(settings, logger))
	if err != nil {
		return err
	}
	findings := []doctor.Finding{
		{Level: doctor.Fine, Check: "settings", Text: "no mistakes"},
		checkStorage(ctx, settings, logger),
	}
	if !doctor.Print(r.process.Stdout, append(findings, outside.Check(ctx)...)) {
		return errUnhealthy
	}
	return nil
}

func checkStorage(ctx context.Context, settings *config.Config, logger *slog.Logger) doctor.Finding {
	if !daemon.Exists(settings) {
		return doctor.Finding{Level: doctor.Fine, Check: "storage", Text: "there is no database yet; the first start makes it"}
	}
	storage, err := daemon.OpenCurrent(ctx, settings, logger)
	if err != nil {
		return doctor.Finding{Level: doctor.Broken, Check: "storage", Text: err.Error(), Fix: "see docs/config.md, Storage"}
	}
	defer storage.DB.Close()
	return daemon.CheckStorage(ctx, storage)
}
