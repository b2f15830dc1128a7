package daemon

import (
	"context"
	"errors"

	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/session"
)

// onAccount adds somebody who is told of accounts whose identity or status has
// changed.
func (i *instance) onAccount(subscriber ingest.Subscriber) {
	i.subscribers = append(i.subscribers, subscriber)
}

// tell tells those who follow accounts, once all of them are known. Any process
// that has them does, whichever one ingests.
func (d *Daemon) tell(i *instance, c *content) error {
	teller, err := ingest.NewTeller(ingest.TellerConfig{Index: c.index, Subscribers: i.subscribers, Logger: d.cfg.Logger})
	if err != nil {
		return err
	}
	i.work("account changes", teller.Run)
	return nil
}

// followAccounts applies what the network says of members' accounts to their
// sessions (S39, S40).
func followAccounts(sessions *session.Manager) ingest.Subscriber {
	return func(ctx context.Context, a index.AccountChange) error {
		var err error
		if !a.Since.IsZero() { // somebody has said something
			err = sessions.AccountStatus(ctx, a.DID, session.Status{Active: a.Active, Word: a.Status, At: a.Since})
		}
		if a.Identified {
			err = errors.Join(err, sessions.SetHandle(ctx, a.DID, a.Handle))
		}
		return err
	}
}
