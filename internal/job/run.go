package job

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// errStopping is why workers are cancelled when a stop waits no longer.
var errStopping = errors.New("the process stops")

// Run does registered jobs until ctx ends. Then it takes no more, waits for
// those that run, and gives back what is not finished in time: it is free for
// others at once.
func (q *Queue) Run(ctx context.Context) error {
	q.mu.Lock()
	if q.started {
		q.mu.Unlock()
		return errors.New("job: the queue runs already")
	}
	q.started = true
	q.mu.Unlock()
	// Workers outlive ctx by the time for draining.
	working, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var keeping, workers sync.WaitGroup
	beating, endBeats := context.WithCancel(working)
	defer endBeats()
	keeping.Go(func() { q.every(beating, q.cfg.Timing.Heartbeat, "heartbeat", q.beat) })
	keeping.Go(func() { q.every(ctx, q.cfg.Timing.Upkeep, "upkeep", q.upkeep) })
	q.loop(ctx, working, &workers)
	q.drain(&workers, stop)
	endBeats()
	keeping.Wait()
	return nil
}

// every calls do again and again until ctx ends.
func (q *Queue) every(ctx context.Context, pause time.Duration, what string, do func(context.Context) error) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := do(ctx); err != nil && ctx.Err() == nil {
			q.log.ErrorContext(ctx, "queue in trouble, trying again", "part", what, "error", err)
		}
	}
}

// loop claims and starts jobs until ctx ends.
func (q *Queue) loop(ctx, working context.Context, workers *sync.WaitGroup) {
	for ctx.Err() == nil {
		full, err := q.round(ctx, working, workers)
		if err != nil && ctx.Err() == nil {
			q.log.ErrorContext(ctx, "queue in trouble, trying again", "part", "claim", "error", err)
		}
		wait := q.cfg.Timing.Poll
		if full && err == nil {
			// A worker that ends rings; there is nothing to poll for before.
			wait = q.cfg.Timing.Heartbeat
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-q.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// round is one look at the queue: periodic jobs are enqueued, expired ones are
// taken back, and what there is room for is started.
func (q *Queue) round(ctx, working context.Context, workers *sync.WaitGroup) (full bool, err error) {
	if err := q.enqueuePeriods(ctx); err != nil {
		return false, err
	}
	yes, err := q.due(ctx)
	if err != nil || !yes {
		return false, err
	}
	if err := q.rescue(ctx); err != nil {
		return false, err
	}
	jobs, full, err := q.claim(ctx)
	if err != nil {
		return false, err
	}
	for _, j := range jobs {
		q.start(working, workers, j)
	}
	return full, nil
}

// start runs one job in a goroutine of its own.
func (q *Queue) start(working context.Context, workers *sync.WaitGroup, j Job) {
	q.mu.Lock()
	k := q.kinds[j.Kind]
	ctx, cancel := context.WithCancelCause(working)
	l := &lease{kind: j.Kind, claim: j.claim, cancel: cancel}
	if old := q.running[j.ID]; old != nil {
		old.cancel(ErrLost) // its lease expired, and the job came back to us
	}
	q.running[j.ID], j.lease = l, l
	q.mu.Unlock()
	workers.Go(func() {
		defer func() {
			cancel(nil)
			q.mu.Lock()
			if q.running[j.ID] == l {
				delete(q.running, j.ID)
			}
			q.mu.Unlock()
			q.ring()
		}()
		q.do(ctx, k, j)
	})
}

// do works on one job and settles it.
func (q *Queue) do(ctx context.Context, k kind, j Job) {
	began := q.cfg.Now()
	timed, cancel := context.WithTimeout(ctx, k.timeout)
	err := q.call(timed, k, j)
	cancel()
	q.metrics.seconds.WithLabelValues(j.Kind).Observe(q.cfg.Now().Sub(began).Seconds())
	if j.lease.over.Load() {
		if err != nil {
			q.log.WarnContext(ctx, "job was completed, then its worker failed", "kind", j.Kind, "job", j.ID, "error", err)
		}
		q.noteOutcome(ctx, j, verdict{state: Done})
		return
	}
	v := q.judge(j, err)
	if err != nil && errors.Is(context.Cause(ctx), errStopping) && v.state != Discarded && v.state != Parked {
		v = verdict{state: Waiting, runAt: q.cfg.Now(), err: err, free: true}
	}
	q.finish(ctx, j, v)
}

// call runs the worker. A panic is its error, and doesn't reach the process.
func (q *Queue) call(ctx context.Context, k kind, j Job) (err error) {
	defer func() {
		if v := recover(); v != nil {
			q.log.ErrorContext(ctx, "worker panicked", "kind", j.Kind, "job", j.ID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return k.work(ctx, j)
}

// drain waits for running jobs; what is over the budget is cancelled and given
// back by its own goroutine. A worker that doesn't listen is left behind: its
// lease ends by itself.
func (q *Queue) drain(workers *sync.WaitGroup, stop context.CancelCauseFunc) {
	ended := make(chan struct{})
	go func() { workers.Wait(); close(ended) }()
	select {
	case <-ended:
		return
	case <-time.After(q.cfg.Timing.Drain):
	}
	stop(errStopping)
	select {
	case <-ended:
	case <-time.After(q.cfg.Timing.Drain / 3):
		for id, l := range q.held() {
			q.log.Warn("worker does not stop, its job is free when its lease ends", "kind", l.kind, "job", id)
		}
	}
}
