package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"

	"github.com/atoll-social/atoll/oauth"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/internal/hostile"
)

const (
	resourceDoc = hostile.PDS + "/.well-known/oauth-protected-resource"
	serverDoc   = hostile.Issuer + "/.well-known/oauth-authorization-server"
	parURL      = hostile.Issuer + "/oauth/par"
	tokenURL    = hostile.Issuer + "/oauth/token"
)

// Misbehaviours that any endpoint can show.
func html(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	fmt.Fprint(w, "<html>{}</html>")
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { hostile.JSON(w, code, map[string]string{"a": "b"}) }
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// endless never stops writing, until the client goes.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	chunk := []byte(`{"a":"` + strings.Repeat("x", 64<<10))
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// slow sends a byte and then nothing, until the client goes.
func slow(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte("{"))
	w.(http.Flusher).Flush()
	<-r.Context().Done()
}

func raw(kind, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		fmt.Fprint(w, body)
	}
}

func oauthError(code int, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		hostile.JSON(w, code, map[string]string{"error": text, "error_description": "because"})
	}
}

var everywhere = []struct {
	name   string
	handle http.HandlerFunc
	want   error
}{
	{"HTML", html, client.ErrNotOAuth},
	{"wrong content type", raw("text/plain", "{}"), client.ErrNotOAuth},
	{"no content type", raw("", "{}"), client.ErrNotOAuth},
	{"a list", raw("application/json", "[]"), client.ErrNotOAuth},
	{"null", raw("application/json", "null"), client.ErrNotOAuth},
	{"cut JSON", raw("application/json", `{"issuer":`), client.ErrNotOAuth},
	{"empty", raw("application/json", ""), client.ErrNotOAuth},
	{"deep JSON", raw("application/json", strings.Repeat(`{"a":`, 40_000)), client.ErrNotOAuth},
	{"500", status(500), client.ErrUnreachable},
	{"503 in HTML", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>", http.StatusServiceUnavailable) }, client.ErrUnreachable},
	{"403", status(403), client.ErrNotOAuth},
	{"204", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, client.ErrNotOAuth},
	{"429", status(429), client.ErrRateLimited},
	{"redirect to another host", redirect(hostile.Other + "/x"), client.ErrRedirected},
	{"redirect to the same host", redirect("/x"), client.ErrRedirected},
	{"redirect to a private address", redirect("http://169.254.169.254/latest"), client.ErrRedirected},
	{"endless body", endless, client.ErrNotOAuth},
	{"slow body", slow, client.ErrUnreachable},
}

// TestHostileServersAtTheStart: every document and the pushed request, refused
// with the right error, nothing followed, nothing stored.
func TestHostileServersAtTheStart(t *testing.T) {
	t.Parallel()
	for _, where := range []string{resourceDoc, serverDoc, parURL} {
		for _, c := range everywhere {
			t.Run(where[len("https://"):]+" "+c.name, func(t *testing.T) {
				t.Parallel()
				f := newFixture(t, func(cfg *client.Config) { cfg.Timeout = 300 * time.Millisecond })
				f.net.Override(where, c.handle)
				_, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"})
				var server *client.ServerError
				if !errors.Is(err, c.want) || !errors.As(err, &server) || !strings.HasPrefix(where, server.URL) {
					t.Errorf("Start = %v, want %v of %s", err, c.want, where)
				}
				if f.net.SeenAt(hostile.Other) != 0 {
					t.Error("a redirect was followed")
				}
				if f.attempts.Len() != 0 {
					t.Error("an attempt was stored")
				}
			})
		}
	}
}

// TestDocumentsAreCapped: an honest document with too much behind it.
func TestDocumentsAreCapped(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.net.Override(resourceDoc, func(w http.ResponseWriter, r *http.Request) {
		f.net.Handle(w, r, nil)
		fmt.Fprint(w, strings.Repeat(" ", 300<<10))
	})
	_, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"})
	if !errors.Is(err, client.ErrNotOAuth) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("Start = %v, want ErrNotOAuth that says too large", err)
	}
}

