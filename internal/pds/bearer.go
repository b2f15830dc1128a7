package pds

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/atoll-social/atoll/internal/keyring"
)

// Access is what a server has given for acting as an account.
type Access struct {
	// Origin is the server's (scheme://host[:port]); nobody else sees the token.
	Origin string
	Token  keyring.Secret
	// Version is for whoever keeps the token, to tell it from the next; 0 where
	// the token itself does that.
	Version int64
}

// Bearer sends requests with the access token of a password session. It is a
// Doer, safe for concurrent use if HTTP and Access are.
type Bearer struct {
	HTTP Doer
	// Access returns a token that is good now, and another than refused, which
	// the server has just not accepted; refused is zero at first. Its errors are
	// passed on.
	Access func(ctx context.Context, refused Access) (Access, error)
}

// ErrElsewhere refuses a request to another server than the token's.
var ErrElsewhere = errors.New("request is not for the server of the token")

// Do sends req with a token, and once more with another one when the server
// does not accept the first. A body that cannot be had again (req.GetBody is
// nil) is sent once: the refusal is then the answer, and the next request goes
// with the other token.
func (b Bearer) Do(req *http.Request) (*http.Response, error) {
	access, err := b.Access(req.Context(), Access{})
	if err != nil {
		return nil, err
	}
	res, err := b.send(req, access)
	if err != nil || !isTokenRefused(res) {
		return res, err
	}
	if access, err = b.Access(req.Context(), access); err != nil {
		_ = res.Body.Close()
		return nil, err
	}
	again := req.Clone(req.Context())
	switch {
	case req.GetBody != nil:
		if again.Body, err = req.GetBody(); err != nil {
			_ = res.Body.Close()
			return nil, fmt.Errorf("send again: %w", err)
		}
	case req.Body != nil && req.Body != http.NoBody:
		return res, nil
	}
	_ = res.Body.Close()
	return b.send(again, access)
}

func (b Bearer) send(req *http.Request, access Access) (*http.Response, error) {
	if origin := req.URL.Scheme + "://" + req.URL.Host; origin != access.Origin || req.Host != "" && req.Host != req.URL.Host {
		return nil, fmt.Errorf("%w: %s with host %q, not %s", ErrElsewhere, origin, req.Host, access.Origin)
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+access.Token.Reveal())
	return b.HTTP.Do(req)
}

// isTokenRefused reports that the access token is not good any more. What was
// read of the answer for that is put back, up to an error on the way.
func isTokenRefused(res *http.Response) bool {
	if res.StatusCode != http.StatusBadRequest && res.StatusCode != http.StatusUnauthorized {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, maxError))
	rest := io.Reader(res.Body)
	if err != nil {
		rest = failed{err}
	}
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), res.Body}
	var said struct {
		Name string `json:"error"`
	}
	return json.Unmarshal(head, &said) == nil && (said.Name == NameExpiredToken || said.Name == NameInvalidToken)
}

// failed repeats an error that reading ahead met.
type failed struct{ err error }

// Read fails.
func (f failed) Read([]byte) (int, error) { return 0, f.err }
