package httpserver_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/httpserver"
)

// Strangers choose paths, methods and hosts, and must not choose labels.
func TestMetricsHaveBoundedLabels(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	mux := http.NewServeMux()
	mux.Handle("GET /p/{id}", httpserver.Handler(httpserver.RenderText, func(w http.ResponseWriter, r *http.Request) error {
		w.WriteHeader(http.StatusAccepted)
		return nil
	}))
	h := httpserver.Chain(httpserver.Routes(mux, httpserver.RenderText), httpserver.Metrics(registry))
	for i := range 100 {
		for _, method := range []string{"GET", fmt.Sprintf("M%d", i)} {
			for _, path := range []string{fmt.Sprintf("/p/%d", i), fmt.Sprintf("/x%d", i)} {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
			}
		}
	}
	w := httptest.NewRecorder()
	httpserver.MetricsHandler(registry).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, _ := io.ReadAll(w.Result().Body)
	var got []string
	for line := range strings.Lines(string(body)) {
		if strings.HasPrefix(line, "atoll_http_requests_total") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	want := []string{
		`atoll_http_requests_total{method="GET",route="GET /p/{id}",status="202"} 100`,
		`atoll_http_requests_total{method="GET",route="unmatched",status="404"} 100`,
		`atoll_http_requests_total{method="other",route="unmatched",status="404"} 100`,
		`atoll_http_requests_total{method="other",route="unmatched",status="405"} 100`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests by label:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !strings.Contains(string(body), `atoll_http_request_duration_seconds_count{route="GET /p/{id}"} 100`) ||
		!strings.Contains(string(body), "atoll_http_requests_in_flight 0") {
		t.Errorf("durations or requests in flight are missing:\n%s", body)
	}
}
