package rpc_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/bluesky-social/indigo/atproto/syntax"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/gen/atoll/auth/v1/authv1connect"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/rpc"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const alice = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")

// service is the surface over real stores, behind the middleware of production.
type service struct {
	*httptest.Server
	t        *testing.T
	apps     *session.Apps
	manager  *session.Manager
	handOffs *login.HandOffs
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newService(t *testing.T, limit httpserver.LimiterConfig) *service {
	t.Helper()
	db, quiet := storetest.New(t, store.SQLite), slog.New(slog.DiscardHandler)
	ring := must(keyring.Parse(must(keyring.Generate())(t)))(t)
	s := &service{t: t, manager: must(session.New(session.Config{DB: db, Ring: ring, Logger: quiet}))(t)}
	keys := must(session.NewTokenKeys(session.KeysConfig{DB: db, Ring: ring, Logger: quiet}))(t)
	if err := keys.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	const origin = "https://app.example.com"
	s.apps = must(session.NewApps(session.AppsConfig{Manager: s.manager, Keys: keys, Issuer: origin}))(t)
	s.handOffs = must(login.NewHandOffs(login.HandOffsConfig{DB: db, Apps: s.apps, Origin: origin, Limit: limit, Logger: quiet}))(t)
	surface := must(rpc.New(rpc.Config{HandOffs: s.handOffs, Apps: s.apps, Logger: quiet}))(t)
	mux := http.NewServeMux()
	surface.Mount(mux)
	s.Server = httptest.NewUnstartedServer(httpserver.Chain(httpserver.Routes(mux, rpc.RenderFault), httpserver.RequestID,
		httpserver.AccessLog(quiet), httpserver.SecurityHeaders(true), httpserver.Timeouts(30*time.Second, time.Minute), httpserver.MaxBody(1<<20)))
	s.Server.EnableHTTP2 = true
	s.Server.Config.Protocols = new(http.Protocols)
	s.Server.Config.Protocols.SetHTTP1(true)
	s.Server.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Server.Start()
	t.Cleanup(s.Close)
	return s
}

// wide is a limit that tests of other things don't meet.
func wide() httpserver.LimiterConfig {
	return httpserver.LimiterConfig{Every: time.Microsecond, Burst: 10_000}
}

// protocols are the ways in which clients speak.
var protocols = map[string][]connect.ClientOption{
	"grpc": {connect.WithGRPC()}, "grpc-web": {connect.WithGRPCWeb()}, "connect": nil, "connect JSON": {connect.WithProtoJSON()},
}

func (s *service) client(options ...connect.ClientOption) authv1connect.AuthServiceClient {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(true)
	s.t.Cleanup(transport.CloseIdleConnections)
	return authv1connect.NewAuthServiceClient(&http.Client{Transport: transport}, s.URL, options...)
}

// app is a session of alice's, as its app holds it.
func (s *service) app(id string) session.AppGrant {
	s.t.Helper()
	now := time.Now()
	err := s.apps.SignIn(s.t.Context(), session.AppSignIn{ID: id, Handle: "alice.example.com", Name: "Reader " + id, CollectBy: now.Add(time.Hour), Session: &client.SessionData{
		ID: rand.Text(), DID: alice, Issuer: "https://pds.example.com", PDS: "https://pds.example.com", ClientID: "http://localhost",
		DPoPKey: must(dpop.NewKey())(s.t), AccessToken: "access", RefreshToken: "refresh", Scope: "atproto", CreatedAt: now, RefreshedAt: now,
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	return must(s.apps.Collect(s.t.Context(), id, session.NewAppSecret()))(s.t)
}

func bearer[T any](msg *T, token string) *connect.Request[T] {
	req := connect.NewRequest(msg)
	if token != "" {
		req.Header().Set("Authorization", "Bearer "+token)
	}
	return req
}

// wantError checks code and reason, and that a person could read the message.
func wantError(t *testing.T, what string, err error, code connect.Code, reason authv1.Reason) *authv1.ErrorInfo {
	t.Helper()
	var failed *connect.Error
	if !errors.As(err, &failed) || failed.Code() != code {
		t.Errorf("%s = %v, want %v", what, err, code)
		return nil
	}
	for _, d := range failed.Details() {
		if v, err := d.Value(); err == nil {
			if info, ok := v.(*authv1.ErrorInfo); ok {
				if info.GetReason() != reason || !strings.HasSuffix(failed.Message(), ".") {
					t.Errorf("%s = %v with %v, want %v and a sentence", what, failed, info.GetReason(), reason)
				}
				return info
			}
		}
	}
	t.Errorf("%s = %v, without ErrorInfo", what, err)
	return nil
}

// N1: the same service over gRPC, gRPC-Web and Connect.
func TestEveryProtocol(t *testing.T) {
	t.Parallel()
	for name, options := range protocols {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, wide())
			c := s.client(options...)
			begun := must(c.InitiateLogin(t.Context(), connect.NewRequest(&authv1.InitiateLoginRequest{Identifier: "alice.example.com", AppName: "Reader"})))(t).Msg
			if begun.GetBrowserUrl() != "https://app.example.com/app/"+begun.GetLoginId() || begun.GetSecret() == "" || len(begun.GetUserCode()) != 9 ||
				time.Until(begun.GetExpiresAt().AsTime()) < 29*time.Minute {
				t.Errorf("InitiateLogin = %v", begun)
			}
			stream := must(c.AwaitLogin(t.Context(), connect.NewRequest(&authv1.AwaitLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()})))(t)
			if !stream.Receive() || stream.Msg().GetWaiting().GetStage() != authv1.Stage_STAGE_INITIATED || stream.Msg().GetWaiting().GetUserCode() != begun.GetUserCode() {
				t.Fatalf("first message %v, %v; want initiated with the code", stream.Msg(), stream.Err())
			}
			_, err := c.AcknowledgeLogin(t.Context(), connect.NewRequest(&authv1.AcknowledgeLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()}))
			wantError(t, "AcknowledgeLogin", err, connect.CodeFailedPrecondition, authv1.Reason_REASON_INVALID)
			must(c.CancelLogin(t.Context(), connect.NewRequest(&authv1.CancelLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()})))(t)
			if stream.Receive() {
				t.Errorf("after cancelling: %v", stream.Msg())
			}
			wantError(t, "the stream", stream.Err(), connect.CodeAborted, authv1.Reason_REASON_CANCELLED)
			_ = stream.Close()

			grant := s.app("ONE")
			next := must(c.RefreshSession(t.Context(), connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: grant.Refresh.Reveal()})))(t).Msg.GetSession()
			if next.GetDid() != string(alice) || next.GetSessionId() != "ONE" || next.GetHandle() != "alice.example.com" || next.GetRefreshSecret() == grant.Refresh.Reveal() {
				t.Errorf("RefreshSession = %v", next)
			}
			s.app("TWO")
			listed := must(c.ListSessions(t.Context(), bearer(&authv1.ListSessionsRequest{}, next.GetAccessToken())))(t).Msg.GetSessions()
			if len(listed) != 2 || listed[0].GetSessionId() != "TWO" || listed[0].GetCurrent() || !listed[1].GetCurrent() || listed[1].GetAppName() != "Reader ONE" {
				t.Errorf("ListSessions = %v", listed)
			}
			must(c.RevokeSession(t.Context(), bearer(&authv1.RevokeSessionRequest{SessionId: "TWO"}, next.GetAccessToken())))(t)
			must(c.RevokeSession(t.Context(), bearer(&authv1.RevokeSessionRequest{}, next.GetAccessToken())))(t)
			_, err = c.ListSessions(t.Context(), bearer(&authv1.ListSessionsRequest{}, next.GetAccessToken()))
			wantError(t, "ListSessions after the revocation", err, connect.CodeUnauthenticated, authv1.Reason_REASON_UNAUTHENTICATED)
		})
	}
}

