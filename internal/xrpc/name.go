package xrpc

import (
	"context"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
)

// communityOf finds the community that a parameter names. What the index knows
// is not asked of the network.
func (s *Server) communityOf(ctx context.Context, text string) (syntax.DID, error) {
	if did, ok, err := s.known(ctx, strings.TrimPrefix(strings.TrimSpace(text), "!")); ok || err != nil {
		return did, err
	}
	id, err := s.cfg.Names.Find(ctx, text)
	return id.DID, err
}

// actorOf is communityOf for people.
func (s *Server) actorOf(ctx context.Context, text string) (syntax.DID, error) {
	if did, ok, err := s.known(ctx, strings.TrimSpace(text)); ok || err != nil {
		return did, err
	}
	id, err := s.cfg.Names.Person(ctx, text)
	return id.DID, err
}

// known finds a DID, or an account whose handle has been verified.
func (s *Server) known(ctx context.Context, text string) (syntax.DID, bool, error) {
	text = strings.TrimPrefix(text, "@")
	if did, err := syntax.ParseDID(text); err == nil {
		return did, true, nil
	}
	handle, err := syntax.ParseHandle(text)
	if err != nil || handle.IsInvalidHandle() {
		return "", false, nil //nolint:nilerr // another form, for Names to read
	}
	return s.cfg.Index.ByHandle(ctx, handle.Normalize())
}

// named turns what only a query can have wrong into its error.
func missingParameter(name string) error {
	return fault.New(fault.Invalid, "The parameter "+name+" is missing.").WithCode("InvalidRequest")
}
