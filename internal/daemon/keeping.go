package daemon

import (
	"context"

	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// keepSessions tells members' servers of sessions that have ended, and keeps the
// others alive. At the stop the keeper waits for refreshes that are under way,
// which requests may have begun.
func (i *instance) keepSessions(manager *session.Manager, c *client.Client) error {
	revoker, err := session.NewRevoker(session.RevokerConfig{Manager: manager, Client: c})
	if err != nil {
		return err
	}
	keeper, err := client.NewKeeper(client.KeeperConfig{Client: c, Store: manager, Idle: session.DefaultDeviceLife})
	if err != nil {
		return err
	}
	i.work("revoker", revoker.Run)
	i.work("session keeper", keeper.Run)
	return nil
}

// forgetIdentity has an account that the network has news of looked up anew by
// the next who needs it: where to write for a member is not a thing of the cache.
func forgetIdentity(directory *identity.Directory) ingest.Subscriber {
	return func(ctx context.Context, a index.AccountChange) error {
		return directory.Purge(ctx, a.DID.AtIdentifier())
	}
}
