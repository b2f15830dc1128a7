package cli

import (
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
)

type keysCommand struct {
	Generate keysGenerate `cmd:"" help:"Make a key: secret prints a master key for secret_key and stores nothing; client publishes a key that rotate can pick."`
	List     keysList     `cmd:"" help:"List the master keys by id, and the client keys with the sessions that use each."`
	Withdraw keysWithdraw `cmd:"" help:"Take a client key out of what is published. The sessions that began with it end, which takes --yes."`
	Reseal   keysReseal   `cmd:"" help:"Seal everything in the database with the first key of secret_key, so that the others can be removed. Nobody is signed out."`
	Rotate   keysRotate   `cmd:"" help:"Let a new client key sign for new sessions. The old ones stay published for the sessions that began with them."`
}

type keysGenerate struct {
	Kind string `arg:"" enum:"secret,client" help:"secret or client."`
}

// Run makes a key. A master key goes to standard output alone, so that it can
// go into a file.
func (g keysGenerate) Run(r *run) error {
	if g.Kind == "client" {
		return r.withKeys(func(k *admin.Keys) error { return k.Generate(r.ctx, r.process.Stdout) })
	}
	line, err := keyring.Generate()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.process.Stdout, line)
	return err
}

type keysList struct{}

// Run lists the keys.
func (keysList) Run(r *run) error {
	return r.withKeys(func(k *admin.Keys) error { return k.List(r.ctx, r.process.Stdout) })
}

type keysRotate struct {
	Now bool `help:"Let it sign at once. Sign-ins fail for up to ten minutes at servers that hold a copy of the published keys."`
}

// Run rotates the client key.
func (c keysRotate) Run(r *run) error {
	lead := session.KeyLead
	if c.Now {
		lead = time.Duration(0)
	}
	return r.withKeys(func(k *admin.Keys) error { return k.Rotate(r.ctx, r.process.Stdout, lead) })
}

type keysWithdraw struct {
	KID string `arg:"" name:"kid" help:"The client key, as list shows it."`
	Yes bool   `help:"End the live sessions that began with the key."`
}

// Run withdraws a client key.
func (c keysWithdraw) Run(r *run) error {
	return r.withKeys(func(k *admin.Keys) error { return k.Withdraw(r.ctx, r.process.Stdout, c.KID, c.Yes) })
}

type keysReseal struct{}

// Run seals everything with the newest master key.
func (keysReseal) Run(r *run) error {
	return r.withKeys(func(k *admin.Keys) error { return k.Seals.Reseal(r.ctx, r.process.Stdout) })
}

func (r *run) withKeys(do func(*admin.Keys) error) error {
	return r.withMembers(func(m *members) error {
		parts := admin.Parts(m.sessions, m.keys, m.attempts, &agent.SealedPasswords{DB: m.DB, Ring: m.Ring}, account.Seals{DB: m.DB, Ring: m.Ring})
		seals := &admin.Seals{DB: m.DB, Ring: m.Ring, Parts: parts, Trail: m.sessions}
		return do(&admin.Keys{Seals: seals, Client: m.keys, Sessions: m.sessions})
	})
}
