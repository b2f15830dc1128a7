package network_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/atoll-social/atoll/test/network"
)

// The least of an OAuth client that a PDS accepts, written here by hand so that the network's tests depend on none of ours.

// proof makes a DPoP proof (RFC 9449, section 4.2).
func proof(t *testing.T, key *ecdsa.PrivateKey, method, target, nonce string) string {
	t.Helper()
	claims := map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "iat": time.Now().Unix()}
	if nonce != "" {
		claims["nonce"] = nonce
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	opts := (&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// authorizeURL pushes an authorization request (RFC 9126) and returns the address for the browser.
func authorizeURL(t *testing.T, n *network.Network, server, clientID, redirect string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	challenge := sha256.Sum256([]byte(rand.Text()))
	form := url.Values{
		"client_id": {clientID}, "redirect_uri": {redirect}, "response_type": {"code"}, "scope": {"atproto"},
		"state": {"state-of-" + redirect}, "code_challenge_method": {"S256"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])},
	}
	target, nonce := server+"/oauth/par", ""
	for range 2 { // the first answer only brings the nonce
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("DPoP", proof(t, key, http.MethodPost, target, nonce))
		resp, err := n.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		var pushed struct {
			RequestURI string `json:"request_uri"`
		}
		if resp.StatusCode == http.StatusCreated && json.Unmarshal(body, &pushed) == nil {
			return server + "/oauth/authorize?" + url.Values{"client_id": {clientID}, "request_uri": {pushed.RequestURI}}.Encode()
		}
		if nonce != "" {
			t.Fatalf("pushed authorization request: status %d: %s", resp.StatusCode, body)
		}
		nonce = resp.Header.Get("DPoP-Nonce")
	}
	t.Fatal("no nonce")
	return ""
}

const (
	loopbackRedirect = "http://127.0.0.1/callback"
	loopbackClient   = "http://localhost?redirect_uri=http%3A%2F%2F127.0.0.1%2Fcallback&scope=atproto"
)

func TestSignInAndDecline(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	for i, pds := range n.PDS {
		t.Run(pds.URL, func(t *testing.T) {
			t.Parallel()
			a := n.NewAccount(t, i)
			back, err := n.SignIn(t.Context(), authorizeURL(t, n, pds.URL, loopbackClient, loopbackRedirect), a)
			checkRedirect(t, back, err, "code", "", pds.URL)
			back, err = n.Decline(t.Context(), authorizeURL(t, n, pds.URL, loopbackClient, loopbackRedirect), a)
			checkRedirect(t, back, err, "error", "access_denied", pds.URL)
		})
	}
}

func checkRedirect(t *testing.T, redirect string, err error, parameter, want, issuer string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(redirect)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	got := q.Get(parameter)
	if got == "" || want != "" && got != want {
		t.Errorf("redirect %s: parameter %s is %q, want %q", redirect, parameter, got, want)
	}
	if q.Get("iss") != issuer || q.Get("state") != "state-of-"+loopbackRedirect {
		t.Errorf("redirect %s: want issuer %s and the state sent", redirect, issuer)
	}
}

func TestWrongPasswordIsAnError(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	a := n.NewAccount(t, 0)
	a.Password = "something else"
	_, err := n.SignIn(t.Context(), authorizeURL(t, n, n.PDS[0].URL, loopbackClient, loopbackRedirect), a)
	if err == nil || !strings.Contains(err.Error(), "sign-in") {
		t.Errorf("sign in with a wrong password: got %v, want an error of the sign-in step", err)
	}
}

// The PDS fetches the metadata of an application that exists only by MapHost, and stops finding it when it is gone.
func TestPDSFetchesMappedClientMetadata(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	app := network.AppHost()
	client, redirect := "https://"+app+"/client.json", "https://"+app+"/callback"
	serve(t, n, app, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != app || r.URL.Path != "/client.json" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{
			"client_id": client, "redirect_uris": []string{redirect}, "scope": "atproto", "application_type": "web",
			"grant_types": []string{"authorization_code", "refresh_token"}, "response_types": []string{"code"},
			"token_endpoint_auth_method": "none", "dpop_bound_access_tokens": true,
		})
	})
	back, err := n.SignIn(t.Context(), authorizeURL(t, n, n.PDS[1].URL, client, redirect), n.NewAccount(t, 1))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(back, redirect+"?") || !strings.Contains(back, "code=") {
		t.Errorf("redirect: got %s, want %s with a code", back, redirect)
	}
}
