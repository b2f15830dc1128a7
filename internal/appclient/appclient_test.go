package appclient_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/gen/atoll/auth/v1/authv1connect"
	"github.com/atoll-social/atoll/internal/appclient"
	"github.com/atoll-social/atoll/internal/fault"
)

// server is an instance after proto/atoll/auth/v1/auth.proto, as far as the
// program sees it.
type server struct {
	authv1connect.UnimplementedAuthServiceHandler
	*httptest.Server
	streams   atomic.Int32 // how many were opened; the first two break off
	refreshes atomic.Int32
	acked     atomic.Bool
	end       error // what the last stream ends with; nil: the session
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{}
	mux := http.NewServeMux()
	mux.Handle(authv1connect.NewAuthServiceHandler(s))
	mux.HandleFunc("GET /api/me", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.Header.Get("Authorization") {
		case "Bearer access-2":
			_, _ = w.Write([]byte(`{"did":"did:plc:alice","handle":"alice.example"}`))
		default:
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"error":"AuthRequired","message":"no"}`))
		}
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func session(access, refresh string) *authv1.Session {
	return &authv1.Session{SessionId: "S", Did: "did:plc:alice", Handle: "alice.example", AccessToken: access,
		AccessExpiresAt: timestamppb.New(time.Now().Add(time.Hour)), RefreshSecret: refresh}
}

func (s *server) InitiateLogin(context.Context, *connect.Request[authv1.InitiateLoginRequest]) (*connect.Response[authv1.InitiateLoginResponse], error) {
	return connect.NewResponse(&authv1.InitiateLoginResponse{LoginId: "L", Secret: "secret", BrowserUrl: s.URL + "/app/L", UserCode: "BCDF-GHJK"}), nil
}

func (s *server) AwaitLogin(_ context.Context, _ *connect.Request[authv1.AwaitLoginRequest], stream *connect.ServerStream[authv1.AwaitLoginResponse]) error {
	switch s.streams.Add(1) {
	case 1:
		return connect.NewError(connect.CodeUnavailable, nil)
	case 2:
		return nil // without a word
	}
	if s.end != nil {
		return s.end
	}
	return stream.Send(&authv1.AwaitLoginResponse{Event: &authv1.AwaitLoginResponse_Done{Done: session("access-1", "refresh-1")}})
}

func (s *server) AcknowledgeLogin(context.Context, *connect.Request[authv1.AcknowledgeLoginRequest]) (*connect.Response[authv1.AcknowledgeLoginResponse], error) {
	s.acked.Store(true)
	return connect.NewResponse(&authv1.AcknowledgeLoginResponse{}), nil
}

func (s *server) RefreshSession(_ context.Context, req *connect.Request[authv1.RefreshSessionRequest]) (*connect.Response[authv1.RefreshSessionResponse], error) {
	if s.refreshes.Add(1) > 1 || req.Msg.GetRefreshSecret() != "refresh-1" {
		return nil, connect.NewError(connect.CodeUnauthenticated, nil)
	}
	return connect.NewResponse(&authv1.RefreshSessionResponse{Session: session("access-2", "refresh-2")}), nil
}

// N8: waiting outlasts lost connections; the session is kept before it is
// acknowledged, renewed when it is refused, and the next secret kept.
func TestSigningInOutlastsLostConnections(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	file := appclient.File(filepath.Join(t.TempDir(), "new", "session.json"))
	shown := ""
	me, err := appclient.Login{Server: s.URL + "/", Identifier: "alice.example", File: file, Show: func(url, code string) { shown = url + " " + code }}.Run(t.Context())
	if err != nil || me.DID != "did:plc:alice" || !s.acked.Load() || shown != s.URL+"/app/L BCDF-GHJK" {
		t.Fatalf("Run = %+v, %v; acknowledged %v, shown %q", me, err, s.acked.Load(), shown)
	}
	if n := s.streams.Load(); n != 3 {
		t.Errorf("%d streams were opened, want 3: two broke off", n)
	}
	me, err = appclient.Whoami(t.Context(), file)
	if err != nil || me.Handle != "alice.example" {
		t.Errorf("Whoami = %+v, %v; want alice after a renewal", me, err)
	}
	text, err := os.ReadFile(string(file))
	if err != nil || !strings.Contains(string(text), "refresh-2") || strings.Contains(string(text), "refresh-1") {
		t.Errorf("the file holds %s (%v), want the next secret", text, err)
	}
	info, err := os.Stat(string(file))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v; want mode 0600", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Dir(string(file)))
	if err != nil || len(left) != 1 {
		t.Errorf("beside the file: %v, %v", left, err)
	}
}

func TestSigningInThatEnds(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.end = connect.NewError(connect.CodePermissionDenied, http.ErrNoCookie)
	file := appclient.File(filepath.Join(t.TempDir(), "session.json"))
	_, err := appclient.Login{Server: s.URL, Identifier: "alice.example", File: file, Show: func(string, string) {}}.Run(t.Context())
	if err == nil || s.acked.Load() {
		t.Errorf("Run = %v, acknowledged %v; want the refusal", err, s.acked.Load())
	}
	if _, err := appclient.Whoami(t.Context(), file); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("Whoami = %v, want signed out", err)
	}
}

// Secrets go to https only, or stay on this machine.
func TestServersThatAreRefused(t *testing.T) {
	t.Parallel()
	for server, ok := range map[string]bool{
		"https://community.example.org": true, "https://community.example.org/": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true, "http://localhost:8080": true,
		"http://community.example.org": false, "http://10.0.0.1": false, "community.example.org": false, "https://user@community.example.org": false,
		"https://community.example.org/path": false, "https://": false, "": false, "ftp://127.0.0.1": false, "http://127.0.0.1.example.org": false,
	} {
		if _, err := appclient.New(server); (err == nil) != ok {
			t.Errorf("New(%q) = %v, want it taken: %v", server, err, ok)
		}
	}
}

func TestWhereTheSignInIsKept(t *testing.T) {
	t.Parallel()
	for want, env := range map[string]map[string]string{
		"/cfg/atoll/session.json": {"XDG_CONFIG_HOME": "/cfg", "HOME": "/home/x"}, "/home/x/.config/atoll/session.json": {"HOME": "/home/x"}, "": {},
	} {
		file, err := appclient.FileIn(func(name string) string { return env[name] })
		if string(file) != want || (err == nil) != (want != "") {
			t.Errorf("FileIn(%v) = %q, %v; want %q", env, file, err, want)
		}
	}
	damaged := filepath.Join(t.TempDir(), "session.json")
	if err := os.WriteFile(damaged, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := appclient.Whoami(t.Context(), appclient.File(damaged)); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a damaged file = %v, want it explained", err)
	}
}