// N1: gRPC needs HTTP/2, which TLS chooses by itself.
func TestOverTLS(t *testing.T) {
	t.Parallel()
	s := newService(t, wide())
	secure := httptest.NewUnstartedServer(s.Config.Handler)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for name, options := range protocols {
		c := authv1connect.NewAuthServiceClient(secure.Client(), secure.URL, options...)
		begun := must(c.InitiateLogin(t.Context(), connect.NewRequest(&authv1.InitiateLoginRequest{Identifier: "alice.example.com", AppName: "Reader"})))(t).Msg
		ctx, hangUp := context.WithCancel(t.Context())
		stream := must(c.AwaitLogin(ctx, connect.NewRequest(&authv1.AwaitLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()})))(t)
		if !stream.Receive() || stream.Msg().GetWaiting() == nil {
			t.Errorf("%s: %v, %v", name, stream.Msg(), stream.Err())
		}
		hangUp()
		_ = stream.Close()
	}
}

// Errors have a code, a reason and a sentence, and nothing of the inside.
func TestErrorsCanBeActedOn(t *testing.T) {
	t.Parallel()
	s := newService(t, httpserver.LimiterConfig{Every: time.Hour, Burst: 3})
	c := s.client()
	initiate := func(identifier, name string, port uint32) error {
		_, err := c.InitiateLogin(t.Context(), connect.NewRequest(&authv1.InitiateLoginRequest{Identifier: identifier, AppName: name, LoopbackPort: port}))
		return err
	}
	for _, bad := range []error{initiate("", "x", 0), initiate("alice.example.com", "", 0), initiate("alice.example.com", "x", 80), initiate("alice.example.com", "x", 1<<31)} {
		wantError(t, "bad input", bad, connect.CodeInvalidArgument, authv1.Reason_REASON_INVALID)
	}
	for range 3 {
		if err := initiate("alice.example.com", "x", 0); err != nil {
			t.Fatal(err)
		}
	}
	info := wantError(t, "one too many", initiate("alice.example.com", "x", 0), connect.CodeResourceExhausted, authv1.Reason_REASON_RATE_LIMITED)
	if info.GetRetryAfterSeconds() < 60 {
		t.Errorf("retry after %d s, want most of an hour", info.GetRetryAfterSeconds())
	}
	_, err := c.CancelLogin(t.Context(), connect.NewRequest(&authv1.CancelLoginRequest{LoginId: "x", Secret: "y"}))
	wantError(t, "an unknown sign-in", err, connect.CodeNotFound, authv1.Reason_REASON_NOT_FOUND)
	_, err = c.RefreshSession(t.Context(), connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: "x"}))
	wantError(t, "an unknown refresh secret", err, connect.CodeUnauthenticated, authv1.Reason_REASON_UNAUTHENTICATED)
	for _, token := range []string{"", "x", s.app("ONE").Refresh.Reveal()} {
		_, err = c.RevokeSession(t.Context(), bearer(&authv1.RevokeSessionRequest{}, token))
		wantError(t, "no access token", err, connect.CodeUnauthenticated, authv1.Reason_REASON_UNAUTHENTICATED)
	}
	grant := s.app("GONE")
	who := must(s.apps.Authenticate(t.Context(), grant.Access.Reveal()))(t)
	_, err = c.RevokeSession(t.Context(), bearer(&authv1.RevokeSessionRequest{SessionId: "OTHER"}, grant.Access.Reveal()))
	wantError(t, "an unknown session", err, connect.CodeNotFound, authv1.Reason_REASON_NOT_FOUND)
	if err := s.manager.Delete(t.Context(), who.Account.SessionID, client.ReasonRevoked); err != nil {
		t.Fatal(err)
	}
	_, err = c.RefreshSession(t.Context(), connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: grant.Refresh.Reveal()}))
	wantError(t, "a session that is over at the PDS", err, connect.CodeUnauthenticated, authv1.Reason_REASON_SIGN_IN_AGAIN)
	_, err = c.RefreshSession(t.Context(), connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: strings.Repeat("x", 17<<10)}))
	if connect.CodeOf(err) != connect.CodeResourceExhausted {
		t.Errorf("an oversized message = %v, want resource_exhausted", err)
	}
}

