package pds

import (
	"context"
	"fmt"
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Server is what a PDS says about itself.
type Server struct {
	DID syntax.DID
	// HandleDomains are the endings of handles it gives out, each with its
	// leading dot.
	HandleDomains []string
	// InviteRequired says that an account takes an invite code.
	InviteRequired bool
}

// DescribeServer asks the server who it is (com.atproto.server.describeServer),
// which needs no session. Errors: *Error, ErrUnreachable, ErrBadAnswer.
func (c *Client) DescribeServer(ctx context.Context) (*Server, error) {
	const method = syntax.NSID("com.atproto.server.describeServer")
	var out struct {
		DID            string   `json:"did"`
		HandleDomains  []string `json:"availableUserDomains"`
		InviteRequired bool     `json:"inviteCodeRequired"`
	}
	if err := c.query(ctx, method, nil, &out); err != nil {
		return nil, err
	}
	did, err := syntax.ParseDID(out.DID)
	if err != nil {
		return nil, fmt.Errorf("call %s at %s: %w: DID %.100q", method, c.origin, ErrBadAnswer, out.DID)
	}
	return &Server{DID: did, HandleDomains: out.HandleDomains, InviteRequired: out.InviteRequired}, nil
}

// Names of refusals to create an account.
const (
	NameInvalidHandle      = "InvalidHandle"
	NameHandleNotAvailable = "HandleNotAvailable"
	NameUnsupportedDomain  = "UnsupportedDomain"
	NameInvalidInvite      = "InvalidInviteCode"
	NameAccountTakedown    = "AccountTakedown"
)

// CreateAccount is an account to be made.
type CreateAccount struct {
	Handle   syntax.Handle
	Email    string
	Password keyring.Secret
	Invite   keyring.Secret // zero: none
	// RecoveryKey is a did:key that the server puts first among the keys that
	// may change the account's DID. Empty: none.
	RecoveryKey string
}

// CreateAccount makes an account (com.atproto.server.createAccount). After an
// error for which Unclear is true it may exist. Errors: *Error, ErrUnreachable,
// ErrBadAnswer.
func (c *Client) CreateAccount(ctx context.Context, create CreateAccount) (*Session, error) {
	const method = syntax.NSID("com.atproto.server.createAccount")
	in := struct {
		Handle      syntax.Handle `json:"handle"`
		Email       string        `json:"email"`
		Password    string        `json:"password"`
		Invite      string        `json:"inviteCode,omitempty"`
		RecoveryKey string        `json:"recoveryKey,omitempty"`
	}{create.Handle, create.Email, create.Password.Reveal(), create.Invite.Reveal(), create.RecoveryKey}
	var out sessionAnswer
	if err := c.procedure(ctx, method, in, &out); err != nil {
		return nil, err
	}
	return c.session(method, out)
}

// ActivateAccount makes the account whose Doer carries the call active again
// (com.atproto.server.activateAccount). Errors: *Error, ErrUnreachable,
// ErrBadAnswer, and those of the Doer.
func (c *Client) ActivateAccount(ctx context.Context) error {
	const method = syntax.NSID("com.atproto.server.activateAccount")
	// The official server refuses any body, where others are sent one.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.origin+"/xrpc/"+method.String(), nil)
	if err != nil {
		return fmt.Errorf("call %s at %s: %w", method, c.origin, err)
	}
	return c.call(req, method, nil)
}

// RepoStatus is what a server says about an account to everybody.
type RepoStatus struct {
	Active bool
	Status string // why not: deactivated, takendown, suspended, …; may be empty
}

// RepoStatus asks whether an account is active
// (com.atproto.sync.getRepoStatus). Errors: *Error (with the name RepoNotFound
// when there is no such account), ErrUnreachable, ErrBadAnswer.
func (c *Client) RepoStatus(ctx context.Context, did syntax.DID) (*RepoStatus, error) {
	const method = syntax.NSID("com.atproto.sync.getRepoStatus")
	var out struct {
		DID    syntax.DID `json:"did"`
		Active *bool      `json:"active"`
		Status string     `json:"status"`
	}
	if err := c.query(ctx, method, url.Values{"did": {did.String()}}, &out); err != nil {
		return nil, err
	}
	if out.DID != did || out.Active == nil {
		return nil, fmt.Errorf("call %s at %s: %w: about %.100q", method, c.origin, ErrBadAnswer, out.DID)
	}
	return &RepoStatus{Active: *out.Active, Status: showable(out.Status)}, nil
}
