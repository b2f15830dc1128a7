package cli

import (
	"fmt"

	"github.com/atoll-social/atoll/internal/appclient"
)

type logoutCommand struct{ sessionFlag }

// Run signs this terminal out.
func (c logoutCommand) Run(r *run) error {
	file, err := c.file(r)
	if err != nil {
		return err
	}
	if err := appclient.Logout(r.ctx, file); err != nil {
		return err
	}
	fmt.Fprintln(r.process.Stdout, "Signed out.")
	return nil
}
