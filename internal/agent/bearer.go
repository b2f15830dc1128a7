package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// tokens hands out the access token of a password session.
type tokens interface {
	// access returns a token that is good now; one other than refused, which the
	// server has just not accepted.
	access(ctx context.Context, refused keyring.Secret) (keyring.Secret, error)
}

// bearer sends requests to one server with the token of a password session.
type bearer struct {
	http   pds.Doer
	origin string
	tokens tokens
}

// errElsewhere: a token of one server is not sent to another.
var errElsewhere = errors.New("request is not for the server of the password")

// Do sends req with an access token, and once more with a new one when the
// server does not accept the first.
func (b bearer) Do(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme+"://"+req.URL.Host != b.origin || req.Host != "" && req.Host != req.URL.Host {
		return nil, errElsewhere
	}
	token, err := b.tokens.access(req.Context(), keyring.Secret{})
	if err != nil {
		return nil, err
	}
	res, err := b.send(req, token)
	if err != nil || !isTokenRefused(res) {
		return res, err
	}
	if token, err = b.tokens.access(req.Context(), token); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			_ = res.Body.Close()
			return nil, fmt.Errorf("send again: %w", err)
		}
	} else if req.Body != nil && req.Body != http.NoBody {
		return res, nil // it cannot be sent again
	}
	_ = res.Body.Close()
	return b.send(again, token)
}

func (b bearer) send(req *http.Request, token keyring.Secret) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return b.http.Do(req)
}

// maxRefusal bounds what is read of an answer to find out why, in bytes.
const maxRefusal = 16 << 10

// isTokenRefused reports that the access token is not good any more. What was
// read of the answer for that is put back.
func isTokenRefused(res *http.Response) bool {
	if res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusUnauthorized {
		return false
	}
	head, _ := io.ReadAll(io.LimitReader(res.Body, maxRefusal))
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), res.Body), res.Body}
	var said struct {
		Name string `json:"error"`
	}
	return json.Unmarshal(head, &said) == nil && (said.Name == pds.NameExpiredToken || said.Name == pds.NameInvalidToken)
}

// renewBefore is how long before its end an access token is renewed.
const renewBefore = 5 * time.Minute

// isGood reports that a token can be used for a while. A token that does not
// tell when it ends is used until the server refuses it.
func isGood(token keyring.Secret, expires time.Time, now time.Time) bool {
	return !token.IsZero() && (expires.IsZero() || now.Add(renewBefore).Before(expires))
}

// newSession renews a password session, or begins one where that is not
// possible any more. passwordRefused in the error means that the password itself
// is over.
func newSession(ctx context.Context, server *pds.Client, refresh keyring.Secret,
	begin func(context.Context) (*pds.Session, error)) (*pds.Session, error) {
	if !refresh.IsZero() {
		s, err := server.RefreshSession(ctx, refresh)
		var refused *pds.Error
		if err == nil || !errors.As(err, &refused) || refused.Limited() || refused.Status >= http.StatusInternalServerError {
			return s, err
		}
	}
	s, err := begin(ctx)
	if isPasswordRefused(err) {
		err = fmt.Errorf("%w: %w", errPasswordRefused, err)
	}
	return s, err
}

// errPasswordRefused: the server does not take the password any more.
var errPasswordRefused = errors.New("password is not accepted")

func isPasswordRefused(err error) bool {
	var refused *pds.Error
	return errors.As(err, &refused) &&
		(refused.Name == pds.NameAuthRequired || refused.Name == pds.NameFactorRequired || refused.Status == http.StatusUnauthorized)
}
