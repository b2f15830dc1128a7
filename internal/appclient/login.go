package appclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/internal/fault"
)

// Login is somebody who signs in from a terminal.
type Login struct {
	Server     string
	Identifier string
	// Loopback listens on 127.0.0.1 for the browser; it needs no code then.
	Loopback bool
	// Show tells the person what to do: open url, and type code there.
	Show func(url, code string)
	File File
}

// retryFor is how long an unreachable server is asked again while waiting, and
// retryPause how often.
const (
	retryFor   = 2 * time.Minute
	retryPause = time.Second
)

// Run signs in, keeps the session in the file, and returns who it is. When ctx
// ends first, the sign-in is cancelled.
func (l Login) Run(ctx context.Context) (Me, error) {
	c, err := New(l.Server)
	if err != nil {
		return Me{}, err
	}
	local, err := l.listen(ctx)
	if err != nil {
		return Me{}, err
	}
	defer local.close()
	resp, err := c.auth.InitiateLogin(ctx, connect.NewRequest(&authv1.InitiateLoginRequest{
		Identifier: l.Identifier, AppName: AppName, LoopbackPort: local.port(),
	}))
	if err != nil {
		return Me{}, shown(err)
	}
	begun := resp.Msg
	local.serve(c, begun)
	l.Show(begun.GetBrowserUrl(), begun.GetUserCode())
	session, err := c.await(ctx, begun)
	if err != nil {
		if ctx.Err() != nil {
			c.cancel(ctx, begun)
		}
		return Me{}, shown(err)
	}
	if err := l.File.write(keep(c.server, session)); err != nil {
		return Me{}, err
	}
	_, err = c.auth.AcknowledgeLogin(ctx, connect.NewRequest(&authv1.AcknowledgeLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()}))
	if err != nil {
		return Me{}, shown(err)
	}
	return Me{DID: session.GetDid(), Handle: session.GetHandle()}, nil
}

// cancel gives the sign-in up, though ctx has ended. Whether that arrives does
// not matter: it ends by itself.
func (c *Client) cancel(ctx context.Context, begun *authv1.InitiateLoginResponse) {
	short, done := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer done()
	_, _ = c.auth.CancelLogin(short, connect.NewRequest(&authv1.CancelLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()}))
}

// await waits for the session, over lost connections and restarts of the server.
func (c *Client) await(ctx context.Context, begun *authv1.InitiateLoginResponse) (*authv1.Session, error) {
	heard := time.Now()
	for {
		session, err := c.awaitOnce(ctx, begun, func() { heard = time.Now() })
		if err == nil || !retryable(err) || time.Since(heard) > retryFor {
			return session, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// retryable tells a connection that was lost from a sign-in that has ended.
func retryable(err error) bool {
	switch connect.CodeOf(err) {
	case connect.CodeUnavailable, connect.CodeUnknown, connect.CodeInternal:
		return !errors.Is(err, context.Canceled)
	case connect.CodeResourceExhausted:
		return reason(err) == authv1.Reason_REASON_RATE_LIMITED
	}
	return false
}

// errEnded: a stream ended without a word.
var errEnded = connect.NewError(connect.CodeUnavailable, errors.New("the server ended the connection"))

func (c *Client) awaitOnce(ctx context.Context, begun *authv1.InitiateLoginResponse, heard func()) (*authv1.Session, error) {
	stream, err := c.auth.AwaitLogin(ctx, connect.NewRequest(&authv1.AwaitLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()}))
	if err != nil {
		return nil, err
	}
	defer stream.Close() //nolint:errcheck // what matters has been read
	for stream.Receive() {
		heard()
		if session := stream.Msg().GetDone(); session != nil {
			return session, nil
		}
	}
	if err := stream.Err(); err != nil {
		return nil, err
	}
	return nil, errEnded
}

// local is where the browser finds the program on its own machine. The zero
// local is nowhere.
type local struct {
	listener net.Listener
	server   *http.Server
}

func (l Login) listen(ctx context.Context) (*local, error) {
	if !l.Loopback {
		return &local{}, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for the browser: %w", err)
	}
	return &local{listener: listener}, nil
}

func (l *local) port() uint32 {
	if l.listener == nil {
		return 0
	}
	return uint32(l.listener.Addr().(*net.TCPAddr).Port) //nolint:gosec // a port
}

// serve takes the browser's proof and leads it back to the page of the sign-in.
func (l *local) serve(c *Client, begun *authv1.InitiateLoginResponse) {
	if l.listener == nil {
		return
	}
	l.server = &http.Server{ReadHeaderTimeout: 5 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/" || r.Host != l.listener.Addr().String() || q.Get("login_id") != begun.GetLoginId() {
			http.NotFound(w, r)
			return
		}
		_, err := c.auth.ConfirmLogin(r.Context(), connect.NewRequest(&authv1.ConfirmLoginRequest{
			LoginId: begun.GetLoginId(), Secret: begun.GetSecret(), Proof: q.Get("proof"),
		}))
		if err != nil {
			http.Error(w, "The sign-in could not be confirmed: "+fault.From(shown(err)).Public, http.StatusBadGateway)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, begun.GetBrowserUrl()+"/approve", http.StatusSeeOther)
	})}
	go func() { _ = l.server.Serve(l.listener) }() // ends with close
}

// close lets an answer that is under way reach the browser.
func (l *local) close() {
	if l.server == nil {
		if l.listener != nil {
			_ = l.listener.Close()
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = l.server.Shutdown(ctx)
}
