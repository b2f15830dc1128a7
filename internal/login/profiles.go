package login

import (
	"context"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/session"
)

// maxProfiles bounds the accounts whose handle waits to be looked up. Those
// that find no room are looked up with the next update.
const maxProfiles = 256

// Run keeps what is shown of members up to date until ctx ends: whenever a
// session is updated, its account's handle is looked up again (S34, S39).
func (s *Service) Run(ctx context.Context) error {
	updated := make(chan syntax.DID, maxProfiles)
	cancel := s.cfg.Sessions.Subscribe(func(e session.Event) {
		if e.Kind != session.EventUpdated && e.Kind != session.EventMoved {
			return
		}
		select {
		case updated <- e.DID:
		default:
		}
	})
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return nil
		case did := <-updated:
			if err := s.showHandle(ctx, did); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "handle not brought up to date", "did", did, "error", err)
			}
		}
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
