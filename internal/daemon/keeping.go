package daemon

import (
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
