package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// Sessions shows and ends members' sessions. It shows no secret.
type Sessions struct {
	Manager *session.Manager
	// Client renews tokens; only Refresh needs it.
	Client interface {
		Refresh(ctx context.Context, id string) (*client.SessionData, error)
	}
	Now func() time.Time
}

// List writes the sessions that q selects, newest sign-in first.
func (s *Sessions) List(ctx context.Context, w io.Writer, q session.Query) error {
	all, more, err := s.Manager.List(ctx, q)
	if err != nil {
		return err
	}
	if len(all) == 0 {
		_, err := fmt.Fprintln(w, "no sessions")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SESSION\tACCOUNT\tSTATE\tREASON\tSIGNED IN\tUSED\tENDS\tSERVER")
	for _, i := range all {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.ID, accountOf(i), i.State, orDash(string(i.Reason)),
			orNever(i.CreatedAt), orNever(i.UsedAt), s.ends(i), i.PDS)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more {
		_, err = fmt.Fprintf(w, "… and more; --limit shows up to 1000, --account those of one account\n")
	}
	return err
}

// accountOf is the name of whose session it is: the handle where one is known.
func accountOf(i session.Info) string {
	if i.Handle != "" {
		return i.Handle.String()
	}
	return i.DID.String()
}

// ends says when a live session ends by itself.
func (s *Sessions) ends(i session.Info) string {
	switch {
	case !i.EndedAt.IsZero():
		return "over"
	case i.RefreshExpiresAt.IsZero():
		return "-"
	}
	left := i.RefreshExpiresAt.Sub(s.Now())
	switch {
	case left <= 0:
		return "now"
	case left < 48*time.Hour:
		return fmt.Sprintf("in %d h", int(left.Hours()))
	}
	return fmt.Sprintf("in %d d", int(left.Hours()/24))
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

func orNever(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(dateAndTime)
}

// trailLength is how many of an account's audit rows are searched for those of
// one session.
const trailLength = 500

// Show writes all about one session, and what happened to it.
func (s *Sessions) Show(ctx context.Context, w io.Writer, id string) error {
	i, err := s.Manager.Info(ctx, id)
	if err != nil {
		return notFound(err, id)
	}
	trail, err := s.Manager.Trail(ctx, i.DID, trailLength)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"session", i.ID}, {"account", i.DID.String()}, {"handle", orDash(i.Handle.String())},
		{"state", string(i.State)}, {"reason", s.reason(i)},
		{"server", i.PDS}, {"issuer", i.Issuer}, {"scope", i.Scope},
		{"client", i.ClientID}, {"client key", orDash(i.KeyID)},
		{"device", orDash(i.Device)}, {"signed in", orNever(i.CreatedAt)}, {"used", orNever(i.UsedAt)},
		{"refreshed", orNever(i.RefreshedAt)}, {"access token ends", orNever(i.AccessExpiresAt)},
		{"refresh token ends", orNever(i.RefreshExpiresAt)}, {"ended", orNever(i.EndedAt)},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	if i.State == session.StateRevoking {
		fmt.Fprintf(table, "server asked\t%d times\n", i.RevokeTries)
	}
	for _, e := range trail {
		if e.SessionID == id {
			fmt.Fprintf(table, "%s\t%s %s\n", orNever(e.At), e.Kind, e.Detail)
		}
	}
	return table.Flush()
}

func (s *Sessions) reason(i session.Info) string {
	if i.Reason == "" {
		return "-"
	}
	return string(i.Reason) + ": " + session.Explain(i.Reason)
}

// Revoke ends a session here at once.
func (s *Sessions) Revoke(ctx context.Context, w io.Writer, id string) error {
	err := s.Manager.Revoke(ctx, id)
	switch {
	case errors.Is(err, session.ErrNotLive):
		return fault.New(fault.Conflict, "session "+id+" is over already; `atoll sessions show` says why")
	case err != nil:
		return notFound(err, id)
	}
	_, err = fmt.Fprintf(w, "session %s is over here; the running server tells the member's server within a minute\n", id)
	return err
}

// Refresh renews a session's tokens now, under the same lease as a server does.
func (s *Sessions) Refresh(ctx context.Context, w io.Writer, id string) error {
	d, err := s.Client.Refresh(ctx, id)
	var ended *client.EndedError
	var later *client.RefreshError
	var again *session.SignInAgainError
	var paused *session.PausedError
	switch {
	case errors.As(err, &ended):
		return fault.Wrap(fault.Conflict, err, "session "+id+" has ended: "+session.Explain(ended.Reason))
	case errors.As(err, &again):
		return fault.Wrap(fault.Conflict, err, "session "+id+" is over, or cannot be used: "+session.Explain(again.Reason))
	case errors.As(err, &paused):
		return fault.Wrap(fault.Conflict, err, "session "+id+" is paused: "+session.Explain(paused.Reason))
	case errors.As(err, &later):
		return fault.Wrap(fault.Unavailable, err, "session "+id+" is kept, but could not be renewed just now: "+later.Cause.Error())
	case err != nil:
		return notFound(err, id)
	}
	_, err = fmt.Fprintf(w, "session %s has new tokens; the access token ends %s, the refresh token %s\n",
		id, orUnknown(d.AccessExpiresAt), orUnknown(d.RefreshExpiresAt))
	return err
}

func orUnknown(t time.Time) string {
	if t.IsZero() {
		return "nobody knows when"
	}
	return orNever(t)
}

func notFound(err error, id string) error {
	if errors.Is(err, client.ErrNotFound) {
		return fault.New(fault.NotFound, "there is no session "+id+"; `atoll sessions list` shows them")
	}
	return err
}
