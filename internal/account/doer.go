package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// bearer sends requests with one token.
type bearer struct {
	http  pds.Doer
	token keyring.Secret
}

// Do sends the request.
func (b bearer) Do(req *http.Request) (*http.Response, error) {
	signed := req.Clone(req.Context())
	signed.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.http.Do(signed)
}

// Doer sends requests as a hosted account, with that account's own credential,
// renewed as needed. hosted is false for everybody else's account. The doer's
// errors are *Error for trouble with the credential, and those of the network.
func (m *Manager) Doer(ctx context.Context, did syntax.DID) (d pds.Doer, hosted bool, err error) {
	hosted, err = m.Hosts(ctx, did)
	if err != nil || !hosted {
		return nil, false, err
	}
	return doer{m, did}, true, nil
}

// doer acts as one account.
type doer struct {
	m   *Manager
	did syntax.DID
}

// Do sends the request with the account's access token; one that the PDS calls
// expired is renewed, and the request sent once more.
func (d doer) Do(req *http.Request) (*http.Response, error) {
	t, err := d.m.token(req.Context(), d.did, 0)
	if err != nil {
		return nil, err
	}
	res, err := d.send(req, t)
	if err != nil || !tokenRefused(res) {
		return res, err
	}
	res.Body.Close()
	if t, err = d.m.token(req.Context(), d.did, t.version); err != nil {
		return nil, err
	}
	again := req.Clone(req.Context())
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	return d.send(again, t)
}

// send sends the request to the account's own PDS and to nobody else.
func (d doer) send(req *http.Request, t token) (*http.Response, error) {
	if origin := req.URL.Scheme + "://" + req.URL.Host; origin != t.pds {
		return nil, failure(Settings, fault.Unavailable, fmt.Errorf("request to %s with the credentials of %s for %s", origin, d.did, t.pds),
			"The community's account is not where it is expected to be. The operator of this site sees why, and has to mend it.")
	}
	return bearer{d.m.cfg.HTTP, t.access}.Do(req)
}

// tokenRefused reports that the PDS wants another access token. The body can
// still be read.
func tokenRefused(res *http.Response) bool {
	if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusBadRequest {
		return false
	}
	head, err := io.ReadAll(io.LimitReader(res.Body, 16<<10))
	res.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), errReader{err}, res.Body), res.Body}
	var said struct {
		Name string `json:"error"`
	}
	return json.Unmarshal(head, &said) == nil && (said.Name == pds.NameExpiredToken || said.Name == pds.NameInvalidToken)
}

// errReader repeats an error that reading ahead met; nil reads as nothing.
type errReader struct{ err error }

// Read fails, or ends.
func (e errReader) Read([]byte) (int, error) {
	if e.err != nil && !errors.Is(e.err, io.EOF) {
		return 0, e.err
	}
	return 0, io.EOF
}
