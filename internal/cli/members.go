package cli

import (
	"log/slog"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/daemon"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
)

// members is what commands about people work with, beside a running server or
// without one.
type members struct {
	*daemon.Storage
	settings *config.Config
	logger   *slog.Logger
	sessions *session.Manager
	keys     *session.Keys
	attempts *login.Attempts
}

// withMembers opens the storage for one command.
func (r *run) withMembers(do func(*members) error) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	storage, logger, err := r.storage(settings)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	m := &members{Storage: storage, settings: settings, logger: logger}
	m.sessions, err = session.New(session.Config{
		DB: storage.DB, Ring: storage.Ring, Logger: logger, Now: r.now, ClientID: daemon.ClientID(settings),
	})
	if err != nil {
		return err
	}
	m.keys, err = session.NewKeys(session.KeysConfig{DB: storage.DB, Ring: storage.Ring, Logger: logger, Now: r.now})
	if err != nil {
		return err
	}
	m.attempts, err = login.NewAttempts(login.AttemptsConfig{DB: storage.DB, Ring: storage.Ring, Now: r.now})
	if err != nil {
		return err
	}
	return do(m)
}
