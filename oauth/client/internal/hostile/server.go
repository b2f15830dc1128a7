package hostile

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-jose/go-jose/v4"
)

// request is a pushed authorization request.
type request struct {
	form       url.Values
	thumbprint string
	subject    syntax.DID
}

// metadata is a document with everything that AT Protocol OAuth demands.
func metadata() map[string]any {
	return map[string]any{
		"issuer":                                           Issuer,
		"authorization_endpoint":                           Issuer + "/oauth/authorize",
		"token_endpoint":                                   Issuer + "/oauth/token",
		"pushed_authorization_request_endpoint":            Issuer + "/oauth/par",
		"revocation_endpoint":                              Issuer + "/oauth/revoke",
		"response_types_supported":                         []string{"code"},
		"grant_types_supported":                            []string{"authorization_code", "refresh_token"},
		"scopes_supported":                                 []string{"atproto", "transition:generic"},
		"code_challenge_methods_supported":                 []string{"S256"},
		"token_endpoint_auth_methods_supported":            []string{"none", "private_key_jwt"},
		"token_endpoint_auth_signing_alg_values_supported": []string{"ES256"},
		"dpop_signing_alg_values_supported":                []string{"ES256"},
		"require_pushed_authorization_requests":            true,
		"authorization_response_iss_parameter_supported":   true,
		"client_id_metadata_document_supported":            true,
		"protected_resources":                              []string{PDS, PDS2},
	}
}

// refusal is an error answer of OAuth.
type refusal struct {
	status            int
	code, description string
}

func (r *refusal) Error() string { return r.code + ": " + r.description }

func (n *Network) push(w http.ResponseWriter, r *http.Request, form url.Values) {
	thumbprint, err := n.client(w, r, form)
	switch {
	case err != nil:
	case form.Get("response_type") != "code":
		err = &refusal{400, "unsupported_response_type", ""}
	case form.Get("code_challenge_method") != "S256" || len(form.Get("code_challenge")) != 43:
		err = &refusal{400, "invalid_request", "code_challenge"}
	case len(form.Get("state")) < 22:
		err = &refusal{400, "invalid_request", "state"}
	case form.Get("redirect_uri") == "":
		err = &refusal{400, "invalid_request", "redirect_uri"}
	case !slices.Contains(strings.Fields(form.Get("scope")), "atproto"):
		err = &refusal{400, "invalid_scope", ""}
	}
	if refuse(w, err) {
		return
	}
	ref := "urn:ietf:params:oauth:request_uri:" + random()
	n.mu.Lock()
	n.pushed[ref] = &request{form: form, thumbprint: thumbprint}
	n.mu.Unlock()
	answer := map[string]any{"request_uri": ref, "expires_in": 300}
	if n.Tweak.Push != nil {
		n.Tweak.Push(answer)
	}
	JSON(w, http.StatusCreated, answer)
}

// Approve plays the browser and a member who agrees: it returns the query of
// the callback. The authorize URL must hold two parameters and no more.
func (n *Network) Approve(authorize string) (url.Values, error) {
	req, err := n.open(authorize)
	if err != nil {
		return nil, err
	}
	code := random()
	n.mu.Lock()
	defer n.mu.Unlock()
	req.subject = n.Subject
	n.codes[code] = req
	return url.Values{"code": {code}, "state": {req.form.Get("state")}, "iss": {Issuer}}, nil
}

// Deny plays a member who says no.
func (n *Network) Deny(authorize string) (url.Values, error) {
	req, err := n.open(authorize)
	if err != nil {
		return nil, err
	}
	return url.Values{"error": {"access_denied"}, "state": {req.form.Get("state")}, "iss": {Issuer}}, nil
}

