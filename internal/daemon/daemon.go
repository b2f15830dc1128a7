// Package daemon is the program that serves: it opens storage, assembles every
// part from the settings, runs them, and stops them in order.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/telemetry"
)

// Config is what a Daemon is made of.
type Config struct {
	Settings *config.Config
	Logger   *slog.Logger
	Version  string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Route is a seam for tests: see egress.Config.
	Route func(host string) (addr string, ok bool)
	// Hangup tells the server to read secret_key again; nil means never.
	Hangup *Hangup
	// Resolver is a seam for tests: nil means the system's.
	Resolver *net.Resolver
	// SignInScope is a seam for tests: see login.Config.Scope.
	SignInScope string
}

// Daemon serves one instance.
type Daemon struct {
	cfg      Config
	settings *config.Config
	logger   *slog.Logger
	registry *prometheus.Registry
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Daemon, error) {
	if cfg.Settings == nil || cfg.Logger == nil {
		return nil, errors.New("daemon: settings and logger are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Daemon{
		cfg: cfg, settings: cfg.Settings,
		logger:   cfg.Logger.With("component", "daemon"),
		registry: telemetry.NewRegistry(),
	}, nil
}

// worker is a part that runs until its context ends.
type worker struct {
	name string
	run  func(ctx context.Context) error
}

// Run serves until ctx ends or a part fails. It stops in order: listeners
// drain first, then what listens to the network, then storage closes.
func (d *Daemon) Run(ctx context.Context) (err error) {
	ports, err := openPorts(ctx, d.settings, d.cfg.Logger, d.registry)
	if err != nil {
		return err
	}
	storage, err := OpenStorage(ctx, d.settings, d.cfg.Logger)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := storage.DB.Close(); closeErr != nil {
			err = errors.Join(err, fmt.Errorf("close storage: %w", closeErr))
		}
	}()
	parts, err := d.assemble(ctx, storage, ports)
	if err != nil {
		return err
	}
	d.announce(parts)
	return d.supervise(ctx, parts)
}

// stages of the stop: a later stage ends when everything in the one before has.
const (
	stageServe = iota // listeners
	stageWork         // workers, which requests may have depended on
	stageCount
)

// parts is what assemble makes.
type parts struct {
	workers  [stageCount][]worker
	origin   string
	clientID string
}

// stageBudget bounds each stage of the stop. Listeners drain for 20 s at most.
const stageBudget = 25 * time.Second

// supervise runs all workers, and stops them stage by stage when ctx ends or
// one of them does.
func (d *Daemon) supervise(ctx context.Context, p *parts) error {
	failed := make(chan error, 1)
	var stops [stageCount]func() error
	for stage := range p.workers {
		stops[stage] = d.startStage(ctx, p.workers[stage], failed)
	}
	var cause error
	select {
	case <-ctx.Done():
		d.logger.InfoContext(context.WithoutCancel(ctx), "stopping")
	case cause = <-failed:
	}
	for _, stop := range stops {
		cause = errors.Join(cause, stop())
	}
	return cause
}

// startStage starts workers and returns what ends and awaits them.
func (d *Daemon) startStage(ctx context.Context, workers []worker, failed chan<- error) (stop func() error) {
	stage, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			err := w.run(stage)
			if err == nil && stage.Err() == nil {
				err = errors.New("ended by itself")
			}
			if err == nil || errors.Is(err, context.Canceled) && stage.Err() != nil {
				return
			}
			select {
			case failed <- fmt.Errorf("%s: %w", w.name, err):
			default: // another failure is already stopping us
				d.logger.ErrorContext(stage, "part failed while stopping", "part", w.name, "error", err)
			}
		})
	}
	return func() error {
		cancel()
		ended := make(chan struct{})
		go func() { wg.Wait(); close(ended) }()
		select {
		case <-ended:
			return nil
		case <-time.After(stageBudget):
			return errors.New("a part did not stop in time")
		}
	}
}

// announce says where the server is and what it is.
func (d *Daemon) announce(p *parts) {
	d.logger.Info("serving", "address", p.origin, "version", d.cfg.Version, "client_id", p.clientID)
	if d.settings.PublicURL == "" {
		d.logger.Warn("development client: only browsers on this machine can sign in, sessions end after two weeks; set public_url for others")
	}
	if d.settings.Dev {
		d.logger.Warn("dev is on: loopback addresses and plain http are allowed; never use it on a public server")
	}
	if len(d.settings.Sources) == 0 {
		d.logger.Warn("no source is configured: posts written elsewhere will not appear; see source in docs/config.md")
	}
}