// TestMetadataThatIsNotEnough: S9.
func TestMetadataThatIsNotEnough(t *testing.T) {
	t.Parallel()
	type doc = map[string]any
	set := func(key string, value any) func(doc) { return func(d doc) { d[key] = value } }
	drop := func(key string) func(doc) { return func(d doc) { delete(d, key) } }
	for name, c := range map[string]struct {
		resource, metadata func(doc)
		want               string
	}{
		"no authorization server":          {resource: drop("authorization_servers"), want: "0 authorization servers"},
		"two authorization servers":        {resource: set("authorization_servers", []string{hostile.Issuer, hostile.Other}), want: "2 authorization servers"},
		"the same one twice":               {resource: set("authorization_servers", []string{hostile.Issuer, hostile.Issuer}), want: "2 authorization servers"},
		"authorization server with a path": {resource: set("authorization_servers", []string{hostile.Issuer + "/x"}), want: "more than an origin"},
		"authorization server on http":     {resource: set("authorization_servers", []string{"http://auth.test"}), want: "not https"},
		"authorization server is us":       {resource: set("authorization_servers", []string{"https://127.0.0.1:1"}), want: "this machine"},
		"servers are a string":             {resource: set("authorization_servers", hostile.Issuer), want: "not the JSON expected"},
		"resource is another":              {resource: set("resource", hostile.Other), want: "resource is not the server asked"},
		"issuer is another":                {metadata: set("issuer", hostile.Other), want: "issuer is not"},
		"issuer with a slash":              {metadata: set("issuer", hostile.Issuer+"/"), want: "issuer is not"},
		"issuer missing":                   {metadata: drop("issuer"), want: "issuer is not"},
		"PAR missing":                      {metadata: drop("pushed_authorization_request_endpoint"), want: "pushed_authorization_request_endpoint"},
		"PAR not required":                 {metadata: drop("require_pushed_authorization_requests"), want: "require_pushed"},
		"PAR on loopback":                  {metadata: set("pushed_authorization_request_endpoint", "http://127.0.0.1:9/par"), want: "this machine"},
		"PAR on loopback by name":          {metadata: set("pushed_authorization_request_endpoint", "https://localhost/par"), want: "this machine"},
		"PAR on mapped loopback":           {metadata: set("pushed_authorization_request_endpoint", "https://[::ffff:127.0.0.1]/par"), want: "this machine"},
		"token endpoint on http":           {metadata: set("token_endpoint", "http://auth.test/token"), want: "not https"},
		"token endpoint missing":           {metadata: drop("token_endpoint"), want: "token_endpoint"},
		"authorization endpoint is script": {metadata: set("authorization_endpoint", "javascript:alert(1)"), want: "authorization_endpoint"},
		"authorization with a fragment":    {metadata: set("authorization_endpoint", hostile.Issuer+"/a#b"), want: "fragment"},
		"revocation endpoint on http":      {metadata: set("revocation_endpoint", "http://auth.test/r"), want: "revocation_endpoint"},
		"iss parameter unsupported":        {metadata: set("authorization_response_iss_parameter_supported", false), want: "iss_parameter"},
		"client documents unsupported":     {metadata: drop("client_id_metadata_document_supported"), want: "client_id_metadata"},
		"S256 missing":                     {metadata: set("code_challenge_methods_supported", []string{"plain"}), want: "lacks S256"},
		"ES256 proofs missing":             {metadata: set("dpop_signing_alg_values_supported", []string{"RS256"}), want: "dpop_signing_alg_values_supported lacks ES256"},
		"ES256 assertions missing":         {metadata: drop("token_endpoint_auth_signing_alg_values_supported"), want: "lacks ES256"},
		"private_key_jwt missing":          {metadata: set("token_endpoint_auth_methods_supported", []string{"none"}), want: "lacks private_key_jwt"},
		"atproto missing":                  {metadata: set("scopes_supported", []string{"openid"}), want: "lacks atproto"},
		"code missing":                     {metadata: drop("response_types_supported"), want: "lacks code"},
		"refresh missing":                  {metadata: set("grant_types_supported", []string{"authorization_code"}), want: "lacks refresh_token"},
		"not for this PDS":                 {metadata: set("protected_resources", []string{hostile.Other}), want: "protected_resources"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			f.net.Tweak.Resource, f.net.Tweak.Metadata = c.resource, c.metadata
			_, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"})
			if !errors.Is(err, client.ErrNotOAuth) || !strings.Contains(fmt.Sprint(err), c.want) {
				t.Errorf("Start = %v, want ErrNotOAuth that says %q", err, c.want)
			}
			if f.attempts.Len() != 0 || len(f.net.Seen("/oauth/par")) != 0 {
				t.Error("something was pushed or stored")
			}
		})
	}
}

