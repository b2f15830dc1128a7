// Package admin is what an operator does on the database, beside a running
// server or without one.
package admin

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
)

// Keys shows and rotates the instance's keys.
type Keys struct {
	Ring   *keyring.Ring
	Client *session.Keys
}

const dateAndTime = "2006-01-02 15:04 MST"

// List writes every key: id, use, age, and how many sessions are pinned to it.
func (k *Keys) List(ctx context.Context, w io.Writer) error {
	keys, err := k.Client.List(ctx)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for n, id := range k.Ring.IDs() {
		use := "seals"
		if n > 0 {
			use = "opens only"
		}
		fmt.Fprintf(table, "master key\t%s\t%s\t\t\n", id, use)
	}
	for _, key := range keys {
		fmt.Fprintf(table, "client key\t%s\t%s\tmade %s\t%d sessions\n",
			key.ID, describe(key), key.CreatedAt.Format(dateAndTime), key.Sessions)
	}
	if len(keys) == 0 {
		fmt.Fprintln(table, "no client keys: the first is made when a confidential client starts")
	}
	return table.Flush()
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
