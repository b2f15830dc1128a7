package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/job"
)

// Jobs shows what is done later, and changes it.
type Jobs struct {
	Queue *job.Queue
	Now   func() time.Time
}

// List writes the newest jobs that q selects.
func (a *Jobs) List(ctx context.Context, w io.Writer, q job.Query) error {
	jobs, more, err := a.Queue.List(ctx, q)
	if err != nil {
		return err
	}
	if len(jobs) == 0 {
		_, err := fmt.Fprintln(w, "no jobs")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "JOB\tKIND\tSTATE\tATTEMPTS\tCREATED\tNEXT\tERROR")
	for _, j := range jobs {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d of %d\t%s\t%s\t%s\n", j.ID, j.Kind, j.State, j.Attempts, j.MaxAttempts,
			orNever(j.CreatedAt), a.next(j), orDash(short(j.Error)))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more {
		_, err = fmt.Fprintln(w, "… and more; --limit shows up to 1000, --state and --kind fewer")
	}
	return err
}

// next says when a job begins.
func (a *Jobs) next(j job.Info) string {
	if j.State != job.Waiting && j.State != job.Parked {
		return "-"
	}
	wait := j.RunAt.Sub(a.Now())
	if wait <= 0 {
		return "now"
	}
	return "in " + wait.Round(time.Second).String()
}

// shortText is how many characters of an error a list shows.
const shortText = 80

func short(text string) string {
	if runes := []rune(text); len(runes) > shortText {
		return string(runes[:shortText]) + "…"
	}
	return text
}

// Show writes all about one job.
func (a *Jobs) Show(ctx context.Context, w io.Writer, id string) error {
	j, err := a.Queue.Get(ctx, id)
	if err != nil {
		return jobFault(err, id)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"job", j.ID}, {"kind", j.Kind}, {"state", string(j.State)}, {"arguments", string(j.Args)},
		{"unique key", orDash(j.Unique)}, {"priority", fmt.Sprint(j.Priority)},
		{"attempts", fmt.Sprintf("%d of %d", j.Attempts, j.MaxAttempts)}, {"created", orNever(j.CreatedAt)},
		{"next", a.next(j)}, {"started", orNever(j.StartedAt)}, {"finished", orNever(j.FinishedAt)},
		{"held by", orDash(j.Owner)}, {"held until", orNever(j.LeaseUntil)}, {"error", orDash(j.Error)},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	return table.Flush()
}

// Retry lets a job begin at once.
func (a *Jobs) Retry(ctx context.Context, w io.Writer, id string) error {
	if err := a.Queue.Retry(ctx, id); err != nil {
		return jobFault(err, id)
	}
	_, err := fmt.Fprintf(w, "job %s begins as soon as a server has room for it\n", id)
	return err
}

// Cancel ends a job.
func (a *Jobs) Cancel(ctx context.Context, w io.Writer, id string) error {
	if err := a.Queue.Cancel(ctx, id); err != nil {
		return jobFault(err, id)
	}
	_, err := fmt.Fprintf(w, "job %s is cancelled; if it runs just now, it is stopped within seconds\n", id)
	return err
}

func jobFault(err error, id string) error {
	switch {
	case errors.Is(err, job.ErrNotFound):
		return fault.New(fault.NotFound, "there is no job "+id+"; `atoll jobs list` shows them")
	case errors.Is(err, job.ErrState):
		return fault.New(fault.Conflict, "job "+id+" is in a state in which this cannot be done, or another one for the same thing waits; `atoll jobs show` says which")
	}
	return err
}