func TestIdentitiesThatLeadNowhere(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pds  string
		want error
	}{
		"no PDS":              {"", client.ErrNoPDS},
		"PDS on plain http":   {"http://pds1.test", client.ErrNoPDS},
		"PDS on this machine": {"https://[::1]:443", client.ErrNoPDS},
		"PDS with a path":     {hostile.PDS + "/path", client.ErrNoPDS},
		"PDS is no PDS":       {hostile.Other, client.ErrNotOAuth},
		"PDS is not there":    {"https://gone.example", client.ErrUnreachable},
	} {
		f := newFixture(t, nil)
		f.net.Move(hostile.Alice, c.pds)
		if _, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"}); !errors.Is(err, c.want) {
			t.Errorf("%s: Start = %v, want %v", name, err, c.want)
		}
	}
	f := newFixture(t, nil)
	if _, err := f.Start(context.Background(), client.StartParams{Account: "nobody.test"}); !errors.Is(err, identity.ErrDIDNotFound) {
		t.Errorf("Start of nobody = %v, want the directory's error", err)
	}
}

func TestPushedRequestRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handle http.HandlerFunc
		tweak  func(map[string]any)
		want   error
	}{
		"refused":             {oauthError(400, "invalid_scope"), nil, oauth.InvalidScope},
		"client refused":      {oauthError(401, "invalid_client"), nil, oauth.InvalidClient},
		"not now":             {oauthError(503, "temporarily_unavailable"), nil, oauth.TemporarilyUnavailable},
		"nonce without value": {oauthError(400, "use_dpop_nonce"), nil, client.ErrBadNonce},
		"no request_uri":      {nil, func(d map[string]any) { delete(d, "request_uri") }, client.ErrNotOAuth},
		"endless request_uri": {nil, func(d map[string]any) { d["request_uri"] = strings.Repeat("x", 3000) }, client.ErrNotOAuth},
		"request_uri is null": {nil, func(d map[string]any) { d["request_uri"] = nil }, client.ErrNotOAuth},
	} {
		f := newFixture(t, nil)
		if c.handle != nil {
			f.net.Override(parURL, c.handle)
		}
		f.net.Tweak.Push = c.tweak
		if _, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"}); !errors.Is(err, c.want) {
			t.Errorf("%s: Start = %v, want %v", name, err, c.want)
		}
		if f.attempts.Len() != 0 {
			t.Errorf("%s: an attempt was stored", name)
		}
	}
}

// TestNoncePingPong: a server that refuses every nonce with another one gets
// two requests and no more.
func TestNoncePingPong(t *testing.T) {
	t.Parallel()
	count := 0
	pingPong := func(w http.ResponseWriter, r *http.Request) {
		count++
		w.Header().Set("DPoP-Nonce", fmt.Sprintf("nonce-x%d", count))
		if strings.HasPrefix(r.URL.Path, "/xrpc/") {
			w.Header().Set("WWW-Authenticate", `DPoP error="use_dpop_nonce"`)
			hostile.JSON(w, 401, map[string]string{"error": "use_dpop_nonce"})
			return
		}
		oauthError(400, "use_dpop_nonce")(w, r)
	}
	f := newFixture(t, nil)
	f.net.Override(parURL, pingPong)
	_, err := f.Start(context.Background(), client.StartParams{Account: "alice.test"})
	if !errors.Is(err, client.ErrBadNonce) || !errors.Is(err, oauth.UseDPoPNonce) || count != 2 {
		t.Errorf("Start = %v after %d requests, want ErrBadNonce after 2", err, count)
	}
	f.net.Override(parURL, nil)
	s := f.session(t)
	count = 0
	f.net.Override(hostile.PDS+"/xrpc/a.b.c", pingPong)
	if _, err := s.Do(newRequest(t, "GET", hostile.PDS+"/xrpc/a.b.c")); !errors.Is(err, client.ErrBadNonce) || count != 2 {
		t.Errorf("Do = %v after %d requests, want ErrBadNonce after 2", err, count)
	}
}

