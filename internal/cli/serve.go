package cli

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/daemon"
	"github.com/atoll-social/atoll/internal/telemetry"
)

type serveCommand struct{}

// Run serves until the process is told to stop. SIGHUP makes it read secret_key
// again.
func (serveCommand) Run(r *run) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	logger, err := r.logger(settings)
	if err != nil {
		return err
	}
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	cfg := r.daemon(settings, logger)
	cfg.Hangup = &daemon.Hangup{Signals: hangups, Settings: r.settings}
	d, err := daemon.New(cfg)
	if err != nil {
		return err
	}
	return d.Run(r.ctx)
}

// daemon is what a daemon, or a part of one, is made of.
func (r *run) daemon(settings *config.Config, logger *slog.Logger) daemon.Config {
	seams := r.process.Seams
	return daemon.Config{
		Settings: settings, Logger: logger, Version: r.process.Version, Now: r.now,
		Route: seams.Route, Resolver: seams.Resolver, SignInScope: seams.SignInScope,
	}
}

func (r *run) logger(settings *config.Config) (*slog.Logger, error) {
	return telemetry.NewLogger(telemetry.LogConfig{
		Level: settings.LogLevel, Format: settings.LogFormat, Output: r.process.Stderr,
	})
}

// storage opens what the settings name, for commands beside a running server.
func (r *run) storage(settings *config.Config) (*daemon.Storage, *slog.Logger, error) {
	logger, err := r.logger(settings)
	if err != nil {
		return nil, nil, err
	}
	storage, err := daemon.OpenCurrent(r.ctx, settings, logger)
	return storage, logger, err
}

type configCommand struct{}

// Run prints the effective settings.
func (configCommand) Run(r *run) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	return settings.Print(r.process.Stdout)
}

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(r *run) error {
	_, err := fmt.Fprintln(r.process.Stdout, "atoll", r.process.Version)
	return err
}
