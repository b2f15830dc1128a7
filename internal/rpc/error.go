package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
)

// verdict is an error as a program sees it.
type verdict struct {
	code   connect.Code
	reason authv1.Reason
}

// endings are the ways in which a sign-in ends, each with a code of its own but
// for the two by which a person says no.
var endings = map[login.HandOffState]verdict{
	login.StateDenied:    {connect.CodePermissionDenied, authv1.Reason_REASON_DENIED},
	login.StateWrongCode: {connect.CodePermissionDenied, authv1.Reason_REASON_WRONG_CODE},
	login.StateExpired:   {connect.CodeDeadlineExceeded, authv1.Reason_REASON_EXPIRED},
	login.StateFailed:    {connect.CodeFailedPrecondition, authv1.Reason_REASON_FAILED},
	login.StateCancelled: {connect.CodeAborted, authv1.Reason_REASON_CANCELLED},
	login.StateDelivered: {connect.CodeAlreadyExists, authv1.Reason_REASON_DELIVERED},
}

var kinds = map[fault.Kind]verdict{
	fault.Invalid:         {connect.CodeInvalidArgument, authv1.Reason_REASON_INVALID},
	fault.Unauthenticated: {connect.CodeUnauthenticated, authv1.Reason_REASON_UNAUTHENTICATED},
	fault.Forbidden:       {connect.CodePermissionDenied, authv1.Reason_REASON_DENIED},
	fault.NotFound:        {connect.CodeNotFound, authv1.Reason_REASON_NOT_FOUND},
	fault.Conflict:        {connect.CodeFailedPrecondition, authv1.Reason_REASON_INVALID},
	fault.Limited:         {connect.CodeResourceExhausted, authv1.Reason_REASON_RATE_LIMITED},
	fault.Unavailable:     {connect.CodeUnavailable, authv1.Reason_REASON_RETRY},
}

func judge(err error) verdict {
	var ended *login.EndedError
	var again *session.SignInAgainError
	switch {
	case errors.As(err, &ended):
		if v, ok := endings[ended.State]; ok {
			return v
		}
	case errors.As(err, &again):
		return verdict{connect.CodeUnauthenticated, authv1.Reason_REASON_SIGN_IN_AGAIN}
	}
	if v, ok := kinds[fault.KindOf(err)]; ok {
		return v
	}
	return verdict{connect.CodeInternal, authv1.Reason_REASON_INTERNAL}
}

// toError is the one place where errors get their codes. Its text is the public
// one: causes stay here.
func toError(err error) *connect.Error {
	var already *connect.Error
	if errors.As(err, &already) {
		return already // of the library: a call that is malformed
	}
	switch {
	case errors.Is(err, context.Canceled):
		return connect.NewError(connect.CodeCanceled, context.Canceled)
	case errors.Is(err, context.DeadlineExceeded):
		return connect.NewError(connect.CodeDeadlineExceeded, context.DeadlineExceeded)
	}
	v, f := judge(err), fault.From(err)
	out := connect.NewError(v.code, errors.New(f.Public))
	info := &authv1.ErrorInfo{Reason: v.reason, RetryAfterSeconds: uint32(math.Ceil(max(0, f.RetryAfter.Seconds())))}
	if detail, err := connect.NewErrorDetail(info); err == nil {
		out.AddDetail(detail)
	}
	return out
}

// errorLog renders the errors of methods and logs those that are ours.
type errorLog struct{ log *slog.Logger }

// WrapUnary implements connect.Interceptor.
func (l errorLog) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		resp, err := next(ctx, req)
		if err != nil {
			return nil, l.render(ctx, req.Spec().Procedure, err)
		}
		return resp, nil
	}
}

// WrapStreamingHandler implements connect.Interceptor.
func (l errorLog) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := next(ctx, conn); err != nil {
			return l.render(ctx, conn.Spec().Procedure, err)
		}
		return nil
	}
}

// WrapStreamingClient implements connect.Interceptor.
func (l errorLog) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (l errorLog) render(ctx context.Context, procedure string, err error) error {
	out := toError(err)
	if out.Code() == connect.CodeInternal {
		l.log.ErrorContext(ctx, "call failed", "procedure", procedure, "error", err)
	} else {
		l.log.DebugContext(ctx, "call refused", "procedure", procedure, "code", out.Code().String(), "error", err)
	}
	return out
}