// TestHostileCallbacks: refused before any token request.
func TestHostileCallbacks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(url.Values)
		want  error
	}{
		"iss missing":          {func(q url.Values) { q.Del("iss") }, client.ErrWrongIssuer},
		"iss empty":            {func(q url.Values) { q.Set("iss", "") }, client.ErrWrongIssuer},
		"iss of another":       {func(q url.Values) { q.Set("iss", hostile.Other) }, client.ErrWrongIssuer},
		"iss with a slash":     {func(q url.Values) { q.Set("iss", hostile.Issuer+"/") }, client.ErrWrongIssuer},
		"iss twice":            {func(q url.Values) { q.Add("iss", hostile.Other) }, client.ErrBadCallback},
		"denied by another":    {func(q url.Values) { q.Set("error", "access_denied"); q.Del("code"); q.Set("iss", hostile.Other) }, client.ErrWrongIssuer},
		"state missing":        {func(q url.Values) { q.Del("state") }, client.ErrUnknownState},
		"state foreign":        {func(q url.Values) { q.Set("state", "x") }, client.ErrUnknownState},
		"state endless":        {func(q url.Values) { q.Set("state", strings.Repeat("x", 5000)) }, client.ErrBadCallback},
		"state twice":          {func(q url.Values) { q.Add("state", "x") }, client.ErrBadCallback},
		"code missing":         {func(q url.Values) { q.Del("code") }, client.ErrBadCallback},
		"code twice":           {func(q url.Values) { q.Add("code", "x") }, client.ErrBadCallback},
		"code endless":         {func(q url.Values) { q.Set("code", strings.Repeat("x", 5000)) }, client.ErrBadCallback},
		"code and error":       {func(q url.Values) { q.Set("error", "access_denied") }, client.ErrBadCallback},
		"another error":        {func(q url.Values) { q.Del("code"); q.Set("error", "server_error") }, oauth.ServerError},
		"an error of rubbish":  {func(q url.Values) { q.Del("code"); q.Set("error", "\x00\n") }, oauth.Code("unknown_error")},
		"error_description x2": {func(q url.Values) { q.Set("error", "x"); q["error_description"] = []string{"a", "b"} }, client.ErrBadCallback},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			q := f.approved(t)
			c.spoil(q)
			if s, _, err := f.Callback(context.Background(), q, nil); s != nil || !errors.Is(err, c.want) {
				t.Errorf("Callback(%.80v) = %v, %v; want %v", q, s, err, c.want)
			}
			if n := len(f.net.Seen("/oauth/token")); n != 0 {
				t.Errorf("%d token requests were sent, want none", n)
			}
			f.nothingStored(t)
		})
	}
}

// TestHostileTokenResponses: refused, whatever was issued is revoked.
func TestHostileTokenResponses(t *testing.T) {
	t.Parallel()
	type doc = map[string]any
	set := func(key string, value any) func(doc) { return func(d doc) { d[key] = value } }
	for name, c := range map[string]struct {
		tweak func(doc)
		want  error
	}{
		"Bearer":                  {set("token_type", "Bearer"), client.ErrTokenType},
		"no token_type":           {set("token_type", nil), client.ErrTokenType},
		"scope without atproto":   {set("scope", "repo:social.coves.community.postv2"), client.ErrNoAtproto},
		"no scope":                {set("scope", nil), client.ErrNoAtproto},
		"scope almost atproto":    {set("scope", "atproto2 xatproto"), client.ErrNoAtproto},
		"endless scope":           {set("scope", "atproto "+strings.Repeat("x", 20_000)), client.ErrTokenResponse},
		"no sub":                  {set("sub", nil), client.ErrTokenResponse},
		"sub is a handle":         {set("sub", "alice.test"), client.ErrTokenResponse},
		"foreign sub":             {set("sub", hostile.Bob.String()), client.ErrWrongSubject},
		"no access token":         {set("access_token", nil), client.ErrTokenResponse},
		"access token not ASCII":  {set("access_token", "a\nb"), client.ErrTokenResponse},
		"endless access token":    {set("access_token", strings.Repeat("a", 17<<10)), client.ErrTokenResponse},
		"endless refresh token":   {set("refresh_token", strings.Repeat("a", 17<<10)), client.ErrTokenResponse},
		"access token is a list":  {set("access_token", []string{"a"}), client.ErrTokenResponse},
		"endless answer":          {set("x", strings.Repeat("a", 300<<10)), client.ErrNotOAuth},
		"expires_in is an object": {set("expires_in", doc{"a": 1}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, nil)
			f.net.Tweak.Token = c.tweak
			s, a, err := f.Callback(context.Background(), f.approved(t), nil)
			if !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("Callback = %v, want %v", err, c.want)
			}
			if err == nil {
				return
			}
			if s != nil || a == nil || f.sessions.Len() != 0 {
				t.Errorf("session %v, attempt %v, %d stored; want the attempt only", s, a, f.sessions.Len())
			}
			// What could be read as a token was revoked; the refresh token, which
			// these responses leave alone, takes the rest along.
			revocable := !errors.Is(err, client.ErrNotOAuth) && name != "access token is a list" && name != "endless refresh token"
			if revocable && f.net.LiveGrants() != 0 {
				t.Errorf("%d tokens are alive at the server, want none", f.net.LiveGrants())
			}
		})
	}
}

