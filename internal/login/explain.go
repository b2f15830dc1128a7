package login

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/client"
)

// meaning is what an error of the OAuth client means to a member. detail is the
// word for the audit trail, the protocol name for scripts. In sentence, {server}
// stands for the host that the trouble is with.
type meaning struct {
	when     error
	detail   string
	kind     fault.Kind
	sentence string
}

// ours are errors between the browser and us, and of the tokens that came.
// Order matters only where one error is several.
func ours() []meaning {
	const again = " Please start again."
	return []meaning{
		{client.ErrUnknownState, "unknown_state", fault.Invalid,
			"This sign-in is not waiting any more: it was finished already, or begun too long ago." + again},
		{client.ErrStateExpired, "expired", fault.Invalid, "This sign-in took longer than 30 minutes." + again},
		{client.ErrBadCallback, "bad_callback", fault.Invalid, "The answer that came back from your server is incomplete." + again},
		{client.ErrWrongIssuer, "wrong_issuer", fault.Forbidden,
			"The answer came from another server than the one that your sign-in began with, so it was refused." + again},
		{client.ErrWrongSubject, "wrong_subject", fault.Forbidden,
			"Your server answered for another account than the one you named, so nobody was signed in. Start again and choose the same account there."},
		{client.ErrKeyWithdrawn, "key_withdrawn", fault.Unavailable, "This site changed its keys while you were signing in." + again},
		{client.ErrTokenType, "token_type", fault.Unavailable,
			"Your server gave tokens that anybody could use who gets hold of them, so they were refused. Its operator has to update it."},
		{client.ErrNoAtproto, "no_atproto", fault.Unavailable,
			"Your server did not confirm which account this is, so nobody was signed in." + again},
		{client.ErrTokenResponse, "token_response", fault.Unavailable,
			"Your server's answer does not follow the rules of AT Protocol sign-in, so nobody was signed in. Its operator has to look at it."},
		{client.ErrNoPDS, "no_pds", fault.Invalid, "That account does not say which server it is at, so there is nowhere to sign in."},
		{client.ErrBadRequest, "bad_request", fault.Invalid, "That address cannot be a server for signing in. Check it and try again."},
		{oauth.InvalidGrant, "invalid_grant", fault.Invalid,
			"Your server does not accept this sign-in any more: it took too long, or was used already." + again},
		{oauth.ServerError, "server_error", fault.Unavailable, "Your server had trouble signing you in. Please try again in a few minutes."},
		{oauth.TemporarilyUnavailable, "temporarily_unavailable", fault.Unavailable,
			"Your server cannot sign anybody in right now. Please try again in a few minutes."},
		{client.ErrBadNonce, "bad_nonce", fault.Unavailable,
			"Your server refused its own challenge, so the sign-in could not go on. Its operator has to look at it."},
	}
}

// theirs are errors of servers that were asked.
func theirs() []meaning {
	return []meaning{
		{client.ErrRateLimited, "rate_limited", fault.Unavailable, "{server} asks for a pause. Please try again in a few minutes."},
		{client.ErrUnreachable, "unreachable", fault.Unavailable,
			"{server} does not answer right now, so signing in through it is not possible. Please try again in a few minutes."},
		{client.ErrRedirected, "redirected", fault.Unavailable,
			"{server} sends sign-ins elsewhere, which is not allowed. If you typed a server's address, use its final form; otherwise its operator has to correct this."},
		{client.ErrNotOAuth, "not_oauth", fault.Unavailable,
			"{server} does not answer as an AT Protocol server does, so signing in through it is not possible. Check the address; if it is right, its operator has to look at it."},
	}
}

// explain turns an error into a fault that says what to do. Faults stay as they
// are, and so do errors of a context that has ended: nobody is listening.
func explain(err error) error {
	var (
		told   *fault.Error
		server *client.ServerError
		answer *oauth.Error
	)
	switch {
	case errors.As(err, &told), errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &server):
		return explainServer(err, server)
	}
	for _, m := range ours() {
		if errors.Is(err, m.when) {
			return fault.Wrap(m.kind, err, m.sentence)
		}
	}
	if errors.As(err, &answer) {
		return fault.Wrap(fault.Unavailable, err,
			"Your server refused this site's request to sign you in. The operator of this site has to look at it; its log says why.")
	}
	return identity.Fault(err)
}

func explainServer(err error, server *client.ServerError) error {
	host := server.URL
	if u, parseErr := url.Parse(server.URL); parseErr == nil && u.Host != "" {
		host = u.Host
	}
	var blocked *egress.BlockedError
	if errors.As(err, &blocked) || errors.Is(err, egress.ErrPlainHTTP) {
		return fault.Wrap(fault.Invalid, err,
			fmt.Sprintf("%s is not a public https address, and only those are connected to. Check the address.", host))
	}
	for _, m := range theirs() {
		if errors.Is(err, m.when) {
			f := fault.Wrap(m.kind, err, strings.ReplaceAll(m.sentence, "{server}", host))
			if at, ok := client.RetryAt(err); ok {
				return f.After(max(time.Second, time.Until(at)))
			}
			return f
		}
	}
	return fault.From(err)
}

// detail is the word for an error in the audit trail.
func detail(err error) string {
	for _, m := range append(theirs(), ours()...) {
		if errors.Is(err, m.when) {
			return m.detail
		}
	}
	var answer *oauth.Error
	switch {
	case errors.As(err, &answer):
		return "server_refused"
	case errors.Is(err, errSaving):
		return "not_saved"
	}
	return "internal"
}

// errSaving marks a session that could not be stored after tokens were issued.
var errSaving = errors.New("session not saved")

// saving makes a failed save an error that can be retried (S20). The OAuth
// client has revoked the tokens by the time it is shown.
func saving(err error) error {
	var told *fault.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return fault.Wrap(fault.Unavailable, errors.Join(errSaving, err),
		"Your server signed you in, but the sign-in could not be saved here, so it was undone. Please try again in a moment.")
}
