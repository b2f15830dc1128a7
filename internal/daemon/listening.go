package daemon

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/config"
	"github.com/atoll-social/atoll/internal/httpserver"
)

// listening is the open ports of a process. They open before anything else, so
// that a port in use is reported before something is changed; what answers
// there is known later.
type listening struct {
	server  *httpserver.Server
	metrics *httpserver.Server // nil when off
	ready   *httpserver.Readiness
	handler http.Handler // set before the server runs
}

// ServeHTTP implements http.Handler.
func (l *listening) ServeHTTP(w http.ResponseWriter, r *http.Request) { l.handler.ServeHTTP(w, r) }

func openPorts(ctx context.Context, settings *config.Config, logger *slog.Logger, registry *prometheus.Registry) (*listening, error) {
	l := &listening{ready: httpserver.NewReadiness(logger, registry)}
	var err error
	l.server, err = httpserver.New(httpserver.Config{
		Listen: settings.Listen, TLSCert: settings.TLSCert, TLSKey: settings.TLSKey,
		Handler: l, Logger: logger, Readiness: l.ready,
	})
	if err != nil {
		return nil, err
	}
	if err := l.server.Listen(ctx); err != nil {
		return nil, err
	}
	if settings.MetricsListen == "" {
		return l, nil
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", httpserver.MetricsHandler(registry))
	l.metrics, err = httpserver.New(httpserver.Config{
		Name: "metrics", Listen: settings.MetricsListen, Logger: logger,
		Handler: httpserver.Routes(mux, httpserver.RenderText),
	})
	if err != nil {
		return nil, err
	}
	return l, l.metrics.Listen(ctx)
}

// origin is where browsers reach this instance.
func (l *listening) origin(settings *config.Config) string {
	if settings.PublicURL != "" {
		return settings.PublicURL
	}
	return "http://" + l.server.Addr().String()
}

func (l *listening) workers() []worker {
	all := []worker{{"listener", l.server.Run}}
	if l.metrics != nil {
		all = append(all, worker{"metrics listener", l.metrics.Run})
	}
	return all
}
