package daemon

import (
	"context"

	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
)

// apps is everything about applications that members sign in.
type apps struct {
	keys     *session.TokenKeys
	sessions *session.Apps
	handOffs *login.HandOffs
}

func (d *Daemon) apps(ctx context.Context, i *instance, manager *session.Manager) (*apps, error) {
	keys, err := session.NewTokenKeys(session.KeysConfig{DB: i.DB, Ring: i.Ring, Logger: d.cfg.Logger, Now: d.cfg.Now})
	if err != nil {
		return nil, err
	}
	if err := keys.Ensure(ctx); err != nil {
		return nil, err
	}
	sessions, err := session.NewApps(session.AppsConfig{Manager: manager, Keys: keys, Issuer: i.origin})
	if err != nil {
		return nil, err
	}
	handOffs, err := login.NewHandOffs(login.HandOffsConfig{
		DB: i.DB, Apps: sessions, Origin: i.origin, Limit: perMinute(d.settings.Limits.SignInsPerMinute),
		Redirects: d.settings.AppRedirects, Logger: d.cfg.Logger, Now: d.cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	i.work("token keys", keys.Run)
	i.work("app sign-ins", handOffs.Run)
	i.whileServing("app sign-ins", handOffs.Serve)
	return &apps{keys: keys, sessions: sessions, handOffs: handOffs}, nil
}

// sweeps removes what is over of them.
func (a *apps) sweeps() []session.Sweep {
	return []session.Sweep{{Kind: "app_sign_ins", Remove: a.handOffs.Sweep}, {Kind: "app_sessions", Remove: a.sessions.Sweep}}
}
