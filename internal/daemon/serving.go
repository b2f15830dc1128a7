package daemon

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/ingest"
	"github.com/atoll-social/atoll/internal/rpc"
	"github.com/atoll-social/atoll/internal/web"
	"github.com/atoll-social/atoll/internal/xrpc"
)

// Bounds of requests; a route may set narrower ones.
const (
	maxBody      = 1 << 20
	readTimeout  = 30 * time.Second
	writeTimeout = 60 * time.Second
	// What large bodies take in memory together, and those of one member: four
	// forms full of pictures, and one.
	maxIntake, memberIntake = 128 << 20, 32 << 20
	// How often others are asked, in a minute, because of the requests of one
	// address and of all strangers: who somebody is that nothing here says.
	addrLookUps, strangersLookUps = 120, 1_200
)

// surfaces are what answers requests.
type surfaces struct {
	web  *web.Server
	xrpc *xrpc.Server
	rpc  *rpc.Server
}

// render answers an error in the manner of the surface that the path belongs to.
func (s *surfaces) render(w http.ResponseWriter, r *http.Request, err error) {
	if rpc.Owns(r.URL.Path) {
		rpc.RenderFault(w, r, err)
		return
	}
	if strings.HasPrefix(r.URL.Path, xrpc.Prefix) || strings.HasPrefix(r.URL.Path, "/api/") {
		s.xrpc.RenderFault(w, r, err)
		return
	}
	s.web.RenderFault(w, r, err)
}

func (d *Daemon) surfaces(i *instance, m *members, c *content) (*surfaces, error) {
	origins, err := httpserver.NewOrigins(i.origin)
	if err != nil {
		return nil, err
	}
	document, err := instanceDocument(d.settings)
	if err != nil {
		return nil, err
	}
	writes, err := httpserver.NewLimiter(perMinute(d.settings.Limits.WritesPerMinute))
	if err != nil {
		return nil, err
	}
	lookUps, err := httpserver.NewLookUps(perMinute(addrLookUps), perMinute(strangersLookUps))
	if err != nil {
		return nil, err
	}
	intake := httpserver.NewIntake(maxIntake, memberIntake)
	pictures, err := d.gallery(i, c)
	if err != nil {
		return nil, err
	}
	pages, err := web.New(web.Config{
		Sessions: m.sessions, Cookies: m.cookies, SignIn: m.login, Apps: m.login, AppSessions: m.apps.sessions, InstanceKeys: m.apps.keys.PublicJWKS, Posts: c.posts, Standings: c.agents, Passwords: c.passwords, Writes: writes, Intake: intake, LookUps: lookUps, Client: m.client,
		Index: c.index, Feeds: c.feeds, Cursors: c.cursors, Communities: c.communities, Names: c.names,
		Pictures: pictures, Origin: i.origin, Origins: origins, Document: document,
		Listening: len(d.settings.Sources) > 0, Now: d.cfg.Now,
	})
	if err != nil {
		return nil, err
	}
	services, err := d.services(i)
	if err != nil {
		return nil, err
	}
	aggregators, err := d.aggregators(i, m, c)
	if err != nil {
		return nil, err
	}
	api, err := xrpc.New(xrpc.Config{
		Services: services, Aggregators: aggregators, Standings: c.agents,
		Sessions: m.sessions, Cookies: m.cookies, Renewing: m.client, Apps: m.apps.sessions, Origins: origins,
		Origin: i.origin, Index: c.index, Feeds: c.feeds, Names: c.names, Cursors: c.cursors, Posts: c.posts, Communities: c.communities, Writes: writes, Intake: intake, LookUps: lookUps,
	})
	if err != nil {
		return nil, err
	}
	calls, err := rpc.New(rpc.Config{HandOffs: m.apps.handOffs, Apps: m.apps.sessions, Logger: d.cfg.Logger})
	if err != nil {
		return nil, err
	}
	return &surfaces{web: pages, xrpc: api, rpc: calls}, nil
}

// bodyLimit is how large the body of a request may be, in bytes.
func bodyLimit(r *http.Request) int64 {
	if strings.HasPrefix(r.URL.Path, xrpc.Prefix) {
		return xrpc.BodyLimit(r)
	}
	if limit := web.BodyLimit(r); limit > 0 {
		return limit
	}
	return maxBody
}

