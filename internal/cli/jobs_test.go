package cli_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/atoll-social/atoll/internal/job"
)

// TestJobsCommands holds what an operator sees of jobs and can do about them.
func TestJobsCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.says(s.run(0, "jobs", "list"), "no jobs")
	q, err := job.New(job.Config{DB: s.db, Logger: slog.New(slog.DiscardHandler)})
	s.must(err)
	failed := make(chan struct{})
	q.Register("broken", func(context.Context, job.Job) error {
		defer close(failed)
		return job.Discard(errors.New("no such road"))
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	id, err := q.EnqueueNow(t.Context(), job.Insert{Kind: "broken", Args: map[string]int{"n": 7}})
	s.must(err)
	<-failed
	stop()
	s.must(<-ended)
	waiting, err := q.EnqueueNow(t.Context(), job.Insert{Kind: "other"})
	s.must(err)

	s.says(s.run(0, "jobs", "list"), id, "discarded", "no such road", waiting, "waiting", "now")
	if out := s.run(0, "jobs", "list", "--state", "failed"); out != "no jobs\n" {
		t.Errorf("list --state failed: %s", out)
	}
	s.says(s.run(0, "jobs", "show", id), `{"n":7}`, "1 of 16", "no such road")
	s.says(s.run(0, "jobs", "retry", id), "begins")
	s.says(s.run(0, "jobs", "list", "--kind", "broken"), "waiting", "0 of 16")
	s.says(s.run(0, "jobs", "cancel", waiting), "is cancelled")
	s.says(s.run(1, "jobs", "cancel", waiting), "cannot be done")
	s.says(s.run(1, "jobs", "retry", "nothing"), "there is no job nothing")
	s.says(s.run(2, "jobs", "list", "--state", "lost"), "--state")
}
