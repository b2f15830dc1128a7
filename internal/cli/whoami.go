package cli

import (
	"fmt"

	"github.com/atoll-social/atoll/internal/appclient"
)

type whoamiCommand struct {
	sessionFlag
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
	_, err = fmt.Fprintln(r.process.Stdout, name(me))
	return err
}
