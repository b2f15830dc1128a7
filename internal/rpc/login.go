package rpc

import (
	"context"
	"math"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
)

// InitiateLogin begins a sign-in.
func (s *Server) InitiateLogin(ctx context.Context, req *connect.Request[authv1.InitiateLoginRequest]) (*connect.Response[authv1.InitiateLoginResponse], error) {
	if req.Msg.GetLoopbackPort() > math.MaxUint16 {
		return nil, fault.New(fault.Invalid, "The loopback port must be from 1024 to 65535, or 0 for none.")
	}
	out, err := s.cfg.HandOffs.Initiate(ctx, login.Initiate{
		Identifier: req.Msg.GetIdentifier(), Name: req.Msg.GetAppName(), LoopbackPort: int(req.Msg.GetLoopbackPort()), Addr: addr(req.Peer()),
	})
	if err != nil {
		return nil, err
	}
	return noStore(&authv1.InitiateLoginResponse{
		LoginId: out.ID, Secret: out.Secret.Reveal(), BrowserUrl: out.URL, UserCode: out.Code, ExpiresAt: timestamppb.New(out.ExpiresAt),
	}), nil
}

// AwaitLogin tells how a sign-in stands and ends with its session.
func (s *Server) AwaitLogin(ctx context.Context, req *connect.Request[authv1.AwaitLoginRequest], stream *connect.ServerStream[authv1.AwaitLoginResponse]) error {
	stream.ResponseHeader().Set("Cache-Control", "no-store")
	grant, err := s.cfg.HandOffs.Await(ctx, collector(req.Peer(), req.Msg.GetLoginId(), req.Msg.GetSecret()), func(w login.Waiting) error {
		return stream.Send(&authv1.AwaitLoginResponse{Event: &authv1.AwaitLoginResponse_Waiting{Waiting: &authv1.Waiting{
			Stage: stageOf(w), UserCode: w.Code, ExpiresAt: timestamppb.New(w.ExpiresAt),
		}}})
	})
	if err != nil {
		return err
	}
	return stream.Send(&authv1.AwaitLoginResponse{Event: &authv1.AwaitLoginResponse_Done{Done: sessionOf(grant)}})
}

func stageOf(w login.Waiting) authv1.Stage {
	switch {
	case w.CodeWanted:
		return authv1.Stage_STAGE_CODE_WANTED
	case w.Opened:
		return authv1.Stage_STAGE_OPENED
	}
	return authv1.Stage_STAGE_INITIATED
}

// ConfirmLogin approves a sign-in with the proof of the browser's own machine.
func (s *Server) ConfirmLogin(ctx context.Context, req *connect.Request[authv1.ConfirmLoginRequest]) (*connect.Response[authv1.ConfirmLoginResponse], error) {
	err := s.cfg.HandOffs.Confirm(ctx, collector(req.Peer(), req.Msg.GetLoginId(), req.Msg.GetSecret()), req.Msg.GetProof())
	return connect.NewResponse(&authv1.ConfirmLoginResponse{}), err
}

// AcknowledgeLogin ends delivery.
func (s *Server) AcknowledgeLogin(ctx context.Context, req *connect.Request[authv1.AcknowledgeLoginRequest]) (*connect.Response[authv1.AcknowledgeLoginResponse], error) {
	err := s.cfg.HandOffs.Acknowledge(ctx, collector(req.Peer(), req.Msg.GetLoginId(), req.Msg.GetSecret()))
	return connect.NewResponse(&authv1.AcknowledgeLoginResponse{}), err
}

// CancelLogin gives a sign-in up.
func (s *Server) CancelLogin(ctx context.Context, req *connect.Request[authv1.CancelLoginRequest]) (*connect.Response[authv1.CancelLoginResponse], error) {
	err := s.cfg.HandOffs.Cancel(ctx, collector(req.Peer(), req.Msg.GetLoginId(), req.Msg.GetSecret()))
	return connect.NewResponse(&authv1.CancelLoginResponse{}), err
}

// noStore keeps caches from what holds a secret.
func noStore[T any](msg *T) *connect.Response[T] {
	resp := connect.NewResponse(msg)
	resp.Header().Set("Cache-Control", "no-store")
	return resp
}