// TestTheSubjectMustLeadBackToTheIssuer: S16, by account and by server.
func TestTheSubjectMustLeadBackToTheIssuer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		params client.StartParams
		change func(*hostile.Network)
		want   error
	}{
		"somebody else signed in":       {client.StartParams{Account: "alice.test"}, func(n *hostile.Network) { n.Subject = hostile.Bob }, client.ErrWrongSubject},
		"by server, anybody of it":      {client.StartParams{Server: hostile.Issuer}, func(n *hostile.Network) { n.Subject = hostile.Bob }, nil},
		"by server, of another issuer":  {client.StartParams{Server: hostile.Issuer}, elsewhere, client.ErrWrongSubject},
		"by PDS, of another issuer":     {client.StartParams{Server: hostile.PDS}, elsewhere, client.ErrWrongSubject},
		"by account, moved meanwhile":   {client.StartParams{Account: "alice.test"}, elsewhere, client.ErrWrongSubject},
		"by server, an unknown account": {client.StartParams{Server: hostile.Issuer}, func(n *hostile.Network) { n.Subject = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa" }, identity.ErrDIDNotFound},
		"PDS is down at the end": {client.StartParams{Account: "alice.test"}, func(n *hostile.Network) {
			n.Override(resourceDoc, status(502))
		}, client.ErrUnreachable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, ctx := newFixture(t, nil), context.Background()
			started, err := f.Start(ctx, c.params)
			if err != nil {
				t.Fatal(err)
			}
			c.change(f.net)
			q, err := f.net.Approve(started.URL)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err = f.Callback(ctx, q, nil); !errors.Is(err, c.want) || (err == nil) != (c.want == nil) {
				t.Fatalf("Callback = %v, want %v", err, c.want)
			}
			if err != nil {
				f.nothingStored(t)
			}
		})
	}
}

// elsewhere moves Alice to a PDS that names another issuer.
func elsewhere(n *hostile.Network) {
	n.Move(hostile.Alice, hostile.Other)
	n.Override(hostile.Other+"/.well-known/oauth-protected-resource", func(w http.ResponseWriter, _ *http.Request) {
		hostile.JSON(w, 200, map[string]any{"resource": hostile.Other, "authorization_servers": []string{hostile.Other}})
	})
}

// TestHostileTokenEndpoints: what any endpoint can do wrong, at the exchange.
func TestHostileTokenEndpoints(t *testing.T) {
	t.Parallel()
	for _, c := range everywhere {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(cfg *client.Config) { cfg.Timeout = 300 * time.Millisecond })
			q := f.approved(t)
			f.net.Override(tokenURL, c.handle)
			if s, a, err := f.Callback(context.Background(), q, nil); s != nil || a == nil || !errors.Is(err, c.want) {
				t.Errorf("Callback = %v, %v, %v; want %v", s, a, err, c.want)
			}
			if f.net.SeenAt(hostile.Other) != 0 {
				t.Error("a redirect was followed")
			}
			f.nothingStored(t)
		})
	}
}

// TestLifetimesFromTheServer: expires_in as servers should not write it.
func TestLifetimesFromTheServer(t *testing.T) {
	t.Parallel()
	var clock testClock
	clock.set(someTime)
	for name, c := range map[string]struct {
		value any
		want  time.Duration // -1: unknown
	}{
		"an hour": {3600, time.Hour}, "as text": {"3600", time.Hour}, "a fraction": {1.5, time.Second},
		"missing": {nil, -1}, "zero": {0, -1}, "negative": {-5, -1}, "nonsense": {"soon", -1}, "object": {map[string]any{}, -1},
		"a year": {31_536_000, 24 * time.Hour}, "absurd": {1e300, 24 * time.Hour}, "absurd text": {strings.Repeat("9", 400), 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, func(cfg *client.Config) { cfg.Now = clock.now })
			f.net.Tweak.Token = func(d map[string]any) {
				if d["expires_in"] = c.value; c.value == nil {
					delete(d, "expires_in")
				}
			}
			want := someTime.Add(c.want)
			if c.want < 0 {
				want = time.Time{}
			}
			if got := f.signIn(t).AccessExpiresAt; !got.Equal(want) {
				t.Errorf("expires_in %v: the access token ends at %v, want %v", c.value, got, want)
			}
		})
	}
}

// TestPartialGrantIsStoredAsGranted: S17.
func TestPartialGrantIsStoredAsGranted(t *testing.T) {
	t.Parallel()
	f := newFixture(t, nil)
	f.net.Tweak.Token = func(d map[string]any) { d["scope"] = "atproto" }
	s := f.signIn(t)
	if s.Scope != "atproto" {
		t.Errorf("stored scope = %q, want what was granted", s.Scope)
	}
	needed, err := oauth.ParseScopes(postScope)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Scopes().Missing(needed).String(); got != "repo:social.coves.community.postv2" {
		t.Errorf("missing = %q, want the scope that was not granted", got)
	}
}