// N3: the ends of a sign-in have distinct codes; a stop is retryable.
func TestEndsHaveDistinctCodes(t *testing.T) {
	t.Parallel()
	seen := map[connect.Code]bool{}
	for _, state := range []login.HandOffState{login.StateDenied, login.StateExpired, login.StateFailed, login.StateCancelled, login.StateDelivered} {
		w := httptest.NewRecorder()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, authv1connect.AuthServiceAcknowledgeLoginProcedure, nil)
		r.Header.Set("Content-Type", "application/json")
		rpc.RenderFault(w, r, &login.EndedError{State: state})
		body := w.Body.String()
		var code connect.Code
		if err := code.UnmarshalText([]byte(strings.SplitN(strings.SplitN(body, `"code":"`, 2)[1], `"`, 2)[0])); err != nil || seen[code] || code == connect.CodeUnavailable {
			t.Errorf("%s: %s, want a code of its own", state, body)
		}
		seen[code] = true
	}
	s := newService(t, wide())
	c := s.client(connect.WithGRPC())
	begun := must(c.InitiateLogin(t.Context(), connect.NewRequest(&authv1.InitiateLoginRequest{Identifier: "alice.example.com", AppName: "Reader"})))(t).Msg
	stream := must(c.AwaitLogin(t.Context(), connect.NewRequest(&authv1.AwaitLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()})))(t)
	if !stream.Receive() {
		t.Fatal(stream.Err())
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if err := s.handOffs.Serve(ctx); err != nil {
		t.Fatal(err)
	}
	if stream.Receive() {
		t.Errorf("after the stop: %v", stream.Msg())
	}
	wantError(t, "the stop", stream.Err(), connect.CodeUnavailable, authv1.Reason_REASON_RETRY)
	_ = stream.Close()
}

// Scripts of any site may call, without cookies; what floods us is answered in
// the manner of the protocol.
func TestScriptsOfOtherSites(t *testing.T) {
	t.Parallel()
	s := newService(t, wide())
	req := must(http.NewRequestWithContext(t.Context(), http.MethodOptions, s.URL+authv1connect.AuthServiceInitiateLoginProcedure, nil))(t)
	resp := must(s.Client().Do(req))(t)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Credentials") != "" ||
		!strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), "Connect-Protocol-Version") {
		t.Errorf("preflight: %d %v", resp.StatusCode, resp.Header)
	}
	for path, own := range map[string]bool{authv1connect.AuthServiceAwaitLoginProcedure: true, "/grpc.health.v1.Health/Check": true,
		"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": true, "/xrpc/x": false, "/": false} {
		if rpc.Owns(path) != own {
			t.Errorf("Owns(%s) = %v, want %v", path, !own, own)
		}
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, authv1connect.AuthServiceInitiateLoginProcedure, nil)
	r.Header.Set("Content-Type", "application/json")
	rpc.RenderFault(w, r, fault.New(fault.Limited, "Too many."))
	if body, _ := io.ReadAll(w.Body); w.Code != http.StatusTooManyRequests || !strings.Contains(string(body), `"resource_exhausted"`) {
		t.Errorf("a flood: %d %s", w.Code, body)
	}
}
