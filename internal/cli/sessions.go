package cli

import (
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/daemon"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
)

type sessionsCommand struct {
	List    sessionsList    `cmd:"" help:"List members' sessions, newest sign-in first."`
	Show    sessionsShow    `cmd:"" help:"Show one session and what happened to it."`
	Refresh sessionsRefresh `cmd:"" help:"Renew a session's tokens now, beside a running server or without one."`
	Revoke  sessionsRevoke  `cmd:"" help:"End a session here at once; the running server tells the member's server."`
}

type sessionsList struct {
	State   string `enum:"all,live,expiring,paused,revoking,ended" default:"all" help:"Which: live, expiring (within a week), paused, revoking, ended or all (all)."`
	Account string `placeholder:"DID" help:"Only those of one account."`
	Limit   int    `default:"100" help:"How many, 1000 at most (100)."`
}

// Run lists sessions.
func (c sessionsList) Run(r *run) error {
	q := session.Query{Limit: c.Limit}
	if c.State != "all" {
		q.State = session.State(c.State)
	}
	if c.Account != "" {
		did, err := syntax.ParseDID(c.Account)
		if err != nil {
			return fault.New(fault.Invalid, "--account must be a DID, such as did:plc:…")
		}
		q.DID = did
	}
	return r.withSessions(func(s *admin.Sessions) error { return s.List(r.ctx, r.process.Stdout, q) })
}

type sessionsShow struct {
	ID string `arg:"" help:"The session, as list shows it."`
}

// Run shows one session.
func (c sessionsShow) Run(r *run) error {
	return r.withSessions(func(s *admin.Sessions) error { return s.Show(r.ctx, r.process.Stdout, c.ID) })
}

type sessionsRevoke struct {
	ID string `arg:"" help:"The session, as list shows it."`
}

// Run revokes one session.
func (c sessionsRevoke) Run(r *run) error {
	return r.withSessions(func(s *admin.Sessions) error { return s.Revoke(r.ctx, r.process.Stdout, c.ID) })
}

type sessionsRefresh struct {
	ID string `arg:"" help:"The session, as list shows it."`
}

// Run renews one session.
func (c sessionsRefresh) Run(r *run) error {
	return r.withMembers(func(m *members) error {
		oauth, err := daemon.NewSessionClient(r.ctx, r.daemon(m.settings, m.logger), m.Storage, m.sessions)
		if err != nil {
			return err
		}
		s := &admin.Sessions{Manager: m.sessions, Client: oauth, Now: r.now}
		return errors.Join(s.Refresh(r.ctx, r.process.Stdout, c.ID), oauth.Drain(r.ctx))
	})
}

func (r *run) withSessions(do func(*admin.Sessions) error) error {
	return r.withMembers(func(m *members) error { return do(&admin.Sessions{Manager: m.sessions, Now: r.now}) })
}
