package admin

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/ingest"
)

// Ingest shows how listening to the network stands, and repairs what it left.
type Ingest struct {
	Ingester *ingest.Ingester
	Now      func() time.Time
}

// Status writes how far each source has been read and what waits.
func (a *Ingest) Status(ctx context.Context, w io.Writer) error {
	o, err := a.Ingester.Overview(ctx)
	if err != nil {
		return err
	}
	ingesting := "no process"
	if o.Ingesting {
		ingesting = "a process"
	}
	fmt.Fprintf(w, "%s ingests\n\n", ingesting)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SOURCE\tKIND\tCURSOR\tSAVED\tBEHIND\tEVENTS/MIN")
	for _, s := range o.Sources {
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", s.URL, s.Kind, s.Cursor, a.ago(s.SavedAt), behind(s), a.rate(s))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := a.drops(w, o.Drops); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nrepositories verified  %d\nto be fetched          %d, of which %d failed before\ndead letters           %d\n",
		o.Repositories, o.Wanted, o.Failing, o.Dead)
	return err
}

// behind is how old what is read was when it was read.
func behind(s ingest.SourceState) string {
	if !s.Timed {
		return "-"
	}
	return s.Behind.Round(10 * time.Millisecond).String()
}

// rate is how many events a minute come, unless nobody has counted lately.
func (a *Ingest) rate(s ingest.SourceState) string {
	if a.Now().Sub(s.CountedAt) > time.Minute {
		return "-"
	}
	return strconv.FormatInt(s.PerMinute, 10)
}

func (a *Ingest) ago(t time.Time) string { return a.Now().Sub(t).Round(time.Second).String() + " ago" }

// drops writes what was passed over.
func (a *Ingest) drops(w io.Writer, list []ingest.DropCount) error {
	if len(list) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "\nDROPPED\tBECAUSE OF\tLAST")
	for _, d := range list {
		fmt.Fprintf(table, "%d\t%s\t%s\n", d.Count, d.Reason, a.ago(d.Last))
	}
	return table.Flush()
}

// Dead writes the events whose data the database refused.
func (a *Ingest) Dead(ctx context.Context, w io.Writer, limit int) error {
	letters, err := a.Ingester.Dead(ctx, limit)
	if err != nil {
		return err
	}
	if len(letters) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tFAILED\tTRIES\tRECORD\tERROR")
	for _, l := range letters {
		fmt.Fprintf(table, "%d\t%s\t%d\t%s\t%s\n", l.ID, orNever(l.FailedAt), l.Attempts,
			strings.TrimRight(l.DID.String()+"/"+l.Collection+"/"+l.RKey, "/"), strings.ReplaceAll(l.Error, "\n", " "))
	}
	return table.Flush()
}

// retryAll is how many dead letters one call of Retry drives at most.
const retryAll = 100_000

// Retry drives dead letters again: those named, or all of them.
func (a *Ingest) Retry(ctx context.Context, w io.Writer, ids []int64) error {
	if len(ids) == 0 {
		letters, err := a.Ingester.Dead(ctx, retryAll)
		if err != nil {
			return err
		}
		for _, l := range letters {
			ids = append(ids, l.ID)
		}
	}
	if len(ids) == 0 {
		_, err := fmt.Fprintln(w, "no dead letters")
		return err
	}
	counts := map[ingest.Retried]int{}
	for _, id := range ids {
		result, err := a.Ingester.Retry(ctx, id)
		if err != nil {
			return fmt.Errorf("retry dead letter %d: %w", id, err)
		}
		counts[result]++
	}
	for _, result := range []ingest.Retried{ingest.RetryApplied, ingest.RetrySuperseded, ingest.RetryRefused, ingest.RetryAbsent} {
		if n := counts[result]; n > 0 {
			fmt.Fprintf(w, "%d %s\n", n, result)
		}
	}
	if counts[ingest.RetryRefused] > 0 {
		return fault.New(fault.Conflict, "the database refuses some still; `atoll ingest dead` shows why")
	}
	return nil
}

// Backfill rebuilds repositories from their servers.
func (a *Ingest) Backfill(ctx context.Context, w io.Writer, dids []syntax.DID) error {
	failed, err := a.Ingester.Backfill(ctx, dids, a.progress(w))
	if err != nil {
		return err
	}
	for _, did := range slices.Sorted(maps.Keys(failed)) {
		fmt.Fprintf(w, "%s failed: %s\n", did, failed[did])
	}
	fmt.Fprintf(w, "%d of %d done\n", len(dids)-len(failed), len(dids))
	if len(failed) > 0 {
		return fault.New(fault.Unavailable, "some could not be fetched; a running server goes on trying")
	}
	return nil
}

// BackfillSource rebuilds all repositories of a host that hold records of ours.
func (a *Ingest) BackfillSource(ctx context.Context, w io.Writer, host string) error {
	p, err := a.Ingester.BackfillSource(ctx, host, a.progress(w))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "listed %d repositories; %d could not be fetched and will be tried again by a running server\n", p.Listed, p.Failed)
	return err
}

// progress writes a line when the numbers have changed, every other second at most.
func (a *Ingest) progress(w io.Writer) func(ingest.Progress) {
	var last ingest.Progress
	var at time.Time
	return func(p ingest.Progress) {
		if p == last || time.Since(at) < 2*time.Second {
			return
		}
		last, at = p, time.Now()
		fmt.Fprintf(w, "listed %d, left %d, failed %d\n", p.Listed, p.Left, p.Failed)
	}
}

// Verify compares the index with repositories and changes nothing.
func (a *Ingest) Verify(ctx context.Context, w io.Writer, dids []syntax.DID) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "REPOSITORY\tREVISION\tSAME\tMISSING\tEXTRA\tDIFFERENT\tMALFORMED\t")
	wrong := false
	for _, did := range dids {
		d, err := a.Ingester.Verify(ctx, did)
		if err != nil {
			wrong = true
			fmt.Fprintf(table, "%s\t-\t-\t-\t-\t-\t-\t%v\n", did, err)
			continue
		}
		wrong = wrong || d.Missing+d.Extra+d.Different > 0
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t\n", did, d.Rev, d.Same, d.Missing, d.Extra, d.Different, d.Malformed)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if wrong {
		return fault.New(fault.Conflict, "not everything agrees; `atoll ingest backfill DID` rebuilds a repository")
	}
	return nil
}
