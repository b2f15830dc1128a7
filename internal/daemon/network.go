package daemon

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/doctor"
	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/oauth/client"
)

// Caps of what is asked of other servers.
const (
	documentTimeout = 10 * time.Second
	documentSize    = 512 << 10 // OAuth metadata, DID documents, well-known answers
	callTimeout     = 30 * time.Second
	callSize        = 5 << 20 // answers of a PDS
	// oauthTimeout is for each step of a sign-in: the six that a way back can
	// take must end before writeTimeout cuts the page off.
	oauthTimeout = 8 * time.Second
	repoTimeout  = 10 * time.Minute // a whole repository, whose size ingest bounds
)

// outbound makes the one way out.
func outbound(cfg Config, metrics prometheus.Registerer) (*egress.Guard, error) {
	return egress.New(egress.Config{
		Dev: cfg.Settings.Dev, Allow: cfg.Settings.EgressAllow,
		Route: cfg.Route, Resolver: cfg.Resolver,
		UserAgent: "atoll/" + cfg.Version, Metrics: metrics,
	})
}

func directory(cfg Config, guard *egress.Guard) (*identity.Directory, error) {
	return identity.New(identity.Config{
		HTTP: guard.Client(egress.Limits{Timeout: documentTimeout, MaxBytes: documentSize, Redirects: 2}),
		DNS:  cfg.Resolver, PLCURL: cfg.Settings.PLCURL,
		Dev: cfg.Settings.Dev, DevHandles: cfg.Settings.DevHandles,
		Now: cfg.Now, Logger: cfg.Logger,
	})
}

// Paths that other servers know.
const (
	callbackPath = "/oauth/callback"
	metadataPath = "/oauth-client-metadata.json"
)

// ClientID is what servers that members sign in at know this instance by. For
// a development client it is only the beginning: the client itself makes the rest.
func ClientID(settings *config.Config) string {
	if settings.PublicURL == "" {
		return client.LoopbackID
	}
	return settings.PublicURL + metadataPath
}

// NewDoctor makes the checks from outside for an instance with these settings.
func NewDoctor(cfg Config) (*doctor.Doctor, error) {
	guard, err := outbound(cfg, nil)
	if err != nil {
		return nil, err
	}
	d := &doctor.Doctor{
		HTTP:      guard.Client(egress.Limits{Timeout: documentTimeout, MaxBytes: documentSize}),
		PublicURL: cfg.Settings.PublicURL, ClientID: ClientID(cfg.Settings),
		PLCURL: strings.TrimSuffix(cfg.Settings.PLCURL, "/"), Now: cfg.Now,
	}
	if h := cfg.Settings.Hosting; h.On() {
		d.Hosting = &doctor.Hosting{
			PDS: h.PDSURL, AdminPassword: h.PDSAdminPassword, HandleDomain: h.HandleDomain, Mint: h.Invite == "mint",
			Mapped: len(cfg.Settings.DevHandles) > 0,
		}
	}
	for _, s := range cfg.Settings.Sources {
		if s.Kind == ingest.Repos {
			d.Sources = append(d.Sources, s.URL)
		} else {
			d.Streams = append(d.Streams, strings.TrimSuffix(s.URL, "/")+ingest.JetstreamPath(s.Kind))
		}
	}
	return d, nil
}

// CheckStorage proves that the database takes writes.
func CheckStorage(ctx context.Context, s *Storage) doctor.Finding {
	if err := s.DB.Writable(ctx); err != nil {
		return doctor.Finding{Level: doctor.Broken, Check: "storage", Text: err.Error(), Fix: "free space, or let Atoll write there"}
	}
	return doctor.Finding{Level: doctor.Fine, Check: "storage", Text: string(s.DB.Engine()) + " takes writes, its schema is current, and the secret key fits"}
}

// publishedDelay gives a reverse proxy time to notice that we are up.
const publishedDelay = 5 * time.Second

// checkPublished fetches our own documents from outside shortly after the
// start (S1). What is wrong is a warning, never a failed start.
func (d *Daemon) checkPublished(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(publishedDelay):
	}
	outside, err := NewDoctor(d.cfg)
	if err != nil {
		return err
	}
	for _, f := range outside.Published(ctx) {
		if f.Level != doctor.Fine && ctx.Err() == nil {
			d.logger.WarnContext(ctx, "published document is wrong", "check", f.Check, "found", f.Text, "fix", f.Fix)
		}
	}
	<-ctx.Done()
	return nil
}

// streamClient carries WebSocket connections, which last.
func streamClient(guard *egress.Guard) *http.Client { return guard.Client(egress.Limits{}) }
