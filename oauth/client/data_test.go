package client_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

func testKey(t testing.TB) *dpop.Key {
	t.Helper()
	k, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

var someTime = time.Date(2026, 3, 1, 12, 0, 0, 123_000, time.UTC)

func fullSession(t testing.TB) *client.SessionData {
	return &client.SessionData{
		ID: "id", DID: "did:plc:ewvi7nxzyoun6zhxrhs64oiz", Issuer: "https://pds1.test", PDS: "https://pds1.test",
		ClientID: "https://app.atoll-tests.net/x.json", KeyID: "kid", DPoPKey: testKey(t),
		AccessToken: "canary-access", RefreshToken: "canary-refresh", Scope: "atproto",
		TokenEndpoint: "https://pds1.test/oauth/token", RevocationEndpoint: "https://pds1.test/oauth/revoke",
		Version: 3, LeaseOwner: "me", LeaseUntil: someTime, SentUntil: someTime,
		CreatedAt: someTime, UsedAt: someTime, RefreshedAt: someTime, AccessExpiresAt: someTime, RefreshExpiresAt: someTime,
	}
}

func fullAttempt(t testing.TB) *client.Attempt {
	return &client.Attempt{
		State: "canary-state-0123456789", Issuer: "https://pds1.test", RedirectURI: "http://127.0.0.1/", Scope: "atproto",
		KeyID: "kid", Verifier: "canary-verifier", DPoPKey: testKey(t), TokenEndpoint: "https://pds1.test/oauth/token",
		AppState: []byte{0, 1, 255}, CreatedAt: someTime, ExpiresAt: someTime,
	}
}

func TestStoredFormsKeepEverything(t *testing.T) {
	t.Parallel()
	s, a := fullSession(t), fullAttempt(t)
	sameKey := cmp.Comparer((*dpop.Key).Equal)

	written, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var readSession client.SessionData
	if err := readSession.UnmarshalBinary(written); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*s, readSession, sameKey); diff != "" {
		t.Errorf("session (-written +read):\n%s", diff)
	}

	if written, err = a.MarshalBinary(); err != nil {
		t.Fatal(err)
	}
	var readAttempt client.Attempt
	if err := readAttempt.UnmarshalBinary(written); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(*a, readAttempt, sameKey); diff != "" {
		t.Errorf("attempt (-written +read):\n%s", diff)
	}

	for _, bad := range []string{"", "canary", `{"Format":2}`, `{"Format":1,"DPoPKey":{"kty":"EC"}}`} {
		if err := readSession.UnmarshalBinary([]byte(bad)); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("UnmarshalBinary(%q) = %v, want an error that does not quote the input", bad, err)
		}
	}
}

func TestSecretsDoNotShowInText(t *testing.T) {
	t.Parallel()
	s, a := fullSession(t), fullAttempt(t)
	var log bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&log, nil))
	logger.Info("x", "session", s, "attempt", a, "value", *s, "list", []any{s, *a})
	text := log.String()
	for _, v := range []any{s, *s, a, *a, []any{s, a}, struct{ S client.SessionData }{*s}} {
		text += fmt.Sprintf("%v %+v %#v %s %q %x", v, v, v, v, v, v)
	}
	if strings.Contains(text, "canary-access") || strings.Contains(text, "canary-refresh") ||
		strings.Contains(text, "canary-verifier") || strings.Contains(text, a.State) {
		t.Errorf("a secret shows in %s", text)
	}
	for _, v := range []any{s, *s, a, *a} {
		if _, err := json.Marshal(v); !errors.Is(err, client.ErrHoldsSecrets) {
			t.Errorf("json.Marshal(%T) = %v, want ErrHoldsSecrets", v, err)
		}
	}
}
