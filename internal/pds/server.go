package pds

import (
	"context"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Server is what a PDS says about itself.
type Server struct {
	DID syntax.DID
	// HandleDomains are the endings of handles it gives out, each with its
	// leading dot.
	HandleDomains []string
}

// DescribeServer asks the server who it is (com.atproto.server.describeServer),
// which needs no session. Errors: *Error, ErrUnreachable, ErrBadAnswer.
func (c *Client) DescribeServer(ctx context.Context) (*Server, error) {
	const method = syntax.NSID("com.atproto.server.describeServer")
	var out struct {
		DID           string   `json:"did"`
		HandleDomains []string `json:"availableUserDomains"`
	}
	if err := c.query(ctx, method, nil, &out); err != nil {
		return nil, err
	}
	did, err := syntax.ParseDID(out.DID)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w: DID %.100q", method, c.origin, ErrBadAnswer, out.DID)
	}
	return &Server{DID: did, HandleDomains: out.HandleDomains}, nil
}
