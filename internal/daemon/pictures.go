package daemon

import (
	"path/filepath"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/media"
)

// gallery serves pictures of records, kept below the data folder.
func (d *Daemon) gallery(i *instance, c *content) (*media.Gallery, error) {
	return media.OpenGallery(media.GalleryConfig{
		Folder: filepath.Join(d.settings.DataDir, "pictures"), MaxBytes: int64(d.settings.Limits.PictureCacheMB) << 20,
		HTTP: i.guard.Client(egress.Limits{Timeout: callTimeout, MaxBytes: int64(media.Embed.MaxBytes())}), Accounts: c.index,
		Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
}
