package daemon

import (
	"time"

	"github.com/atoll-social/atoll/internal/feed"
)

// pagesLate is how much older than its request a page may be in what other
// processes wrote: less than it takes anybody to ask two processes one after the
// other, and enough for many pages to need one look at the database.
const pagesLate = 2 * time.Millisecond

// feeds makes what lists of posts and threads are answered from.
func (d *Daemon) feeds(i *instance, c *content) error {
	f, err := feed.New(feed.Config{Index: c.index, Cursors: c.cursors, Logger: d.cfg.Logger, Now: d.cfg.Now, Late: pagesLate})
	if err != nil {
		return err
	}
	c.feeds = f
	i.work("feeds", f.Run)
	i.ready.Need("feeds", f.Probe)
	return nil
}
