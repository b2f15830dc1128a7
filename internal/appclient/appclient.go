// Package appclient signs a program in at an instance and keeps its session, by
// AuthService and /api/me alone, as any other program would: it is what the
// command line is made of. It knows nothing of the server's insides.
package appclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/gen/atoll/auth/v1/authv1connect"
	"github.com/atoll-social/atoll/internal/fault"
)

// AppName is what the program calls itself.
const AppName = "Atoll command line"

// maxAnswer bounds what /api/me may answer, in bytes.
const maxAnswer = 64 << 10

// early is how long before its end an access token is renewed.
const early = 30 * time.Second

// Client is a program's way to one instance.
type Client struct {
	server string // origin
	http   *http.Client
	auth   authv1connect.AuthServiceClient
}

// New returns a Client of the instance at server, which is https://host, or
// http on this machine.
func New(server string) (*Client, error) {
	origin, err := parseServer(server)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second, ForceAttemptHTTP2: true, IdleConnTimeout: time.Minute,
	}
	refuse := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // secrets stay with the server they are for
	c := &Client{server: origin, http: &http.Client{Transport: transport, CheckRedirect: refuse}}
	c.auth = authv1connect.NewAuthServiceClient(c.http, origin)
	return c, nil
}

// parseServer wants an origin to which a secret may be sent.
func parseServer(text string) (string, error) {
	u, err := url.Parse(strings.TrimSuffix(text, "/"))
	if err != nil || u.Host == "" || u.User != nil || u.Path != "" || u.RawQuery != "" || u.Fragment != "" {
		return "", fault.New(fault.Invalid, "The server must be an address such as https://community.example.org.")
	}
	ip, err := netip.ParseAddr(u.Hostname())
	loopback := u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
	if u.Scheme != "https" && (u.Scheme != "http" || !loopback) {
		return "", fault.New(fault.Invalid, "The server must be an https address; http is for this machine only.")
	}
	return u.Scheme + "://" + u.Host, nil
}

// shown makes an error of a call one that a person can read.
func shown(err error) error {
	var failed *connect.Error
	if !errors.As(err, &failed) {
		return err
	}
	kind := fault.Invalid
	switch failed.Code() {
	case connect.CodeUnauthenticated:
		kind = fault.Unauthenticated
	case connect.CodeUnavailable:
		return fmt.Errorf("the server does not answer: %w", failed)
	case connect.CodeCanceled:
		return context.Canceled
	case connect.CodeUnknown, connect.CodeInternal, connect.CodeUnimplemented:
		return fmt.Errorf("the server does not answer as Atoll does: %w", failed)
	}
	return fault.New(kind, failed.Message())
}

// reason is what a program can act on in an error.
func reason(err error) authv1.Reason {
	var failed *connect.Error
	if errors.As(err, &failed) {
		for _, d := range failed.Details() {
			if v, err := d.Value(); err == nil {
				if info, ok := v.(*authv1.ErrorInfo); ok {
					return info.GetReason()
				}
			}
		}
	}
	return authv1.Reason_REASON_UNSPECIFIED
}

// Me is who the server says that we are.
type Me struct {
	DID    string `json:"did"`
	Handle string `json:"handle"`
}

// errOver: the server does not know the token, or no more.
var errOver = fault.New(fault.Unauthenticated, "This sign-in is over. Sign in again with `atoll login`.")

// Whoami asks the server who is signed in.
func Whoami(ctx context.Context, file File) (Me, error) {
	var me Me
	err := file.use(ctx, func(c *Client, token string) (err error) {
		me, err = c.me(ctx, token)
		return err
	})
	return me, err
}

func (c *Client) me(ctx context.Context, token string) (Me, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.server+"/api/me", nil)
	if err != nil {
		return Me{}, err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := c.http.Do(req)
	if err != nil {
		return Me{}, fmt.Errorf("ask %s: %w", c.server, err)
	}
	defer resp.Body.Close()
	var out struct {
		Me
		Message string `json:"message"`
	}
	err = json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(&out)
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return Me{}, errOver
	case resp.StatusCode == http.StatusOK && err == nil && out.DID != "":
		return out.Me, nil
	case resp.StatusCode >= http.StatusBadRequest && err == nil && out.Message != "":
		return Me{}, fault.New(fault.Unavailable, out.Message)
	}
	return Me{}, fmt.Errorf("ask %s: it does not answer as Atoll does (%s)", c.server, resp.Status)
}

// Sessions lists the app sessions of whoever is signed in.
func Sessions(ctx context.Context, file File) ([]*authv1.SessionInfo, error) {
	var all []*authv1.SessionInfo
	err := file.use(ctx, func(c *Client, token string) error {
		req := connect.NewRequest(&authv1.ListSessionsRequest{})
		req.Header().Set("Authorization", "Bearer "+token)
		resp, err := c.auth.ListSessions(ctx, req)
		if err != nil {
			return over(err)
		}
		all = resp.Msg.GetSessions()
		return nil
	})
	return all, err
}

// Logout ends the session at the server and removes the file. One that is over
// already is removed as well; while the server cannot be reached, it stays.
func Logout(ctx context.Context, file File) error {
	err := revoke(ctx, file, "")
	if err != nil && !errors.Is(err, errOver) {
		return err
	}
	return file.remove()
}

// Revoke ends an app session of whoever is signed in, as Sessions lists them. The
// one that is kept in the file is logged out.
func Revoke(ctx context.Context, file File, id string) error {
	k, err := file.read()
	if err != nil {
		return err
	}
	if id == k.SessionID {
		return Logout(ctx, file)
	}
	return revoke(ctx, file, id)
}

// revoke ends a session at the server; "" is the one whose token is shown.
func revoke(ctx context.Context, file File, id string) error {
	return file.use(ctx, func(c *Client, token string) error {
		req := connect.NewRequest(&authv1.RevokeSessionRequest{SessionId: id})
		req.Header().Set("Authorization", "Bearer "+token)
		_, err := c.auth.RevokeSession(ctx, req)
		return over(err)
	})
}

// over makes one error of all that say that the token is no good any more.
func over(err error) error {
	if connect.CodeOf(err) == connect.CodeUnauthenticated && err != nil {
		return errOver
	}
	return shown(err)
}
