package pds

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Admin is a Doer for the server's administrator, with the password of that
// server. It must only be given to a Client of that server.
type Admin struct {
	HTTP     Doer
	Password keyring.Secret
}

// Do sends the request with the administrator's credentials.
func (a Admin) Do(req *http.Request) (*http.Response, error) {
	signed := req.Clone(req.Context())
	signed.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("admin:"+a.Password.Reveal())))
	return a.HTTP.Do(signed)
}

// CreateInviteCode makes a code that is good for one account
// (com.atproto.server.createInviteCode). It takes the administrator. Errors:
// *Error, ErrUnreachable, ErrBadAnswer.
func (c *Client) CreateInviteCode(ctx context.Context) (keyring.Secret, error) {
	const method = syntax.NSID("com.atproto.server.createInviteCode")
	var out struct {
		Code string `json:"code"`
	}
	if err := c.procedure(ctx, method, map[string]int{"useCount": 1}, &out); err != nil {
		return keyring.Secret{}, err
	}
	if out.Code == "" || len(out.Code) > 200 {
		return keyring.Secret{}, fmt.Errorf("call %s at %s: %w: no code", method, c.origin, ErrBadAnswer)
	}
	return keyring.NewSecret(out.Code), nil
}

// DisableInviteCode makes a code useless (com.atproto.admin.disableInviteCodes).
// It takes the administrator. Errors: those of CreateInviteCode.
func (c *Client) DisableInviteCode(ctx context.Context, code keyring.Secret) error {
	in := map[string][]string{"codes": {code.Reveal()}}
	return c.procedure(ctx, "com.atproto.admin.disableInviteCodes", in, nil)
}

// DeleteAccount removes an account and all its data
// (com.atproto.admin.deleteAccount). It takes the administrator; an account that
// is not there is no error for the official server. Errors: those of
// CreateInviteCode.
func (c *Client) DeleteAccount(ctx context.Context, did syntax.DID) error {
	return c.procedure(ctx, "com.atproto.admin.deleteAccount", map[string]syntax.DID{"did": did}, nil)
}

// SetPassword gives an account a new password
// (com.atproto.admin.updateAccountPassword); its sessions are over. It takes the
// administrator. Errors: those of CreateInviteCode.
func (c *Client) SetPassword(ctx context.Context, did syntax.DID, password keyring.Secret) error {
	in := map[string]string{"did": did.String(), "password": password.Reveal()}
	return c.procedure(ctx, "com.atproto.admin.updateAccountPassword", in, nil)
}

// SetHandle gives an account a new handle, in its DID document as well
// (com.atproto.admin.updateAccountHandle). It takes the administrator. Errors:
// those of CreateInviteCode.
func (c *Client) SetHandle(ctx context.Context, did syntax.DID, handle syntax.Handle) error {
	in := map[string]string{"did": did.String(), "handle": handle.String()}
	return c.procedure(ctx, "com.atproto.admin.updateAccountHandle", in, nil)
}

// AccountHandle asks for the handle of an account that this server keeps,
// active or not (com.atproto.admin.getAccountInfo). It takes the
// administrator. Errors: those of CreateInviteCode.
func (c *Client) AccountHandle(ctx context.Context, did syntax.DID) (syntax.Handle, error) {
	const method = syntax.NSID("com.atproto.admin.getAccountInfo")
	var out struct {
		DID    syntax.DID `json:"did"`
		Handle string     `json:"handle"`
	}
	if err := c.query(ctx, method, map[string][]string{"did": {did.String()}}, &out); err != nil {
		return "", err
	}
	handle, err := syntax.ParseHandle(out.Handle)
	if err != nil || out.DID != did {
		return "", fmt.Errorf("call %s at %s: %w: %.100q", method, c.origin, ErrBadAnswer, out.Handle)
	}
	return handle.Normalize(), nil
}
