package cli

import (
	"fmt"
	"time"

	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
)

type keysCommand struct {
	Generate keysGenerate `cmd:"" help:"Make a key: secret prints a master key for secret_key and stores nothing; client publishes a key that rotate can pick."`
	List     keysList     `cmd:"" help:"List the master keys by id, and the client keys with the sessions that use each."`
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

func (r *run) withKeys(do func(*admin.Keys) error) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	storage, logger, err := r.storage(settings)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	keys, err := session.NewKeys(session.KeysConfig{DB: storage.DB, Ring: storage.Ring, Logger: logger, Now: r.now})
	if err != nil {
		return err
	}
	return do(&admin.Keys{Ring: storage.Ring, Client: keys})
}
