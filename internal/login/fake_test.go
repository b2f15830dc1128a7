package login_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"
)

const (
	alice = syntax.DID("did:plc:alice234567abcdefghijklm")
	bob   = syntax.DID("did:plc:bob2345672345abcdefghijk")
)

// pds is a PDS with its authorization server, after the specifications of AT
// Protocol OAuth, RFC 7636, 7009, 9126, 9207 and 9449. Its pages are not there:
// approve and decline say what their buttons would do. Fields set before the
// first request make it misbehave.
type pds struct {
	*httptest.Server
	t *testing.T

	subject   string            // sub of the tokens; empty: who was asked for
	issuer    string            // iss of callbacks; empty: its own
	tokenType string            // empty: DPoP
	scope     string            // empty: what was asked for
	fail      map[string]string // path → "html", "500" or "429"

	mu      sync.Mutex
	members map[string]syntax.DID // by login_hint
	pushed  map[string]url.Values // by request_uri
	codes   map[string]url.Values // what was pushed, by code
	calls   map[string]int        // by path
	issued  []string              // refresh tokens
	ended   map[string]bool       // revoked tokens
}

func newPDS(t *testing.T) *pds {
	t.Helper()
	p := &pds{t: t, pushed: map[string]url.Values{}, codes: map[string]url.Values{}, calls: map[string]int{},
		ended: map[string]bool{}, fail: map[string]string{}, members: map[string]syntax.DID{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/oauth-protected-resource", p.resource)
	mux.HandleFunc("GET /.well-known/oauth-authorization-server", p.metadata)
	mux.HandleFunc("POST /oauth/par", p.withNonce(p.push))
	mux.HandleFunc("POST /oauth/token", p.withNonce(p.token))
	mux.HandleFunc("POST /oauth/revoke", p.withNonce(p.revoke))
	p.Server = httptest.NewServer(p.trouble(mux))
	t.Cleanup(p.Close)
	return p
}

// trouble answers instead of next where fail says so, and counts.
func (p *pds) trouble(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.calls[r.URL.Path]++
		how := p.fail[r.URL.Path]
		p.mu.Unlock()
		switch how {
		case "html":
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<!doctype html><title>Welcome</title>"))
		case "429":
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(http.StatusTooManyRequests)
		case "500":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

func (p *pds) count(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls[path]
}

func (p *pds) resource(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"resource": p.URL, "authorization_servers": []string{p.URL}})
}

func (p *pds) metadata(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/oauth/authorize", "token_endpoint": p.URL + "/oauth/token",
		"pushed_authorization_request_endpoint": p.URL + "/oauth/par", "revocation_endpoint": p.URL + "/oauth/revoke",
		"response_types_supported": []string{"code"}, "grant_types_supported": []string{"authorization_code", "refresh_token"},
		"scopes_supported": []string{"atproto"}, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported":            []string{"none", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"ES256"}, "dpop_signing_alg_values_supported": []string{"ES256"},
		"require_pushed_authorization_requests": true, "authorization_response_iss_parameter_supported": true,
		"client_id_metadata_document_supported": true,
	})
}

const nonce = "nonce-of-the-day"

// withNonce demands a proof with the server's nonce (RFC 9449, 8), as far as
// can be seen without checking its signature.
func (p *pds) withNonce(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("DPoP-Nonce", nonce)
		parts := strings.Split(r.Header.Get("DPoP"), ".")
		if len(parts) != 3 {
			reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_dpop_proof"})
			return
		}
		var claims struct{ Nonce, HTM, HTU string }
		payload, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err != nil || json.Unmarshal(payload, &claims) != nil || claims.HTM != r.Method || claims.HTU != p.URL+r.URL.Path {
			reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_dpop_proof"})
			return
		}
		if claims.Nonce != nonce {
			reply(w, http.StatusBadRequest, map[string]string{"error": "use_dpop_nonce"})
			return
		}
		if err := r.ParseForm(); err != nil {
			p.t.Errorf("form: %v", err)
		}
		next(w, r)
	}
}

