package web

import (
	"context"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// deaf is a directory that does not answer.
type deaf struct{ directory }

func (deaf) Lookup(context.Context, syntax.AtIdentifier) (*identity.Identity, error) {
	return nil, fault.New(fault.Unavailable, "The directory does not answer.")
}

// Pages about what is here need no other server: neither the directory of
// identities nor anybody's PDS.
func TestPagesNeedNoDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, func(c *Config) {
		c.Names = ok(community.NewResolver(community.ResolverConfig{Index: c.Index, Directory: deaf{}, HTTP: directory{}}))(t)
	})
	s.found(t)
	s.apply(t, alice, index.PersonCollection, "self", map[string]any{"displayName": "Alice", "createdAt": "2026-01-02T03:04:05Z"})
	b := s.browser(t)
	for _, path := range []string{"/c/" + strings.ToUpper(commons.Handle), "/c/" + commons.Handle, "/c/" + commons.DID, "/c/!" + commons.Handle, "/c/@" + commons.Handle} {
		b.get(path).is(200, "The Commons")
	}
	for _, path := range []string{"/u/" + strings.ToUpper(alice.Handle), "/u/" + alice.Handle, "/u/" + alice.DID, "/u/@" + alice.Handle, "/u/" + alice.Handle + "/comments"} {
		b.get(path).is(200, "Alice")
	}
	b.get("/c/" + reef.DID).is(404)
	b.get("/c/" + reef.Handle).is(503)
	b.get("/u/" + bob.Handle).is(503)
	b.get("/u/" + bob.DID).is(503)
}
