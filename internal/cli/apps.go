package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/atoll-social/atoll/internal/appclient"
)

// appsCommand is what a member sees and ends of their own, over the API of the
// instance; sessions is the operator's command, on the database.
type appsCommand struct {
	List   appsList   `cmd:"" default:"1" help:"List the programs that are signed in for you."`
	Revoke appsRevoke `cmd:"" help:"Sign one of them out."`
}

type appsList struct {
	sessionFlag
}

// Run lists the programs that are signed in for whoever is signed in here.
func (c appsList) Run(r *run) error {
	file, err := c.file(r)
	if err != nil {
		return err
	}
	all, err := appclient.Sessions(r.ctx, file)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(r.process.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SESSION\tPROGRAM\tFROM\tSIGNED IN\tLAST RENEWED\t")
	for _, s := range all {
		here := ""
		if s.GetCurrent() {
			here = "this one"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.GetSessionId(), s.GetAppName(), s.GetOrigin(),
			moment(s.GetCreatedAt().AsTime()), moment(s.GetUsedAt().AsTime()), here)
	}
	return w.Flush()
}

type appsRevoke struct {
	sessionFlag
	ID string `arg:"" help:"The session, as list shows it."`
}

// Run signs one program out.
func (c appsRevoke) Run(r *run) error {
	file, err := c.file(r)
	if err != nil {
		return err
	}
	if err := appclient.Revoke(r.ctx, file, c.ID); err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.process.Stdout, "Session %s is signed out.\n", c.ID)
	return err
}
