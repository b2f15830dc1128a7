package daemon

import (
	"github.com/atoll-social/atoll/internal/feed"
)

// feeds makes what lists of posts and threads are answered from.
func (d *Daemon) feeds(i *instance, c *content) error {
	f, err := feed.New(feed.Config{Index: c.index, Cursors: c.cursors, Logger: d.cfg.Logger, Now: d.cfg.Now})
	if err != nil {
		return err
	}
	c.feeds = f
	i.work("feeds", f.Run)
	i.ready.Need("feeds", f.Probe)
	return nil
}
