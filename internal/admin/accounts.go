package admin

import (
	"context"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/fault"
)

// Accounts shows and repairs the accounts that Atoll hosts. It shows no secret
// but on demand.
type Accounts struct {
	Manager *account.Manager
}

// List writes the hosted accounts, newest first; failed adds those that came to
// nothing in the last 30 days.
func (a *Accounts) List(ctx context.Context, w io.Writer, failed bool) error {
	list, err := a.Manager.List(ctx, failed)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no hosted accounts")
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HANDLE\tDID\tSTATE\tCREATED\tCHECKED\tPROBLEM")
	for _, i := range list {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\n", i.Handle, orDash(i.DID.String()), standing(i),
			orNever(i.CreatedAt), orNever(i.CheckedAt), orDash(short(i.Problem)))
	}
	return table.Flush()
}

// standing is the state of an account in a word or two.
func standing(i account.Info) string {
	switch {
	case i.NeedsRepair:
		return "needs repair"
	case i.State == "active" && i.Status != "active":
		return i.Status
	}
	return i.State
}

// Show writes all about one account, by DID, handle or id, and what to do.
func (a *Accounts) Show(ctx context.Context, w io.Writer, which string) error {
	i, err := a.Manager.Get(ctx, which)
	if err != nil {
		return err
	}
	recovery := i.RecoveryKey + " (yours)"
	if i.OwnRecovery {
		recovery = i.RecoveryKey + " (kept here; `atoll accounts export-keys` gives it out)"
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"account", i.ID}, {"handle", i.Handle.String()}, {"did", orDash(i.DID.String())}, {"created by", i.CreatedBy.String()},
		{"server", i.PDS}, {"e-mail", i.Email}, {"state", standing(i)}, {"recovery key", recovery},
		{"created", orNever(i.CreatedAt)}, {"checked", orNever(i.CheckedAt)}, {"renewed", orNever(i.RenewedAt)},
		{"access token ends", orNever(i.AccessExpires)}, {"problem", orDash(i.Problem)}, {"what to do", remedy(i)},
	} {
		fmt.Fprintf(table, "%s\t%s\n", row[0], row[1])
	}
	return table.Flush()
}

// remedy says what an operator can do about an account.
func remedy(i account.Info) string {
	switch {
	case i.NeedsRepair:
		return "`atoll accounts repair " + i.DID.String() + "` gives it a new password"
	case i.State == "undone":
		return "nothing: it came to nothing, and nothing of it is left"
	case i.State == "undoing":
		return "nothing: what is left of it is removed by a job as soon as the server answers (atoll jobs list)"
	case i.State != "active":
		return "nothing: it is being made, or continued by a job within minutes (atoll jobs list)"
	case i.Status == "deleted":
		return "its server has no such account any more; restore it there, or take it back with its recovery key"
	case i.Status == "takendown" || i.Status == "suspended":
		return "its server's administrator has stopped it; reverse that there, then `atoll accounts repair " + i.DID.String() + "`"
	case i.Problem != "" || i.Status != "active":
		return "mend what the problem names; it is looked at again every ten minutes, or at once by `atoll accounts repair " + i.DID.String() + "`"
	}
	return "-"
}

// did finds an account that has been made.
func (a *Accounts) did(ctx context.Context, which string) (syntax.DID, error) {
	i, err := a.Manager.Get(ctx, which)
	if err != nil {
		return "", err
	}
	if i.DID == "" {
		return "", fault.New(fault.Conflict, i.Handle.String()+" has not been made yet; `atoll accounts show "+i.ID+"` says how it stands")
	}
	return i.DID, nil
}

// Repair makes an account usable again and looks at it.
func (a *Accounts) Repair(ctx context.Context, w io.Writer, which string) error {
	did, err := a.did(ctx, which)
	if err != nil {
		return err
	}
	how, err := a.Manager.Repair(ctx, did)
	if how != "" {
		fmt.Fprintf(w, "%s: %s\n", did, how)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s: active, and its handle leads to it\n", did)
	return err
}

// Rename gives an account another name.
func (a *Accounts) Rename(ctx context.Context, w io.Writer, which, name string) error {
	did, err := a.did(ctx, which)
	if err != nil {
		return err
	}
	handle, err := a.Manager.Rename(ctx, did, name)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s has the handle %s now; others see it within minutes\n", did, handle)
	return err
}

// ExportKeys writes the private recovery key of an account into a new file that
// only its owner can read. Nothing is done without yes.
func (a *Accounts) ExportKeys(ctx context.Context, w io.Writer, which, path string, yes bool) error {
	i, key, err := a.Manager.ExportRecovery(ctx, which)
	if err != nil {
		return err
	}
	if !yes {
		return fault.New(fault.Conflict, "whoever has this key can take "+i.Handle.String()+
			" to another server, for ever. Nothing was written; to do it, run this with --yes.")
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	_, err = fmt.Fprintf(file, "# recovery key of %s (%s)\n# public half: %s\n%s\n", i.DID, i.Handle, i.RecoveryKey, key.Reveal())
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write the key: %w", err)
	}
	_, err = fmt.Fprintf(w, "the recovery key of %s is in %s; keep it offline and remove the file\n", i.DID, path)
	return err
}
