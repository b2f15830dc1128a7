package daemon

import (
	"context"
	"os"
	"time"

	"github.com/atoll-social/atoll/internal/aggregator"
	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
)

// sessionUpkeep removes what is over, counts what is there, and keeps what is
// shown of members up to date.
func (d *Daemon) sessionUpkeep(i *instance, m *members, attempts *login.Attempts) error {
	sweeper, err := session.NewSweeper(session.SweeperConfig{
		Manager: m.sessions, AuditKept: time.Duration(d.settings.Retention.AuditDays) * 24 * time.Hour,
		Also: append(m.apps.sweeps(), session.Sweep{Kind: "attempts", Remove: attempts.Sweep},
			session.Sweep{Kind: "aggregator_posts", Remove: func(ctx context.Context) (int, error) { return aggregator.Sweep(ctx, i.DB, d.cfg.Now()) }}),
		Metrics: d.registry,
	})
	if err != nil {
		return err
	}
	meter, err := session.NewMeter(session.MeterConfig{Manager: m.sessions, Metrics: d.registry})
	if err != nil {
		return err
	}
	i.work("sweeper", sweeper.Run)
	i.work("session counts", meter.Run)
	i.work("profiles", m.login.Run)
	return nil
}

// Hangup is how a running server is told to read secret_key again.
type Hangup struct {
	// Signals gets a value each time.
	Signals <-chan os.Signal
	// Settings reads the settings as they are now.
	Settings func() (*config.Config, error)
}

// rereadKeys follows changes of secret_key on a hangup. Keys that do not open
// what is in the database are refused, and the server goes on with those it has.
func (d *Daemon) rereadKeys(storage *Storage) func(context.Context) error {
	return func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-d.cfg.Hangup.Signals:
			}
			if err := d.replaceKeys(ctx, storage); err != nil {
				d.logger.ErrorContext(ctx, "secret_key not read again; the keys stay as they were", "error", err)
				continue
			}
			d.logger.InfoContext(ctx, "secret_key read again", "keys", storage.Ring)
		}
	}
}

func (d *Daemon) replaceKeys(ctx context.Context, storage *Storage) error {
	settings, err := d.cfg.Hangup.Settings()
	if err != nil {
		return err
	}
	ring, err := readRing(settings)
	if err != nil {
		return err
	}
	if err := storage.DB.CheckKey(ctx, ring); err != nil {
		return err
	}
	storage.Ring.Replace(ring)
	return nil
}

// readRing reads the master keys from where the settings say that they are.
func readRing(settings *config.Config) (*keyring.Ring, error) {
	if settings.SecretKey.IsZero() {
		return keyring.LoadFile(settings.SecretKeyPath())
	}
	return keyring.Parse(settings.SecretKey.Reveal())
}
