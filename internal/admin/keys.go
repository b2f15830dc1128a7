// Package admin is what an operator does on the database, beside a running
// server or without one.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
)

// Keys shows, rotates and withdraws the instance's keys.
type Keys struct {
	Seals    *Seals
	Client   *session.Keys
	Sessions *session.Manager
}

const dateAndTime = "2006-01-02 15:04 MST"

// List writes every key: id, use, age, and how many sessions are pinned to it.
func (k *Keys) List(ctx context.Context, w io.Writer) error {
	keys, err := k.Client.List(ctx)
	if err != nil {
		return err
	}
	sealed, err := k.Seals.Counts(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	ring := k.Seals.Ring
	for n, id := range ring.IDs() {
		use := "seals"
		if n > 0 {
			use = "opens only"
		}
		fmt.Fprintf(table, "master key\t%s\t%s\t\tneeded by %s\n", id, use, plural(sealed[id], "value"))
	}
	for _, id := range slices.Sorted(maps.Keys(sealed)) {
		if !ring.Has(id) {
			fmt.Fprintf(table, "master key\t%s\tmissing from secret_key\t\tneeded by %s\n", id, plural(sealed[id], "value"))
		}
	}
	for _, key := range keys {
		fmt.Fprintf(table, "client key\t%s\t%s\tmade %s\t%s\n",
			key.ID, describe(key), key.CreatedAt.Format(dateAndTime), plural(key.Sessions, "session"))
	}
	if len(keys) == 0 {
		fmt.Fprintln(table, "no client keys: the first is made when a confidential client starts")
	}
	return table.Flush()
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func describe(key session.KeyInfo) string {
	if key.State == session.KeyWaiting && !key.SignsFrom.IsZero() {
		return "published, signs from " + key.SignsFrom.Format(dateAndTime)
	}
	return map[session.KeyState]string{
		session.KeySigning:   "signs for new sessions",
		session.KeyWaiting:   "published, not used yet",
		session.KeyPinned:    "signs for older sessions",
		session.KeyWithdrawn: "withdrawn",
	}[key.State]
}

// Generate publishes a new client key that nothing is signed with yet.
func (k *Keys) Generate(ctx context.Context, w io.Writer) error {
	key, err := k.Client.Generate(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "client key %s is published within ten seconds; `atoll keys rotate` lets it sign\n", key.ID)
	return err
}

// Rotate lets a new client key sign for new sessions once it has been published
// for lead.
func (k *Keys) Rotate(ctx context.Context, w io.Writer, lead time.Duration) error {
	key, err := k.Client.Rotate(ctx, lead)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "client key %s: %s; the keys before it stay published for their sessions\n", key.ID, describe(key))
	return err
}

// Withdraw takes a client key out of what is published. Sessions that are pinned
// to it are counted first, and end only when that is wanted.
func (k *Keys) Withdraw(ctx context.Context, w io.Writer, id string, end bool) error {
	keys, err := k.Client.List(ctx)
	if err != nil {
		return err
	}
	n := slices.IndexFunc(keys, func(key session.KeyInfo) bool { return key.ID == id })
	if n < 0 {
		return fault.New(fault.NotFound, "there is no client key "+id+"; `atoll keys list` shows them")
	}
	if pinned := keys[n].Sessions; pinned > 0 && !end {
		return fault.New(fault.Conflict, fmt.Sprintf(
			"%s began with client key %s and would end: their members would have to sign in again. Nothing was changed; to do it, run this with --yes.",
			plural(pinned, "live session"), id))
	}
	if _, err = k.Client.Withdraw(ctx, id); errors.Is(err, session.ErrLastKey) {
		return fault.New(fault.Conflict, "client key "+id+" is the only one that signs. Nothing was changed; run `atoll keys rotate` first and wait until the new key signs.")
	}
	if err != nil {
		return err
	}
	ended, err := k.Sessions.EndPinned(ctx, id)
	if err != nil {
		return fmt.Errorf("the key is withdrawn, but not all of its sessions are ended; run this again: %w", err)
	}
	_, err = fmt.Fprintf(w, "client key %s is withdrawn: every server stops publishing it within ten seconds; %s ended\n", id, plural(ended, "session"))
	return err
}
