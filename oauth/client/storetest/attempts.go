package storetest

import (
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// Attempts is the suite for a client.AttemptStore.
func Attempts(t *testing.T, open Open[client.AttemptStore]) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, client.AttemptStore, client.AttemptStore){
		"keeps everything":             keepsAttempts,
		"one of many takes it":         takenOnce,
		"what is unknown is not found": unknownAttempt,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			one, other := open(t)
			test(t, one, other)
		})
	}
}

// NewAttempt makes an attempt with every field set.
func NewAttempt(t testing.TB) *client.Attempt {
	t.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	return &client.Attempt{
		State: rand.Text() + rand.Text(), Issuer: "https://auth.example.com", Account: syntax.DID("did:plc:" + rand.Text()[:24]),
		RedirectURI: "https://app.example.com/callback", Scope: "atproto", KeyID: "key-1", Verifier: rand.Text(), DPoPKey: key,
		TokenEndpoint: "https://auth.example.com/token", RevocationEndpoint: "https://auth.example.com/revoke",
		AppState: []byte("state of the application"), Replaces: rand.Text(), CreatedAt: now, ExpiresAt: now.Add(client.AttemptLife),
	}
}

func attemptDifference(want, got *client.Attempt) string {
	return cmp.Diff(want, got, cmp.Comparer(func(a, b *dpop.Key) bool { return a.Thumbprint() == b.Thumbprint() }),
		cmp.Comparer(func(a, b time.Time) bool { return a.Sub(b).Abs() < time.Microsecond }))
}

func keepsAttempts(t *testing.T, one, other client.AttemptStore) {
	a := NewAttempt(t)
	if err := one.Put(t.Context(), a); err != nil {
		t.Fatalf("Put: %v", err)
	}
	want := a.Clone()
	a.Verifier, a.AppState[0] = "changed", 'X'
	got, err := other.Peek(t.Context(), want.State)
	if diff := attemptDifference(want, got); err != nil || diff != "" {
		t.Errorf("Peek (%v), want - got +\n%s", err, diff)
	}
	got, err = other.Take(t.Context(), want.State)
	if diff := attemptDifference(want, got); err != nil || diff != "" {
		t.Errorf("Take (%v), want - got +\n%s", err, diff)
	}
}

func takenOnce(t *testing.T, one, other client.AttemptStore) {
	a := NewAttempt(t)
	if err := one.Put(t.Context(), a); err != nil {
		t.Fatalf("Put: %v", err)
	}
	var took atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		store := [...]client.AttemptStore{one, other}[i%2]
		wg.Go(func() {
			switch _, err := store.Take(t.Context(), a.State); {
			case err == nil:
				took.Add(1)
			case !errors.Is(err, client.ErrNotFound):
				t.Errorf("Take = %v, want nil or ErrNotFound", err)
			}
		})
	}
	wg.Wait()
	if took.Load() != 1 {
		t.Errorf("%d of 16 took the attempt, want one", took.Load())
	}
	if _, err := other.Peek(t.Context(), a.State); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Peek afterwards = %v, want ErrNotFound", err)
	}
}

func unknownAttempt(t *testing.T, one, _ client.AttemptStore) {
	if _, err := one.Peek(t.Context(), "nothing"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Peek = %v, want ErrNotFound", err)
	}
	if _, err := one.Take(t.Context(), "nothing"); !errors.Is(err, client.ErrNotFound) {
		t.Errorf("Take = %v, want ErrNotFound", err)
	}
}
