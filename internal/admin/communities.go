package admin

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
)

// Communities looks after the communities that this instance hosts, in the name
// of the instance.
type Communities struct {
	Service *community.Service
	// Operator is who does it: the instance's own DID.
	Operator agent.Actor
}

// mostWaiting is how many waiting posts are shown.
const mostWaiting = 100

// List writes the communities, how each admits posts, and how many wait.
func (c *Communities) List(ctx context.Context, w io.Writer) error {
	all, err := c.Service.Hosted(ctx)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no communities are hosted here")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HANDLE\tDID\tADMISSION\tEDITS\tWAITING")
	for _, h := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%d\n", orDash(h.Account.Handle.String()), h.Account.DID, h.Policy.Admission, edits(h.Policy), h.Waiting)
	}
	return table.Flush()
}

func edits(p community.Policy) string {
	if p.ReviewEdits {
		return "reviewed"
	}
	return "free"
}

// Policy changes how a community admits posts.
func (c *Communities) Policy(ctx context.Context, w io.Writer, which string, p community.Policy) error {
	if err := c.Service.SetPolicy(ctx, c.Operator, which, p); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, p.Explain())
	return err
}

// Waiting writes what waits in a community, the longest first.
func (c *Communities) Waiting(ctx context.Context, w io.Writer, which string) error {
	all, err := c.Service.WaitingPosts(ctx, c.Operator, which, mostWaiting)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "nothing waits")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SINCE\tWAITS FOR\tPOST\tVERSION")
	for _, p := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", orNever(p.Since), p.Why, p.Post, p.CID)
	}
	return table.Flush()
}

// Approve has a post accepted in the version that waits. With always, its
// author's posts are from now on.
func (c *Communities) Approve(ctx context.Context, w io.Writer, post syntax.ATURI, version syntax.CID, always bool) error {
	if err := c.Service.Approve(ctx, c.Operator, post, version, always); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "It will be accepted in a moment.")
	return err
}

// Remove has a post removed, in public, for a reason in one word and perhaps in
// more.
func (c *Communities) Remove(ctx context.Context, w io.Writer, post syntax.ATURI, code, reason string) error {
	if err := c.Service.Reject(ctx, c.Operator, post, code, reason); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "It will be removed in a moment.")
	return err
}

// Ban shuts somebody out of a community, in public.
func (c *Communities) Ban(ctx context.Context, w io.Writer, which, person, reason string, length time.Duration) error {
	done, err := c.Service.Ban(ctx, c.Operator, community.BanInput{Community: which, Person: person, Reason: reason, For: length})
	if err != nil {
		return err
	}
	what := "banned"
	if done.Existing {
		what = "was banned before"
	}
	_, err = fmt.Fprintf(w, "%s %s: %s\n", person, what, done.URI)
	return err
}

// Unban lets somebody in again.
func (c *Communities) Unban(ctx context.Context, w io.Writer, which, person string) error {
	if err := c.Service.Unban(ctx, c.Operator, which, person); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%s is not banned any more\n", person)
	return err
}
