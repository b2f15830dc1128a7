// Package bench measures what has to be fast, each beside a baseline of the
// same run.
package bench

import (
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

// BenchmarkSessionLookup is what every request of a signed-in browser costs
// before anything else: from the cookie's value to the device and its accounts.
// The baseline is a point read by primary key of the same run.
func BenchmarkSessionLookup(b *testing.B) {
	for _, engine := range []store.Engine{store.SQLite, store.Postgres} {
		b.Run(string(engine), func(b *testing.B) {
			db := storetest.New(b, engine)
			manager, tokens := signedIn(b, db, 1000)
			b.Run("baseline_read", func(b *testing.B) { readByKey(b, db) })
			b.Run("device", func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					if _, ok, err := manager.Device(b.Context(), tokens[n%len(tokens)]); !ok || err != nil {
						b.Fatalf("look up a device: %t, %v", ok, err)
					}
				}
			})
		})
	}
}

func readByKey(b *testing.B, db *store.DB) {
	b.ReportAllocs()
	for b.Loop() {
		var n int
		err := db.Read().QueryRowContext(b.Context(), `SELECT count(*) FROM key_check WHERE id = $1`, int64(1)).Scan(&n)
		if err != nil {
			b.Fatal(err)
		}
	}
}

// signedIn makes devices with one account each and returns their cookies.
func signedIn(b *testing.B, db *store.DB, count int) (*session.Manager, []keyring.Secret) {
	b.Helper()
	line, err := keyring.Generate()
	if err != nil {
		b.Fatal(err)
	}
	ring, err := keyring.Parse(line)
	if err != nil {
		b.Fatal(err)
	}
	manager, err := session.New(session.Config{DB: db, Ring: ring, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	tokens := make([]keyring.Secret, count)
	for n := range tokens {
		did := syntax.DID(fmt.Sprintf("did:plc:%024d", n))
		signed, err := manager.SignIn(b.Context(), session.SignIn{
			Session: sessionData(b, did), Handle: "someone.atoll-tests.net", UserAgent: "bench", Addr: netip.MustParseAddr("192.0.2.1"),
		})
		if err != nil {
			b.Fatal(err)
		}
		tokens[n] = signed.Token
	}
	return manager, tokens
}

func sessionData(b *testing.B, did syntax.DID) *client.SessionData {
	b.Helper()
	key, err := dpop.NewKey()
	if err != nil {
		b.Fatal(err)
	}
	return &client.SessionData{
		ID: "bench-" + string(did), DID: did, Issuer: "https://pds.atoll-tests.net", PDS: "https://pds.atoll-tests.net",
		ClientID: "https://app.atoll-tests.net/oauth-client-metadata.json", DPoPKey: key,
		AccessToken: "access", RefreshToken: "refresh", Scope: "atproto", TokenEndpoint: "https://pds.atoll-tests.net/oauth/token",
	}
}