func (n *Network) open(authorize string) (*request, error) {
	u, err := url.Parse(authorize)
	if err != nil {
		return nil, err
	}
	q := u.Query()
	if u.Scheme+"://"+u.Host+u.Path != Issuer+"/oauth/authorize" || len(q) != 2 {
		return nil, fmt.Errorf("authorize URL has more than client_id and request_uri: %s", authorize)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	req := n.pushed[q.Get("request_uri")]
	if req == nil || req.form.Get("client_id") != q.Get("client_id") {
		return nil, errors.New("unknown request_uri")
	}
	delete(n.pushed, q.Get("request_uri"))
	return req, nil
}

func (n *Network) token(w http.ResponseWriter, r *http.Request, form url.Values) {
	thumbprint, err := n.client(w, r, form)
	if refuse(w, err) {
		return
	}
	var answer map[string]any
	switch form.Get("grant_type") {
	case "authorization_code":
		answer, err = n.redeem(form, thumbprint)
	case "refresh_token":
		answer, err = n.rotate(form, thumbprint)
	default:
		err = &refusal{400, "unsupported_grant_type", ""}
	}
	if refuse(w, err) {
		return
	}
	if n.Tweak.Token != nil {
		n.Tweak.Token(answer)
	}
	w.Header().Set("Cache-Control", "no-store")
	JSON(w, http.StatusOK, answer)
}

func (n *Network) redeem(form url.Values, thumbprint string) (map[string]any, error) {
	challenge := sha256.Sum256([]byte(form.Get("code_verifier")))
	n.mu.Lock()
	defer n.mu.Unlock()
	req := n.codes[form.Get("code")]
	delete(n.codes, form.Get("code"))
	switch {
	case req == nil:
		return nil, &refusal{400, "invalid_grant", "code unknown or used"}
	case req.thumbprint != thumbprint:
		return nil, &refusal{400, "invalid_grant", "another proof key"}
	case req.form.Get("client_id") != form.Get("client_id") || req.form.Get("redirect_uri") != form.Get("redirect_uri"):
		return nil, &refusal{400, "invalid_grant", "another client or redirect"}
	case len(form.Get("code_verifier")) < 43 || base64.RawURLEncoding.EncodeToString(challenge[:]) != req.form.Get("code_challenge"):
		return nil, &refusal{400, "invalid_grant", "code_verifier"}
	}
	grant := &Grant{
		Subject: req.subject, ClientID: form.Get("client_id"), Thumbprint: thumbprint,
		Scope: req.form.Get("scope"), KeyID: keyID(form),
	}
	return n.issue(grant), nil
}

// keyID is the client key that a request was authenticated with.
func keyID(form url.Values) string {
	jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return ""
	}
	return jws.Signatures[0].Header.KeyID
}

// issue makes the tokens of a grant; those before are dead.
func (n *Network) issue(g *Grant) map[string]any {
	for token, other := range n.access {
		if other == g {
			delete(n.access, token)
		}
	}
	life := n.Life
	if life == 0 {
		life = time.Hour
	}
	now := n.now()
	access, refresh := "access-"+random(), "refresh-"+random()
	n.access[access], n.refresh[refresh] = g, g
	g.ends, g.turned = now.Add(life), now
	g.answer = map[string]any{
		"access_token": access, "token_type": "DPoP", "refresh_token": refresh,
		"expires_in": int(life.Seconds()), "scope": g.Scope, "sub": g.Subject.String(),
	}
	return maps.Clone(g.answer)
}

// rotate is a refresh (RFC 6749, 6): each token works once. One that shows up
// again ends the session, as at official servers, unless Grace says otherwise.
func (n *Network) rotate(form url.Values, thumbprint string) (map[string]any, error) {
	token := form.Get("refresh_token")
	n.mu.Lock()
	defer n.mu.Unlock()
	g, again := n.refresh[token], false
	if g == nil {
		if g, again = n.used[token]; g == nil {
			return nil, &refusal{400, "invalid_grant", "Invalid refresh token"}
		}
	}
	var err error
	switch {
	case g.ClientID != form.Get("client_id"):
		err = &refusal{400, "invalid_grant", "Token was not issued to this client"}
	case g.Thumbprint != thumbprint:
		err = &refusal{400, "invalid_grant", "DPoP proof does not match the expected JKT"}
	case g.KeyID != keyID(form):
		err = &refusal{400, "invalid_grant", "The session was initiated with a different key than the client assertion currently used"}
	case again && n.Grace > 0 && n.now().Sub(g.turned) <= n.Grace:
		return maps.Clone(g.answer), nil
	case again:
		err = &refusal{400, "invalid_grant", "Refresh token replayed"}
	}
	if err != nil {
		n.drop(g)
		return nil, err
	}
	delete(n.refresh, token)
	n.used[token] = g
	n.rotations++
	return n.issue(g), nil
}

