package cli

import (
	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/daemon"
)

type accountsCommand struct {
	List       accountsList   `cmd:"" help:"List the accounts of communities that this instance hosts."`
	Show       accountsShow   `cmd:"" help:"Show one account, what is wrong with it and what to do."`
	Repair     accountsRepair `cmd:"" help:"Make an account usable again: renew its credentials, or give it a new password, and look at it."`
	Rename     accountsRename `cmd:"" help:"Give an account another name, and with it another handle."`
	ExportKeys accountsExport `cmd:"" name:"export-keys" help:"Write the recovery key of an account to a file. Takes --yes."`
}

type accountsList struct {
	Failed bool `help:"Also those that came to nothing in the last 30 days."`
}

// Run lists hosted accounts.
func (c accountsList) Run(r *run) error {
	return r.withAccounts(func(a *admin.Accounts) error { return a.List(r.ctx, r.process.Stdout, c.Failed) })
}

type accountsShow struct {
	Account string `arg:"" help:"DID, handle or id, as list shows it."`
}

// Run shows one account.
func (c accountsShow) Run(r *run) error {
	return r.withAccounts(func(a *admin.Accounts) error { return a.Show(r.ctx, r.process.Stdout, c.Account) })
}

type accountsRepair struct {
	Account string `arg:"" help:"DID or handle."`
}

// Run repairs one account.
func (c accountsRepair) Run(r *run) error {
	return r.withAccounts(func(a *admin.Accounts) error { return a.Repair(r.ctx, r.process.Stdout, c.Account) })
}

type accountsRename struct {
	Account string `arg:"" help:"DID or handle."`
	Name    string `arg:"" help:"The new name, 3–18 characters, without the domain."`
}

// Run renames one account.
func (c accountsRename) Run(r *run) error {
	return r.withAccounts(func(a *admin.Accounts) error { return a.Rename(r.ctx, r.process.Stdout, c.Account, c.Name) })
}

type accountsExport struct {
	Account string `arg:"" help:"DID or handle."`
	File    string `arg:"" help:"A file that does not exist yet."`
	Yes     bool   `help:"Really: whoever has the key can take the account away."`
}

// Run writes a recovery key.
func (c accountsExport) Run(r *run) error {
	return r.withAccounts(func(a *admin.Accounts) error {
		return a.ExportKeys(r.ctx, r.process.Stdout, c.Account, c.File, c.Yes)
	})
}

// withAccounts opens the storage and the hosted accounts for one command.
func (r *run) withAccounts(do func(*admin.Accounts) error) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	storage, logger, err := r.storage(settings)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	m, err := daemon.NewAccounts(r.daemon(settings, logger), storage)
	if err != nil {
		return err
	}
	return do(&admin.Accounts{Manager: m})
}
