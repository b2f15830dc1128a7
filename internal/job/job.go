// Package job is the durable queue in the program's own database: work is
// enqueued in the transaction of the write that it follows from, done by one
// worker at a time under a lease, retried, parked, or kept as failed for the
// operator. A job may run twice: workers make that safe.
package job

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/atoll-social/atoll/internal/store"
)

// State says where a job stands.
type State string

// The states. The first three are live.
const (
	Waiting   State = "waiting"   // for its time, or for a free worker
	Parked    State = "parked"    // its worker was told to come back later
	Running   State = "running"   // a worker holds it
	Done      State = "done"      // kept for a day
	Failed    State = "failed"    // out of attempts; kept until somebody looks, 30 days at most
	Discarded State = "discarded" // its worker said that it never can be done
	Cancelled State = "cancelled" // by the operator
)

// States lists all states.
func States() []State {
	return []State{Waiting, Parked, Running, Done, Failed, Discarded, Cancelled}
}

// Priorities. Due jobs of a higher one come first.
const (
	Low    = -10
	Normal = 0
	High   = 10
)

// Job is one job as its worker gets it.
type Job struct {
	ID   string
	Kind string
	// Args is a JSON value.
	Args json.RawMessage
	// Attempt counts from 1 and doesn't count runs that were parked.
	Attempt, MaxAttempts int
	CreatedAt            time.Time

	queue *Queue
	claim int64
	lease *lease
}

// Decode reads the arguments into v. Its error discards the job: they will
// never be better.
func (j Job) Decode(v any) error {
	if err := json.Unmarshal(j.Args, v); err != nil {
		return Discard(fmt.Errorf("arguments of job %s: %w", j.Kind, err))
	}
	return nil
}

// Worker does a job. nil is done; Park and Discard make errors with a meaning of
// their own; any other error is tried again later. ctx ends when the lease is
// lost, when time is up, and when a stop does not wait any longer.
type Worker func(ctx context.Context, j Job) error

// kind is a registered kind.
type kind struct {
	work     Worker
	limit    int
	attempts int
	timeout  time.Duration
}

// Option changes how a kind is worked on.
type Option func(*kind)

// Limit bounds how many jobs of the kind this process does at once.
func Limit(n int) Option { return func(k *kind) { k.limit = n } }

// Attempts says after how many failures a job is given up; 16 if not given,
// which takes about six hours.
func Attempts(n int) Option { return func(k *kind) { k.attempts = n } }

// Timeout bounds one run; ten minutes if not given.
func Timeout(d time.Duration) Option { return func(k *kind) { k.timeout = d } }

const (
	defaultWorkers  = 8
	defaultAttempts = 16
	defaultTimeout  = 10 * time.Minute
)

// Config is what a Queue is made of.
type Config struct {
	DB      *store.DB
	Logger  *slog.Logger
	Metrics prometheus.Registerer // nil: nobody reads them
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Workers is how many jobs this process does at once; 0 means 8.
	Workers int
	// Timing is for tests; the zero value is right for everything else.
	Timing Timing
}

// Timing is how fast a queue reacts.
type Timing struct {
	Poll      time.Duration // between two looks for work of other processes; 1 s
	Lease     time.Duration // after this long without a heartbeat others take over; 60 s
	Heartbeat time.Duration // 15 s
	Backoff   time.Duration // before the second attempt; doubles up to an hour; 5 s
	Drain     time.Duration // how long a stop waits for running jobs; 15 s
	Upkeep    time.Duration // between two rounds of counting and pruning; 15 s
}

func (t Timing) orDefaults() Timing {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&t.Poll, time.Second}, {&t.Lease, time.Minute}, {&t.Heartbeat, 15 * time.Second},
		{&t.Backoff, 5 * time.Second}, {&t.Drain, 15 * time.Second}, {&t.Upkeep, 15 * time.Second},
	} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	return t
}

// Queue enqueues jobs and, while Run runs, does those whose kinds are
// registered with it. It is safe for concurrent use.
type Queue struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	owner   string // of leases; new with every process
	wake    chan struct{}

	mu      sync.Mutex
	kinds   map[string]kind
	periods map[string]time.Duration
	running map[string]*lease // by job
	started bool
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Queue, error) {
	if cfg.DB == nil || cfg.Logger == nil {
		return nil, errors.New("job: database and logger are needed")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Workers == 0 {
		cfg.Workers = defaultWorkers
	}
	if cfg.Metrics == nil {
		cfg.Metrics = prometheus.NewRegistry()
	}
	cfg.Timing = cfg.Timing.orDefaults()
	if cfg.Workers < 0 || cfg.Timing.Heartbeat >= cfg.Timing.Lease {
		return nil, errors.New("job: workers must not be negative, and a lease must outlast its heartbeat")
	}
	m, err := newMetrics(cfg.Metrics)
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	return &Queue{
		cfg: cfg, log: cfg.Logger.With("component", "job"), metrics: m,
		owner: rand.Text(), wake: make(chan struct{}, 1),
		kinds: map[string]kind{}, periods: map[string]time.Duration{}, running: map[string]*lease{},
	}, nil
}

var kindName = regexp.MustCompile(`^[a-z][a-z0-9_.]{0,63}$`)

// Register says who works on a kind. It must come before Run; a wrong name, a
// second worker or a late call is a programmer's error and panics.
func (q *Queue) Register(name string, work Worker, opts ...Option) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, twice := q.kinds[name]; twice || q.started || work == nil || !kindName.MatchString(name) {
		panic(fmt.Sprintf("job: kind %q cannot be registered: its name is wrong or taken, or the queue runs already", name))
	}
	k := kind{work: work, limit: q.cfg.Workers, attempts: defaultAttempts, timeout: defaultTimeout}
	for _, o := range opts {
		o(&k)
	}
	q.kinds[name] = k
}

// Periodic enqueues a job of a registered kind without arguments once in every
// stretch of time, counted from 1970, over all processes together. The first
// comes at once; one that is still live is not joined by a second. It must
// come before Run.
func (q *Queue) Periodic(name string, every time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, known := q.kinds[name]; !known || q.started || every < time.Second {
		panic(fmt.Sprintf("job: kind %q cannot be periodic: register it first, before Run, with a second or more", name))
	}
	q.periods[name] = every
}
