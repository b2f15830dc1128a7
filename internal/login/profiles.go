package login

import (
	"context"
	"errors"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/session"
)

// maxProfiles bounds the accounts whose handle waits to be looked up. Those
// that find no room are looked up with the next update.
const maxProfiles = 256

// Run keeps what is shown of members up to date until ctx ends: whenever a
// session is updated, its account's handle is looked up again (S34, S39). Then,
// and after a sign-in, Config.Meet is called with the account.
func (s *Service) Run(ctx context.Context) error {
	updated := make(chan syntax.DID, maxProfiles)
	cancel := s.cfg.Sessions.Subscribe(func(e session.Event) {
		if e.Kind == session.EventUpdated || e.Kind == session.EventMoved {
			offer(updated, e.DID)
		}
	})
	defer cancel()
	for {
		var did syntax.DID
		var err error
		select {
		case <-ctx.Done():
			return nil
		case did = <-s.arrived:
		case did = <-updated:
			err = s.showHandle(ctx, did)
		}
		if s.cfg.Meet != nil {
			err = errors.Join(err, s.cfg.Meet(ctx, did))
		}
		if err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "what is known of a member not brought up to date", "did", did, "error", err)
		}
	}
}

// offer hands did over where there is room.
func offer(to chan<- syntax.DID, did syntax.DID) {
	select {
	case to <- did:
	default:
	}
}

// showHandle looks an account's handle up and shows it. While nobody can tell
// what the handle is, the old one stays.
func (s *Service) showHandle(ctx context.Context, did syntax.DID) error {
	found, err := s.cfg.Directory.LookupDID(ctx, did)
	if err != nil {
		return err
	}
	handle := found.Handle
	if handle.IsInvalidHandle() {
		handle = ""
	}
	return s.cfg.Sessions.SetHandle(ctx, did, handle)
}