// drop ends a grant and forgets its tokens.
func (n *Network) drop(g *Grant) {
	for _, tokens := range []map[string]*Grant{n.access, n.refresh, n.used} {
		for token, other := range tokens {
			if other == g {
				delete(tokens, token)
			}
		}
	}
}

// EndSessions ends all sessions, as members do in their settings.
func (n *Network) EndSessions() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.access)
	clear(n.refresh)
	clear(n.used)
}

// Rotations returns how often a refresh token was exchanged for new tokens.
func (n *Network) Rotations() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.rotations
}

// Refreshes returns the refresh requests that arrived, whatever became of them,
// without those that were asked for a nonce.
func (n *Network) Refreshes() []Seen {
	var out []Seen
	for _, s := range n.Seen("/oauth/token") {
		if s.Form.Get("grant_type") == "refresh_token" && s.Host == strings.TrimPrefix(Issuer, "https://") {
			out = append(out, s)
		}
	}
	return out
}

// SetStatus makes an account inactive: deactivated, suspended, takendown,
// deleted. Empty makes it active.
func (n *Network) SetStatus(did syntax.DID, status string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.statuses[did] = status
}

// status answers com.atproto.sync.getRepoStatus.
func (n *Network) status(w http.ResponseWriter, r *http.Request) {
	did := syntax.DID(r.URL.Query().Get("did"))
	n.mu.Lock()
	_, known := n.accounts[did]
	status := n.statuses[did]
	n.mu.Unlock()
	switch {
	case !known || status == "deleted":
		JSON(w, http.StatusBadRequest, map[string]any{"error": "RepoNotFound", "message": "Could not find repo"})
	case status != "":
		JSON(w, http.StatusOK, map[string]any{"did": did, "active": false, "status": status})
	default:
		JSON(w, http.StatusOK, map[string]any{"did": did, "active": true})
	}
}

func (n *Network) revoke(w http.ResponseWriter, r *http.Request, form url.Values) {
	if _, err := n.client(w, r, form); refuse(w, err) {
		return
	}
	token := form.Get("token")
	n.mu.Lock()
	n.revoked = append(n.revoked, token)
	if g := n.refresh[token]; g != nil { // a refresh token takes its access tokens along
		n.drop(g)
	}
	delete(n.refresh, token)
	delete(n.access, token)
	n.mu.Unlock()
	JSON(w, http.StatusOK, map[string]any{})
}

// client authenticates a client and its proof at an endpoint of the
// authorization server; it returns the proof key's thumbprint.
func (n *Network) client(w http.ResponseWriter, r *http.Request, form url.Values) (string, error) {
	thumbprint, err := n.proof(w, r, "")
	if err != nil {
		return "", err
	}
	id := form.Get("client_id")
	if strings.HasPrefix(id, "http://localhost") {
		if form.Has("client_assertion") {
			return "", &refusal{401, "invalid_client", "a public client with an assertion"}
		}
		return thumbprint, nil
	}
	return thumbprint, n.assertion(id, form)
}

// assertion checks private_key_jwt (RFC 7523, 3).
func (n *Network) assertion(id string, form url.Values) error {
	bad := func(why string) error { return &refusal{401, "invalid_client", why} }
	if form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" || n.JWKS == nil {
		return bad("no assertion")
	}
	text, err := n.JWKS()
	if err != nil {
		return bad(err.Error())
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal(text, &set); err != nil {
		return bad(err.Error())
	}
	jws, err := jose.ParseSignedCompact(form.Get("client_assertion"), []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return bad(err.Error())
	}
	keys := set.Key(jws.Signatures[0].Header.KeyID)
	if len(keys) != 1 || !keys[0].IsPublic() {
		return bad("kid is not published")
	}
	payload, err := jws.Verify(keys[0])
	if err != nil {
		return bad(err.Error())
	}
	var c struct {
		Iss, Sub, Aud, Jti string
		Iat, Exp           int64
	}
	now := n.now().Add(n.ClockOffset)
	switch {
	case json.Unmarshal(payload, &c) != nil:
		return bad("claims")
	case c.Iss != id || c.Sub != id:
		return bad("iss or sub")
	case c.Aud != Issuer:
		return bad("aud is not the issuer")
	case n.Timed && (now.Unix() > c.Exp || now.Add(time.Minute).Unix() < c.Iat):
		return bad("assertion is not of this time")
	case c.Exp-c.Iat > 300 || c.Exp <= c.Iat:
		return bad("lives too long")
	case !n.once(c.Jti):
		return bad("jti")
	}
	return nil
}

