package daemon

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
)

// agents is how members are acted for (A3).
func (d *Daemon) agents(i *instance, m *members) (*agent.Agent, *agent.Passwords, error) {
	passwords, err := agent.NewPasswords(agent.PasswordsConfig{
		DB: i.DB, Ring: i.Ring, Directory: i.directory, HTTP: i.calls, Trail: m.sessions, Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
	if err != nil {
		return nil, nil, err
	}
	cfg := agent.Config{
		Hosted: i.accounts,
		DB:     i.DB, Open: agent.OAuth(m.client), Sessions: m.sessions, Directory: i.directory,
		Writes: agent.Way(d.settings.Delegation.Writes), Passwords: passwords, Scope: login.Scope(),
		HTTP: i.calls, Logger: d.cfg.Logger, Now: d.cfg.Now,
	}
	if set := d.settings.Delegation; set.RelayDID != "" {
		cfg.Relay = &agent.RelayAccount{DID: syntax.DID(set.RelayDID), Password: set.RelayPassword}
	}
	agents, err := agent.New(cfg)
	return agents, passwords, err
}

// forgetPassword removes what the owner of an account has given once the account
// is deleted at its server.
func forgetPassword(passwords *agent.Passwords) ingest.Subscriber {
	return func(ctx context.Context, a index.AccountChange) error {
		if a.Active || a.Status != string(session.ReasonDeleted) {
			return nil
		}
		return passwords.Remove(ctx, a.DID)
	}
}
