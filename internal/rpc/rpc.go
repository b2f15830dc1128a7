// Package rpc is AuthService over gRPC, gRPC-Web and Connect: how applications
// sign people in (proto/atoll/auth/v1). It parses a call, finds out who asks,
// calls one capability and renders; it holds no rule of the domain and no SQL.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/gen/atoll/auth/v1/authv1connect"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
)

// maxMessage bounds what one message may take, in bytes.
const maxMessage = 16 << 10

// streamLife is longer than anybody can wait for a sign-in.
const streamLife = login.HandOffLife + time.Minute

// Config is what the service works with.
type Config struct {
	HandOffs *login.HandOffs
	Apps     *session.Apps
	Logger   *slog.Logger
}

// Server answers the calls. It is safe for concurrent use.
type Server struct {
	cfg Config
	log *slog.Logger
}

var _ authv1connect.AuthServiceHandler = (*Server)(nil)

// New checks cfg. It does no I/O.
func New(cfg Config) (*Server, error) {
	if cfg.HandOffs == nil || cfg.Apps == nil || cfg.Logger == nil {
		return nil, errors.New("rpc: HandOffs, Apps and Logger are required")
	}
	return &Server{cfg: cfg, log: cfg.Logger.With("component", "rpc")}, nil
}

// Mount adds the service, its reflection and its health to mux.
func (s *Server) Mount(mux *http.ServeMux) {
	options := []connect.HandlerOption{connect.WithReadMaxBytes(maxMessage), connect.WithInterceptors(errorLog{s.log})}
	path, handler := authv1connect.NewAuthServiceHandler(s, options...)
	mux.Handle(path, anyOrigin(unhurried(handler)))
	reflector := grpcreflect.NewStaticReflector(authv1connect.AuthServiceName, grpchealth.HealthV1ServiceName)
	for _, add := range []func() (string, http.Handler){
		func() (string, http.Handler) { return grpcreflect.NewHandlerV1(reflector, options[0]) },
		func() (string, http.Handler) { return grpcreflect.NewHandlerV1Alpha(reflector, options[0]) },
		func() (string, http.Handler) {
			return grpchealth.NewHandler(grpchealth.NewStaticChecker(authv1connect.AuthServiceName), options[0])
		},
	} {
		mux.Handle(add())
	}
}

// Owns tells whether a path is one of this surface's.
func Owns(path string) bool {
	for _, service := range []string{authv1connect.AuthServiceName, grpchealth.HealthV1ServiceName, "grpc.reflection."} {
		if strings.HasPrefix(path, "/"+service) {
			return true
		}
	}
	return false
}

// RenderFault answers what never came to a method, such as a flood: as Connect
// does, which is plain HTTP with JSON, and which gRPC clients read by its status.
func RenderFault(w http.ResponseWriter, r *http.Request, err error) {
	allowAnyOrigin(w)
	writer := connect.NewErrorWriter()
	if writer.IsSupported(r) {
		_ = writer.Write(w, r, toError(err)) // whoever went away needs no answer
		return
	}
	httpserver.RenderText(w, r, err)
}

// unhurried lets AwaitLogin take as long as a person does.
func unhurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == authv1connect.AuthServiceAwaitLoginProcedure {
			control, until := http.NewResponseController(w), time.Now().Add(streamLife)
			// Unsupported only by test recorders.
			_ = control.SetWriteDeadline(until)
			_ = control.SetReadDeadline(until)
		}
		next.ServeHTTP(w, r)
	})
}

// anyOrigin lets scripts of any site call: no method reads a cookie, and the
// header that would allow sending them is never sent.
func anyOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		allowAnyOrigin(w)
		if r.Method != http.MethodOptions {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Connect-Protocol-Version, Connect-Timeout-Ms, Grpc-Timeout, X-Grpc-Web, X-User-Agent")
		h.Set("Access-Control-Max-Age", "7200")
		w.WriteHeader(http.StatusNoContent)
	})
}

func allowAnyOrigin(w http.ResponseWriter) {
	w.Header().Set("Access-Control-Allow-Origin", "*")
	w.Header().Set("Access-Control-Expose-Headers", "Grpc-Status, Grpc-Message, Grpc-Status-Details-Bin, X-Request-Id")
}

// addr is the address that a call came from, behind trusted proxies.
func addr(peer connect.Peer) netip.Addr {
	return httpserver.ClientAddr(&http.Request{RemoteAddr: peer.Addr})
}

// caller finds out whose access token came with a call. Nothing else says who
// asks: no cookie is read (A9).
func (s *Server) caller(ctx context.Context, header http.Header) (session.AppCaller, error) {
	values := header.Values("Authorization")
	if len(values) != 1 {
		return session.AppCaller{}, session.ErrAppOver
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return session.AppCaller{}, session.ErrAppOver
	}
	return s.cfg.Apps.Authenticate(ctx, strings.TrimSpace(token))
}

// sessionOf renders what an app holds of its session.
func sessionOf(g session.AppGrant) *authv1.Session {
	return &authv1.Session{
		SessionId: g.SessionID, Did: g.DID.String(), Handle: g.Handle.String(),
		AccessToken: g.Access.Reveal(), AccessExpiresAt: timestamppb.New(g.AccessExpires), RefreshSecret: g.Refresh.Reveal(),
	}
}

// collector is who shows a sign-in's secret.
func collector(peer connect.Peer, id, secret string) login.Collector {
	return login.Collector{ID: id, Secret: keyring.NewSecret(secret), Addr: addr(peer)}
}
