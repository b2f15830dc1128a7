package httpserver

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	probeTimeout = 2 * time.Second
	// probeAge is how old an answer may be: anybody may ask for readiness,
	// and must not be able to keep the database busy with it.
	probeAge = time.Second
)

// Probe returns what is wrong with a part, nil when nothing is.
type Probe func(ctx context.Context) error

// Readiness knows whether this process can serve. Parts are added before it
// is served.
type Readiness struct {
	logger   *slog.Logger
	parts    []*part
	stopping atomic.Bool

	mu    sync.Mutex
	round *round // the latest; nil before the first
}

// round is one asking of all parts, shared by everybody who asks meanwhile
// and shortly after.
type round struct {
	done   chan struct{} // closed when report is there
	ended  time.Time
	report report
}

type part struct {
	name  string
	fatal bool
	probe Probe
	wrong bool // at the last round
}

// report is the body of /readyz.
type report struct {
	Status   string   `json:"status"` // ready, degraded, unready, stopping
	Failing  []string `json:"failing,omitempty"`
	Degraded []string `json:"degraded,omitempty"`
}

// NewReadiness logs to logger when a part changes, with the cause, which the
// public body leaves out. registry takes the gauge atoll_part_ok, for which
// the parts are asked as for /readyz; nil is fine.
func NewReadiness(logger *slog.Logger, registry prometheus.Registerer) *Readiness {
	r := &Readiness{logger: logger.With("component", "readiness")}
	if registry != nil {
		registry.MustRegister(partsCollector{r})
	}
	return r
}

// Need adds a part without which nothing can be served.
func (r *Readiness) Need(name string, probe Probe) { r.add(name, true, probe) }

// Want adds a part whose failure is named but leaves the process ready.
func (r *Readiness) Want(name string, probe Probe) { r.add(name, false, probe) }

func (r *Readiness) add(name string, fatal bool, probe Probe) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.parts = append(r.parts, &part{name: name, fatal: fatal, probe: probe})
}

// Stop makes /readyz answer 503 from now on, so that no new work is sent here.
func (r *Readiness) Stop() { r.stopping.Store(true) }

// Mount serves GET /healthz (the process answers) and GET /readyz.
func (r *Readiness) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, req *http.Request) {
		w, _, rec := observe(w, req)
		rec.quiet = true
		writeReport(w, http.StatusOK, report{Status: "alive"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, req *http.Request) {
		w, req, rec := observe(w, req)
		rec.quiet = true
		rep := r.check(req.Context())
		status := http.StatusOK
		if rep.Status == "unready" || rep.Status == "stopping" {
			status = http.StatusServiceUnavailable
		}
		writeReport(w, status, rep)
	})
}

func writeReport(w http.ResponseWriter, status int, rep report) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(rep) // a client that left needs no answer
}

// check returns what the parts said less than probeAge ago, or asks them.
func (r *Readiness) check(ctx context.Context) report {
	if r.stopping.Load() {
		return report{Status: "stopping"}
	}
	current, mine := r.join()
	if mine {
		// One asker's leaving must not spoil the answer for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
		defer cancel()
		current.report = r.ask(ctx)
		current.ended = time.Now()
		close(current.done)
	}
	<-current.done // at most probeTimeout
	return current.report
}

// join returns the round to wait for, and whether the caller has to run it.
func (r *Readiness) join() (current *round, mine bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.round != nil {
		select {
		case <-r.round.done:
			if time.Since(r.round.ended) < probeAge {
				return r.round, false
			}
		default:
			return r.round, false
		}
	}
	r.round = &round{done: make(chan struct{})}
	return r.round, true
}

// ask runs all probes at once. There is one ask at a time.
func (r *Readiness) ask(ctx context.Context) report {
	errs := make([]error, len(r.parts))
	var wg sync.WaitGroup
	for i, p := range r.parts {
		wg.Go(func() { errs[i] = runProbe(ctx, p.probe) })
	}
	wg.Wait()
	rep := report{Status: "ready"}
	for i, p := range r.parts {
		r.note(ctx, p, errs[i])
		switch {
		case errs[i] == nil:
		case p.fatal:
			rep.Failing = append(rep.Failing, p.name)
		default:
			rep.Degraded = append(rep.Degraded, p.name)
		}
	}
	if len(rep.Failing) > 0 {
		rep.Status = "unready"
	} else if len(rep.Degraded) > 0 {
		rep.Status = "degraded"
	}
	return rep
}

// runProbe gives up on a probe that hangs, without waiting for it.
func runProbe(ctx context.Context, probe Probe) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if v := recover(); v != nil {
				done <- fmt.Errorf("probe panicked: %v", v)
			}
		}()
		done <- probe(ctx)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("no answer: %w", ctx.Err())
	}
}

// note logs a part that changed, once.
func (r *Readiness) note(ctx context.Context, p *part, err error) {
	switch {
	case err != nil && !p.wrong:
		r.logger.WarnContext(ctx, "part stopped working", "part", p.name, "fatal", p.fatal, "error", err)
	case err == nil && p.wrong:
		r.logger.InfoContext(ctx, "part works again", "part", p.name)
	}
	p.wrong = err != nil
}

// partsCollector shows the parts as metrics.
type partsCollector struct{ readiness *Readiness }

var partOK = prometheus.NewDesc("atoll_part_ok", "1 while a part works, 0 while it does not.", []string{"part"}, nil)

// Describe implements prometheus.Collector.
func (c partsCollector) Describe(out chan<- *prometheus.Desc) { out <- partOK }

// Collect implements prometheus.Collector.
func (c partsCollector) Collect(out chan<- prometheus.Metric) {
	rep := c.readiness.check(context.Background())
	if rep.Status == "stopping" {
		return
	}
	for _, p := range c.readiness.parts {
		ok := 1.0
		if slices.Contains(rep.Failing, p.name) || slices.Contains(rep.Degraded, p.name) {
			ok = 0
		}
		out <- prometheus.MustNewConstMetric(partOK, prometheus.GaugeValue, ok, p.name)
	}
}
