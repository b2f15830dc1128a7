package httpserver

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts requests by route, method and status, times them, and shows
// how many are under way. Routes are mux patterns, so labels are bounded. It
// registers once and panics when the names are taken.
func Metrics(registry prometheus.Registerer) Middleware {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "atoll_http_requests_total",
		Help: "Requests answered, by route, method and status.",
	}, []string{"route", "method", "status"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "atoll_http_request_duration_seconds",
		Help:    "Time from a request's headers to the end of its answer, by route.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"route"})
	inFlight := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "atoll_http_requests_in_flight",
		Help: "Requests under way.",
	})
	registry.MustRegister(requests, seconds, inFlight)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w, r, rec := observe(w, r)
			inFlight.Inc()
			defer func() {
				inFlight.Dec()
				requests.WithLabelValues(rec.routeName(), methodName(r.Method), strconv.Itoa(rec.finalStatus())).Inc()
				seconds.WithLabelValues(rec.routeName()).Observe(time.Since(rec.start).Seconds())
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// MetricsHandler serves what registry gathered, for metrics_listen.
func MetricsHandler(registry *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry})
}