// proof checks a DPoP proof (RFC 9449, 4.3) and gives a nonce with the answer.
func (n *Network) proof(w http.ResponseWriter, r *http.Request, token string) (string, error) {
	current, previous := n.nonces() // one moment for the answer and the check
	w.Header().Set("DPoP-Nonce", current)
	bad := func(why string) error { return &refusal{400, "invalid_dpop_proof", why} }
	headers := r.Header.Values("DPoP")
	if len(headers) != 1 {
		return "", bad("not one proof")
	}
	jws, err := jose.ParseSignedCompact(headers[0], []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		return "", bad(err.Error())
	}
	head := jws.Signatures[0].Protected
	if head.ExtraHeaders[jose.HeaderType] != "dpop+jwt" || head.JSONWebKey == nil || !head.JSONWebKey.IsPublic() {
		return "", bad("header")
	}
	payload, err := jws.Verify(head.JSONWebKey)
	if err != nil {
		return "", bad(err.Error())
	}
	var c struct {
		Jti, Htm, Htu, Ath, Nonce string
		Iat                       int64
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return "", bad("claims")
	}
	want := ""
	if token != "" {
		sum := sha256.Sum256([]byte(token))
		want = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	now := n.now().Add(n.ClockOffset).Unix()
	switch {
	case n.Timed && (c.Iat < now-60 || c.Iat > now+60):
		return "", bad(`"iat" claim timestamp check failed`)
	case c.Htm != r.Method || c.Htu != "https://"+r.Host+r.URL.Path:
		return "", bad("htm or htu")
	case c.Ath != want:
		return "", bad("ath")
	case c.Nonce != current && c.Nonce != previous:
		return "", &refusal{400, "use_dpop_nonce", "nonce"}
	case len(c.Jti) < 16 || !n.once(c.Jti):
		return "", bad("jti")
	}
	sum, err := head.JSONWebKey.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", bad("thumbprint")
	}
	return base64.RawURLEncoding.EncodeToString(sum), nil
}

// resource answers calls with an access token; the body says whose it is.
func (n *Network) resource(w http.ResponseWriter, r *http.Request) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	challenge := func(code, description string) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`DPoP algs="ES256", error="%s", error_description="%s"`, code, strings.ReplaceAll(description, `"`, "")))
		JSON(w, http.StatusUnauthorized, map[string]string{"error": code, "message": description})
	}
	if scheme != "DPoP" {
		challenge("invalid_token", "not of scheme DPoP")
		return
	}
	thumbprint, err := n.proof(w, r, token)
	var no *refusal
	if errors.As(err, &no) {
		challenge(no.code, no.description)
		return
	}
	n.mu.Lock()
	grant := n.access[token]
	n.mu.Unlock()
	if grant == nil || grant.Thumbprint != thumbprint {
		challenge("invalid_token", "Invalid token")
		return
	}
	if !n.now().Before(grant.ends) {
		challenge("invalid_token", `"exp" claim timestamp check failed`)
		return
	}
	JSON(w, http.StatusOK, map[string]string{"did": grant.Subject.String()})
}

// refuse writes an error answer.
func refuse(w http.ResponseWriter, err error) bool {
	var no *refusal
	if errors.As(err, &no) {
		JSON(w, no.status, map[string]string{"error": no.code, "error_description": no.description})
	}
	return err != nil
}

// nonces counts a proof and returns the nonces that are good now.
func (n *Network) nonces() (current, previous string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proofs++; n.NonceEvery > 0 && n.proofs%n.NonceEvery == 0 {
		n.nonce++
	}
	return fmt.Sprintf("nonce-%d", n.nonce), fmt.Sprintf("nonce-%d", n.nonce-1)
}

// once reports whether an id was not used before.
func (n *Network) once(id string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if id == "" || n.jtis[id] {
		return false
	}
	n.jtis[id] = true
	return true
}

func random() string { return rand.Text() }