// handler puts the surfaces behind what holds for every request.
func (d *Daemon) handler(i *instance, s *surfaces) (http.Handler, error) {
	limiter, err := httpserver.NewAddrLimiter(perMinute(d.settings.Limits.RequestsPerMinute))
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	i.ready.Mount(mux)
	s.web.Mount(mux)
	s.xrpc.Mount(mux)
	s.rpc.Mount(mux)
	middleware := []httpserver.Middleware{
		httpserver.RequestID,
		httpserver.RealAddr(d.settings.TrustedProxies),
		httpserver.AccessLog(d.cfg.Logger),
		httpserver.Metrics(d.registry),
		httpserver.Compress,
		httpserver.Recover(s.render),
		httpserver.SecurityHeaders(d.settings.PublicURL != ""),
		httpserver.Timeouts(readTimeout, writeTimeout),
		httpserver.MaxBodyOf(bodyLimit),
		d.noticeProxy,
		exceptHealth(httpserver.LimitAddr(limiter, s.render)),
		answerHandles(i.accounts, s.render),
	}
	if d.settings.PublicURL == "" {
		middleware = append(middleware, httpserver.LocalhostRedirect)
	} else {
		middleware = append(middleware, leadHome(i.accounts, d.settings.PublicURL, s.render))
	}
	return httpserver.Chain(httpserver.Routes(mux, s.render), middleware...), nil
}

// exceptHealth leaves health checks out of a limit: visitors that share an
// address with the probe must not make it fail. They have a bound of their own.
func exceptHealth(limit httpserver.Middleware) httpserver.Middleware {
	return func(next http.Handler) http.Handler {
		limited := limit(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/healthz" || r.URL.Path == "/readyz" {
				next.ServeHTTP(w, r)
				return
			}
			limited.ServeHTTP(w, r)
		})
	}
}

// noticeProxy warns once when a reverse proxy nearby is not trusted: all its
// visitors then share the limits of one address.
func (d *Daemon) noticeProxy(next http.Handler) http.Handler {
	var once sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		peer := httpserver.ClientAddr(r)
		if r.Header.Get("X-Forwarded-For") != "" && len(d.settings.TrustedProxies) == 0 && (peer.IsLoopback() || peer.IsPrivate()) {
			once.Do(func() {
				d.logger.WarnContext(r.Context(), "requests come through a proxy that is not in trusted_proxies: all its visitors count as one", "proxy", peer.String())
			})
		}
		next.ServeHTTP(w, r)
	})
}

// needs says what this process cannot do without.
func (d *Daemon) needs(i *instance, l *listening) {
	i.ready.Need("storage", i.DB.Writable)
	i.ready.Need("schema", func(ctx context.Context) error {
		have, want, err := i.DB.SchemaVersion(ctx)
		if err == nil && have != want {
			err = fmt.Errorf("the database is at schema version %d, this program at %d", have, want)
		}
		return err
	})
	i.ready.Need("listener", l.server.Probe)
}

// healthOnly is served by a process without the role web.
func (d *Daemon) healthOnly(i *instance) http.Handler {
	mux := http.NewServeMux()
	i.ready.Mount(mux)
	return httpserver.Chain(httpserver.Routes(mux, httpserver.RenderText),
		httpserver.RequestID, httpserver.AccessLog(d.cfg.Logger), httpserver.Timeouts(readTimeout, writeTimeout))
}

// instanceDocument describes this instance by its did:web; nil in development.
func instanceDocument(settings *config.Config) (*identity.InstanceDocument, error) {
	if settings.PublicURL == "" {
		return nil, nil //nolint:nilnil // a development client has no identity, and pages say so
	}
	return identity.NewInstanceDocument(settings.PublicURL)
}

// troubled names the sources that don't get on just now, because they are not
// connected or because what they bring cannot be written.
func troubled(sources []ingest.Status) error {
	var trouble []error
	for _, s := range sources {
		if !s.Connected || s.Trouble != "" {
			trouble = append(trouble, fmt.Errorf("%s: connected %t: %s", s.URL, s.Connected, s.Trouble))
		}
	}
	return errors.Join(trouble...)
}
