// Command example signs somebody in at an Atoll instance from a program without
// a page of its own, asks who it is, renews the session and ends it:
//
//	go run ./example http://127.0.0.1:8080 alice.example
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/gen/atoll/auth/v1/authv1connect"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: example SERVER HANDLE")
		os.Exit(2)
	}
	if err := run(ctx, os.Stdout, os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, server, handle string) error {
	auth := authv1connect.NewAuthServiceClient(&http.Client{}, server) // connect.WithGRPC() speaks gRPC
	begun, err := auth.InitiateLogin(ctx, connect.NewRequest(&authv1.InitiateLoginRequest{Identifier: handle, AppName: "Example"}))
	if err != nil {
		return err
	}
	id, secret := begun.Msg.GetLoginId(), begun.Msg.GetSecret()
	fmt.Fprintf(out, "Open %s\nand type %s there.\n", begun.Msg.GetBrowserUrl(), begun.Msg.GetUserCode())
	session, err := await(ctx, auth, id, secret)
	if err != nil {
		return err
	}
	// A real program stores session.refresh_secret here, readable by its owner only.
	if _, err := auth.AcknowledgeLogin(ctx, connect.NewRequest(&authv1.AcknowledgeLoginRequest{LoginId: id, Secret: secret})); err != nil {
		return err
	}
	fmt.Fprintf(out, "Signed in as %s (%s).\n", session.GetHandle(), session.GetDid())
	next, err := auth.RefreshSession(ctx, connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: session.GetRefreshSecret()}))
	if err != nil {
		return err // UNAUTHENTICATED: the session is over, sign in again
	}
	revoke := connect.NewRequest(&authv1.RevokeSessionRequest{}) // the header is the same for /api/me and every XRPC method
	revoke.Header().Set("Authorization", "Bearer "+next.Msg.GetSession().GetAccessToken())
	_, err = auth.RevokeSession(ctx, revoke)
	return err
}

// await waits until the person has decided, over lost connections.
func await(ctx context.Context, auth authv1connect.AuthServiceClient, id, secret string) (*authv1.Session, error) {
	for ctx.Err() == nil {
		stream, err := auth.AwaitLogin(ctx, connect.NewRequest(&authv1.AwaitLoginRequest{LoginId: id, Secret: secret}))
		if err != nil {
			return nil, err
		}
		for stream.Receive() {
			if done := stream.Msg().GetDone(); done != nil {
				return done, stream.Close()
			}
		}
		err = errors.Join(stream.Err(), stream.Close())
		if err != nil && connect.CodeOf(err) != connect.CodeUnavailable {
			return nil, err // declined, expired, …: its ErrorInfo says which
		}
		time.Sleep(time.Second)
	}
	return nil, ctx.Err()
}
