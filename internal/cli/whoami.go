package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/atoll-social/atoll/internal/appclient"
)

type whoamiCommand struct {
	sessionFlag
	Apps bool `help:"List also the programs that are signed in for you."`
}

// Run says who is signed in from this terminal.
func (c whoamiCommand) Run(r *run) error {
	file, err := c.file(r)
	if err != nil {
		return err
	}
	me, err := appclient.Whoami(r.ctx, file)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.process.Stdout, name(me))
	if !c.Apps {
		return nil
	}
	all, err := appclient.Sessions(r.ctx, file)
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(r.process.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nSESSION\tPROGRAM\tFROM\tSIGNED IN\tLAST RENEWED\t")
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
