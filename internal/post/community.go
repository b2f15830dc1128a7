package post

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
)

// ErrCommunity is in errors of Create that are about what the community is
// called.
var ErrCommunity = errors.New("community")

// community finds the account that text names. Errors: Invalid
// (InvalidRequest), NotFound (CommunityNotFound), Unavailable when it cannot be
// found out just now; each is ErrCommunity, too.
func (s *Service) community(ctx context.Context, text string) (index.Identity, error) {
	id, err := s.resolve(ctx, text)
	if err != nil {
		return index.Identity{}, fmt.Errorf("%w: %w", ErrCommunity, err)
	}
	return id, nil
}

func (s *Service) resolve(ctx context.Context, text string) (index.Identity, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return index.Identity{}, invalid(nil, "Name the community to post to.")
	}
	input, err := identity.ParseInput(strings.TrimPrefix(text, "!"))
	if err != nil {
		f := identity.Fault(err)
		return index.Identity{}, fault.Wrap(fault.Invalid, err, f.Public).WithCode("InvalidRequest")
	}
	if input.Account == "" {
		return index.Identity{}, invalid(nil, "A community is named by its handle or DID, not by the address of a server.")
	}
	ident, err := s.cfg.Directory.Lookup(ctx, input.Account)
	if err != nil {
		return index.Identity{}, notFound(text, err)
	}
	if len(ident.DID) > index.MaxDIDBytes {
		return index.Identity{}, invalid(nil, "This community's DID is too long.")
	}
	return s.identity(ident), nil
}

func notFound(text string, err error) error {
	f := identity.Fault(err)
	switch {
	case f.Kind == fault.Unavailable:
		return f
	case f.Kind == fault.Internal:
		return fmt.Errorf("look up community: %w", err)
	case errors.Is(err, identity.ErrReservedTLD), errors.Is(err, identity.ErrUnsupportedDID):
		return fault.Wrap(fault.Invalid, err, f.Public).WithCode("InvalidRequest")
	}
	return fault.Wrap(fault.NotFound, err, fmt.Sprintf("There is no community %.100s. Check its handle.", text)).
		WithCode("CommunityNotFound")
}