func (p *pds) push(w http.ResponseWriter, r *http.Request) {
	for _, name := range []string{"client_id", "redirect_uri", "scope", "state", "code_challenge"} {
		if r.PostForm.Get(name) == "" {
			reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "error_description": "lacks " + name})
			return
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	reference := "urn:ietf:params:oauth:request_uri:" + r.PostForm.Get("state")[:22]
	p.pushed[reference] = r.PostForm
	reply(w, http.StatusCreated, map[string]any{"request_uri": reference, "expires_in": 300})
}

// asked returns what was pushed for an authorize URL.
func (p *pds) asked(authorizeURL string) url.Values {
	p.t.Helper()
	u, err := url.Parse(authorizeURL)
	if err != nil || !strings.HasPrefix(authorizeURL, p.URL+"/oauth/authorize?") {
		p.t.Fatalf("authorize URL %q is not at %s (%v)", authorizeURL, p.URL, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, ok := p.pushed[u.Query().Get("request_uri")]
	if !ok {
		p.t.Fatalf("request %q was not pushed", u.Query().Get("request_uri"))
	}
	return asked
}

func (p *pds) iss() string {
	if p.issuer != "" {
		return p.issuer
	}
	return p.URL
}

// approve is the member pressing "Authorize": the callback's query.
func (p *pds) approve(authorizeURL string) url.Values {
	p.t.Helper()
	asked := p.asked(authorizeURL)
	code := "code-" + asked.Get("state")
	p.mu.Lock()
	p.codes[code] = asked
	p.mu.Unlock()
	return url.Values{"code": {code}, "state": asked["state"], "iss": {p.iss()}}
}

// decline is the member pressing "Deny access".
func (p *pds) decline(authorizeURL string) url.Values {
	p.t.Helper()
	return url.Values{"error": {"access_denied"}, "state": p.asked(authorizeURL)["state"], "iss": {p.iss()}}
}

func (p *pds) token(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	asked, ok := p.codes[r.PostForm.Get("code")]
	delete(p.codes, r.PostForm.Get("code"))
	challenge := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	if !ok || base64.RawURLEncoding.EncodeToString(challenge[:]) != asked.Get("code_challenge") || r.PostForm.Get("redirect_uri") != asked.Get("redirect_uri") {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	refresh := "canary-refresh-" + asked.Get("state")
	p.issued = append(p.issued, refresh)
	body := map[string]any{"access_token": "canary-access-" + asked.Get("state"), "refresh_token": refresh, "expires_in": 3600,
		"token_type": "DPoP", "scope": asked.Get("scope"), "sub": p.members[asked.Get("login_hint")]}
	for name, value := range map[string]string{"token_type": p.tokenType, "scope": p.scope, "sub": p.subject} {
		if value != "" {
			body[name] = value
		}
	}
	reply(w, http.StatusOK, body)
}

func (p *pds) revoke(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended[r.PostForm.Get("token")] = true
	w.WriteHeader(http.StatusOK)
}

// live returns how many of the issued sessions have not been revoked.
func (p *pds) live() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, token := range p.issued {
		if !p.ended[token] {
			n++
		}
	}
	return n
}

func reply(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// directory knows accounts by DID and by handle.
type directory struct {
	mu       sync.Mutex
	accounts map[syntax.AtIdentifier]*sdk.Identity
	errs     map[syntax.AtIdentifier]error
	looked   int   // look-ups of DIDs
	line     *line // to it
}

func (d *directory) add(did syntax.DID, handle syntax.Handle, pds string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	found := &sdk.Identity{DID: did, Handle: handle,
		Services: map[string]sdk.ServiceEndpoint{"atproto_pds": {Type: "AtprotoPersonalDataServer", URL: pds}}}
	d.accounts[did.AtIdentifier()], d.accounts[handle.AtIdentifier()] = found, found
}

func (d *directory) Lookup(ctx context.Context, id syntax.AtIdentifier) (*sdk.Identity, error) {
	if err := d.line.wait(ctx); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.errs[id]; err != nil {
		return nil, err
	}
	found, ok := d.accounts[id]
	if !ok {
		return nil, sdk.ErrDIDNotFound
	}
	return found, nil
}

func (d *directory) LookupDID(ctx context.Context, did syntax.DID) (*sdk.Identity, error) {
	d.mu.Lock()
	d.looked++
	d.mu.Unlock()
	return d.Lookup(ctx, did.AtIdentifier())
}
