package rpc

import (
	"context"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/internal/keyring"
)

// RefreshSession exchanges a refresh secret.
func (s *Server) RefreshSession(ctx context.Context, req *connect.Request[authv1.RefreshSessionRequest]) (*connect.Response[authv1.RefreshSessionResponse], error) {
	grant, err := s.cfg.Apps.Refresh(ctx, keyring.NewSecret(req.Msg.GetRefreshSecret()))
	if err != nil {
		return nil, err
	}
	return noStore(&authv1.RefreshSessionResponse{Session: sessionOf(grant)}), nil
}

// ListSessions lists the app sessions of whoever asks.
func (s *Server) ListSessions(ctx context.Context, req *connect.Request[authv1.ListSessionsRequest]) (*connect.Response[authv1.ListSessionsResponse], error) {
	who, err := s.caller(ctx, req.Header())
	if err != nil {
		return nil, err
	}
	all, err := s.cfg.Apps.List(ctx, who.Account.DID)
	if err != nil {
		return nil, err
	}
	out := &authv1.ListSessionsResponse{}
	for _, i := range all {
		out.Sessions = append(out.Sessions, &authv1.SessionInfo{
			SessionId: i.ID, AppName: i.Name, Origin: i.Origin, Current: i.ID == who.SessionID,
			CreatedAt: timestamppb.New(i.CreatedAt), UsedAt: timestamppb.New(i.UsedAt), ExpiresAt: timestamppb.New(i.ExpiresAt),
		})
	}
	return noStore(out), nil
}

// RevokeSession ends an app session of whoever asks.
func (s *Server) RevokeSession(ctx context.Context, req *connect.Request[authv1.RevokeSessionRequest]) (*connect.Response[authv1.RevokeSessionResponse], error) {
	who, err := s.caller(ctx, req.Header())
	if err != nil {
		return nil, err
	}
	id := req.Msg.GetSessionId()
	if id == "" {
		id = who.SessionID
	}
	err = s.cfg.Apps.Revoke(ctx, who.Account.DID, id)
	return connect.NewResponse(&authv1.RevokeSessionResponse{}), err
}
