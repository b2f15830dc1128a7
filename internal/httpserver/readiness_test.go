package httpserver_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/httpserver"
)

func ask(t *testing.T, r *httpserver.Readiness, path string) (int, string) {
	t.Helper()
	mux := http.NewServeMux()
	r.Mount(mux)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w.Code, strings.TrimSpace(w.Body.String())
}

func works(context.Context) error { return nil }

func fails(context.Context) error { return errors.New("disk at /secret/path is full") }

func TestReadyzTellsFatalFromDegraded(t *testing.T) {
	t.Parallel()
	type parts map[string]httpserver.Probe
	panics := func(context.Context) error { panic("x") }
	tests := []struct {
		name       string
		need, want parts
		status     int
		body       string
	}{
		{"all well", parts{"storage": works}, parts{"lag": works}, 200, `{"status":"ready"}`},
		{"nothing to ask", nil, nil, 200, `{"status":"ready"}`},
		{"degraded", parts{"storage": works}, parts{"lag": fails}, 200, `{"status":"degraded","degraded":["lag"]}`},
		{"fatal", parts{"storage": fails}, parts{"lag": works}, 503, `{"status":"unready","failing":["storage"]}`},
		{"both", parts{"storage": fails}, parts{"lag": fails}, 503, `{"status":"unready","failing":["storage"],"degraded":["lag"]}`},
		{"panic", parts{"storage": panics}, nil, 503, `{"status":"unready","failing":["storage"]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			registry := prometheus.NewRegistry()
			r := httpserver.NewReadiness(slog.New(slog.NewTextHandler(&log, nil)), registry)
			for name, probe := range test.need {
				r.Need(name, probe)
			}
			for name, probe := range test.want {
				r.Want(name, probe)
			}
			status, body := ask(t, r, "/readyz")
			if status != test.status || body != test.body {
				t.Errorf("/readyz = %d %s, want %d %s", status, body, test.status, test.body)
			}
			if status, _ := ask(t, r, "/healthz"); status != 200 {
				t.Errorf("/healthz = %d, want 200: the process is alive", status)
			}
			if test.status == 503 && !strings.Contains(log.String(), "part stopped working") {
				t.Errorf("log = %q, want the part that stopped", &log)
			}
		})
	}
}

func TestAPartThatChangesIsLoggedOnceAndShownInTheGauge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var broken atomic.Bool
		registry := prometheus.NewRegistry()
		r := httpserver.NewReadiness(slog.New(slog.NewTextHandler(&log, nil)), registry)
		r.Need("storage", func(context.Context) error {
			if broken.Load() {
				return errors.New("full")
			}
			return nil
		})
		for i, state := range []bool{false, true, true, true, false, false} {
			broken.Store(state)
			time.Sleep(2 * time.Second)
			if status, _ := ask(t, r, "/readyz"); (status == 503) != state {
				t.Errorf("round %d: /readyz = %d with broken %t", i, status, state)
			}
			families, _ := registry.Gather()
			if got := families[0].GetMetric()[0].GetGauge().GetValue(); (got == 0) != state {
				t.Errorf("round %d: gauge = %v with broken %t", i, got, state)
			}
		}
		if strings.Count(log.String(), "\n") != 2 {
			t.Errorf("log = %q, want one line for each change", &log)
		}
	})
}

// Anybody may ask; the parts are asked once a second at most, and one that
// hangs does not hold the answer up for ever.
func TestAskersShareOneRoundAndAHangingPartTimesOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := httpserver.NewReadiness(slog.New(slog.DiscardHandler), nil)
		var asked atomic.Int32
		release := make(chan struct{})
		r.Need("storage", func(context.Context) error { asked.Add(1); return nil })
		r.Want("lag", func(context.Context) error { <-release; return nil })
		begun := time.Now()
		var askers sync.WaitGroup
		for range 50 {
			askers.Go(func() {
				if _, body := ask(t, r, "/readyz"); body != `{"status":"degraded","degraded":["lag"]}` {
					t.Errorf("/readyz = %s, want the hanging part as degraded", body)
				}
			})
		}
		askers.Wait()
		if took := time.Since(begun); took != 2*time.Second || asked.Load() != 1 {
			t.Errorf("50 askers took %s and asked the part %d times, want 2s and once", took, asked.Load())
		}
		close(release)
	})
}

func TestAnAskerThatLeftDoesNotSpoilTheAnswer(t *testing.T) {
	t.Parallel()
	r := httpserver.NewReadiness(slog.New(slog.DiscardHandler), nil)
	r.Need("storage", func(ctx context.Context) error { return ctx.Err() })
	mux := http.NewServeMux()
	r.Mount(mux)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/readyz", nil).WithContext(gone))
	if status, body := ask(t, r, "/readyz"); status != http.StatusOK {
		t.Errorf("/readyz after somebody left = %d %s, want 200", status, body)
	}
}

func TestStoppingIsNotReady(t *testing.T) {
	t.Parallel()
	r := httpserver.NewReadiness(slog.New(slog.DiscardHandler), nil)
	r.Need("storage", works)
	r.Stop()
	if status, body := ask(t, r, "/readyz"); status != 503 || body != `{"status":"stopping"}` {
		t.Errorf("/readyz = %d %s, want 503 stopping", status, body)
	}
}
