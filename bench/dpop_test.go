package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/memstore"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const (
	proofURL    = "https://pds1.test/xrpc/com.atproto.repo.createRecord"
	accessToken = "eyJhbGciOiJFUzI1NksiLCJ0eXAiOiJhdCtqd3QifQ.an-access-token-of-an-official-server-has-some-400-bytes"
)

// BenchmarkProof measures making and checking a proof beside the signature and
// the verification that each contains, on P-256.
func BenchmarkProof(b *testing.B) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(b, err)
	digest := sha256.Sum256([]byte("what a proof would sign"))
	signature, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
	must(b, err)
	key, err := dpop.NewKey()
	must(b, err)
	request := dpop.Proof{Method: http.MethodPost, URL: proofURL, Time: time.Now(), AccessToken: accessToken, Nonce: "nonce-of-an-official-server-43-characters-xx"}

	b.Run("make/raw-sign", func(b *testing.B) {
		for b.Loop() {
			_, err := ecdsa.SignASN1(rand.Reader, private, digest[:])
			must(b, err)
		}
	})
	b.Run("make/proof", func(b *testing.B) {
		for b.Loop() {
			_, err := key.Sign(request)
			must(b, err)
		}
	})
	b.Run("check/raw-verify", func(b *testing.B) {
		for b.Loop() {
			if !ecdsa.VerifyASN1(&private.PublicKey, digest[:], signature) {
				b.Fatal("wrong signature")
			}
		}
	})
	b.Run("check/proof", func(b *testing.B) { benchmarkCheck(b, key, request) })
	b.Run("key/parse", func(b *testing.B) {
		text, err := key.PrivateJWK()
		must(b, err)
		for b.Loop() {
			_, err := dpop.ParseKey(text)
			must(b, err)
		}
	})
}

// benchmarkCheck checks one proof again and again: that it was used before is
// found out last, after all the work.
func benchmarkCheck(b *testing.B, key *dpop.Key, request dpop.Proof) {
	checker, err := dpop.NewChecker(dpop.CheckerConfig{
		Replays: dpop.NewReplays(1 << 20), MaxAge: time.Hour, Nonce: func(string, time.Time) bool { return true },
	})
	must(b, err)
	text, err := key.Sign(request)
	must(b, err)
	expect := dpop.Expect{Method: request.Method, URL: proofURL, AccessToken: accessToken, Thumbprint: key.Thumbprint()}
	for b.Loop() {
		if _, err := checker.Check([]string{text}, expect); err != nil && !errors.Is(err, dpop.ErrReplayed) {
			b.Fatal(err)
		}
	}
}

// BenchmarkCall measures a call with a session beside the same call without,
// over one kept connection on loopback, the session read from its store each
// time.
func BenchmarkCall(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set(dpop.NonceHeader, "nonce-of-an-official-server-43-characters-xx")
		fmt.Fprint(w, `{}`)
	}))
	b.Cleanup(server.Close)
	c, sessions := benchClient(b, server)
	key, err := dpop.NewKey()
	must(b, err)
	data := &client.SessionData{
		ID: "s", DID: "did:plc:ewvi7nxzyoun6zhxrhs64oiz", Issuer: server.URL, PDS: server.URL,
		DPoPKey: key, AccessToken: accessToken, Scope: "atproto",
	}
	must(b, sessions.Save(context.Background(), data))
	target := server.URL + "/xrpc/com.atproto.repo.createRecord"
	read := func(resp *http.Response, err error) {
		must(b, err)
		_, err = io.Copy(io.Discard, resp.Body)
		must(b, err)
		must(b, resp.Body.Close())
	}
	b.Run("plain", func(b *testing.B) {
		for b.Loop() {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target, http.NoBody)
			must(b, err)
			read(server.Client().Do(req))
		}
	})
	b.Run("session", func(b *testing.B) {
		for b.Loop() {
			req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, target, http.NoBody)
			must(b, err)
			s, err := c.Session(context.Background(), "s")
			must(b, err)
			read(s.Do(req))
		}
	})
}

func benchClient(b *testing.B, server *httptest.Server) (*client.Client, *memstore.Sessions) {
	sessions := memstore.NewSessions()
	c, err := client.New(client.Config{
		RedirectURIs: []string{"http://127.0.0.1/"}, Scope: "atproto", AllowLoopback: true,
		HTTP: server.Client(), Directory: nobody{}, Sessions: sessions,
	})
	must(b, err)
	return c, sessions
}

type nobody struct{}

func (nobody) Lookup(context.Context, syntax.AtIdentifier) (*identity.Identity, error) {
	return nil, identity.ErrDIDNotFound
}

func must(b *testing.B, err error) {
	if err != nil {
		b.Helper()
		b.Fatal(err)
	}
}
