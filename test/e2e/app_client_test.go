package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/gen/atoll/auth/v1/authv1connect"
	"github.com/atoll-social/atoll/test/network"
)

// program is an application that signs somebody in over gRPC, HTTP/2 without TLS.
type program struct {
	t    *testing.T
	inst *instance
	authv1connect.AuthServiceClient
}

func (i *instance) program() *program {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	i.t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: recorded{transport, i.seen}}
	plain := connect.WithAcceptCompression("gzip", nil, nil) // what is recorded must be readable
	return &program{i.t, i, authv1connect.NewAuthServiceClient(client, "http://"+i.addr, connect.WithGRPC(), plain)}
}

// recorded keeps what is answered, for the search for secrets (S24), but for the
// one answer whose secret is the app's own.
type recorded struct {
	http.RoundTripper
	seen *recorder
}

func (r recorded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.RoundTripper.RoundTrip(req)
	if err == nil && req.URL.Path != authv1connect.AuthServiceInitiateLoginProcedure {
		resp.Body = &recordedBody{ReadCloser: resp.Body, what: "answer to " + req.URL.Path, seen: r.seen}
	}
	return resp, err
}

type recordedBody struct {
	io.ReadCloser
	what string
	seen *recorder
	text []byte
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.text = append(b.text, p[:n]...)
	return n, err
}

func (b *recordedBody) Close() error {
	b.seen.text(b.what, string(b.text))
	return b.ReadCloser.Close()
}

// begin asks for a sign-in. Its secret must not turn up anywhere else.
func (p *program) begin(account network.Account, port uint32) *authv1.InitiateLoginResponse {
	p.t.Helper()
	resp, err := p.InitiateLogin(p.t.Context(), connect.NewRequest(&authv1.InitiateLoginRequest{
		Identifier: account.Handle, AppName: "Test reader", LoopbackPort: port,
	}))
	if err != nil {
		p.t.Fatalf("InitiateLogin: %v", err)
	}
	p.inst.known["collection secret of "+resp.Msg.GetLoginId()] = resp.Msg.GetSecret()
	return resp.Msg
}

// wait is an open stream and what came of it.
type wait struct {
	stages chan authv1.Stage
	result chan waited
}

type waited struct {
	session *authv1.Session
	err     error
}

func (p *program) wait(ctx context.Context, begun *authv1.InitiateLoginResponse) *wait {
	w := &wait{make(chan authv1.Stage, 100), make(chan waited, 1)}
	go func() {
		stream, err := p.AwaitLogin(ctx, connect.NewRequest(&authv1.AwaitLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()}))
		if err != nil {
			w.result <- waited{nil, err}
			return
		}
		defer stream.Close()
		for stream.Receive() {
			if done := stream.Msg().GetDone(); done != nil {
				w.result <- waited{done, nil}
				return
			}
			w.stages <- stream.Msg().GetWaiting().GetStage()
		}
		w.result <- waited{nil, stream.Err()}
	}()
	return w
}

// until passes over earlier stages.
func (w *wait) until(t *testing.T, stage authv1.Stage) {
	t.Helper()
	for {
		select {
		case s := <-w.stages:
			if s == stage {
				return
			}
		case r := <-w.result:
			t.Fatalf("the wait ended with %v, %v before %v", r.session, r.err, stage)
		case <-t.Context().Done():
			t.Fatal("the test is over")
		}
	}
}

func (w *wait) session(t *testing.T) *authv1.Session {
	t.Helper()
	r := <-w.result
	if r.err != nil {
		t.Fatalf("AwaitLogin: %v", r.err)
	}
	return r.session
}

// arrive brings a browser through the member's server to the page of the sign-in.
func (b *browser) arrive(begun *authv1.InitiateLoginResponse, account network.Account) answer {
	b.t.Helper()
	a := b.get("/app/" + begun.GetLoginId())
	if a.status != http.StatusSeeOther {
		b.t.Fatalf("opening %s: %d\n%s", begun.GetBrowserUrl(), a.status, a.body)
	}
	back, err := b.inst.network.SignIn(b.t.Context(), a.location(), account)
	if err != nil {
		b.t.Fatalf("sign-in of %s at the PDS: %v", account.Handle, err)
	}
	a = b.get(back)
	if a.status != http.StatusSeeOther || !strings.HasSuffix(a.location(), "/approve") {
		b.t.Fatalf("callback: %d to %q\n%s", a.status, a.location(), a.body)
	}
	return b.get(a.location())
}

// typeCode fills the form in.
func (b *browser) typeCode(page answer, begun *authv1.InitiateLoginResponse, code string) answer {
	b.t.Helper()
	action := "/app/" + begun.GetLoginId() + "/approve"
	form := formOf(b.t, page, action, nil)
	form.Set("code", code)
	return b.post(action, form)
}

// me asks with an access token who is signed in.
func (p *program) me(token string) (status int, did string) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+p.inst.addr+"/api/me", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct{ DID string }
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil {
		p.t.Fatal(err)
	}
	return resp.StatusCode, out.DID
}

func authorized[T any](msg *T, token string) *connect.Request[T] {
	req := connect.NewRequest(msg)
	req.Header().Set("Authorization", "Bearer "+token)
	return req
}

// query reads the parameters of an address whose scheme may be an app's own.
func query(t *testing.T, address, prefix string) url.Values {
	t.Helper()
	rest, found := strings.CutPrefix(address, prefix+"?")
	q, err := url.ParseQuery(rest)
	if err != nil || !found {
		t.Fatalf("%q does not lead to %s", address, prefix)
	}
	return q
}
