package cli_test

import (
	"bytes"
	"crypto/rand"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/cli"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/dpop"
)

const publicURL = "https://atoll.example.org"

// site is an instance's data folder, and what its server would have put there.
type site struct {
	t        *testing.T
	dir      string
	db       *store.DB
	sessions *session.Manager
	keys     *session.Keys
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	s.run(0, "migrate")
	s.open()
	return s
}

// open is what a server does at its start.
func (s *site) open() {
	s.t.Helper()
	ring, err := keyring.LoadFile(s.keyFile())
	s.must(err)
	s.db, err = store.Open(s.t.Context(), store.Config{Path: filepath.Join(s.dir, "atoll.db")})
	s.must(err)
	s.t.Cleanup(func() { s.db.Close() })
	logger := slog.New(slog.DiscardHandler)
	s.sessions, err = session.New(session.Config{DB: s.db, Ring: ring, Logger: logger})
	s.must(err)
	s.keys, err = session.NewKeys(session.KeysConfig{DB: s.db, Ring: ring, Logger: logger})
	s.must(err)
	s.must(s.keys.Ensure(s.t.Context()))
}

func (s *site) keyFile() string { return filepath.Join(s.dir, "secret.key") }

func (s *site) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command and returns what it printed; code is the exit code wanted.
func (s *site) run(code int, args ...string) string {
	s.t.Helper()
	var out bytes.Buffer
	got := cli.Main(args, cli.Process{
		Env: []string{"ATOLL_DATA_DIR=" + s.dir, "ATOLL_PUBLIC_URL=" + publicURL}, Stdin: strings.NewReader(""),
		Stdout: &out, Stderr: &out, Version: "test",
	})
	if got != code {
		s.t.Errorf("atoll %s: code %d, want %d\n%s", strings.Join(args, " "), got, code, out.String())
	}
	return out.String()
}

// says fails the test unless text holds all of what.
func (s *site) says(text string, what ...string) {
	s.t.Helper()
	for _, w := range what {
		if !strings.Contains(text, w) {
			s.t.Errorf("output:\n%s\nwant %q in it", text, w)
		}
	}
}

func (s *site) signIn(did syntax.DID, handle syntax.Handle) *client.SessionData {
	s.t.Helper()
	key, err := dpop.NewKey()
	s.must(err)
	now := time.Now()
	data := &client.SessionData{
		ID: rand.Text(), DID: did, Issuer: "https://pds.example", PDS: "https://pds.example",
		ClientID: publicURL + "/oauth-client-metadata.json", KeyID: s.keys.Set().IDs()[0], DPoPKey: key,
		AccessToken: "secret-access-" + rand.Text(), RefreshToken: "secret-refresh-" + rand.Text(), Scope: "atproto",
		CreatedAt: now, UsedAt: now, RefreshedAt: now, RefreshExpiresAt: now.Add(72*time.Hour + time.Minute),
	}
	_, err = s.sessions.SignIn(s.t.Context(), session.SignIn{Session: data, Handle: handle, UserAgent: "Mozilla/5.0 (X11; Linux x86_64) Firefox/142.0"})
	s.must(err)
	return data
}

func TestSessionsCommands(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.says(s.run(0, "sessions", "list"), "no sessions")
	alice, bob := s.signIn("did:plc:alice", "alice.example"), s.signIn("did:plc:bob", "")
	var all strings.Builder
	show := func(code int, args ...string) string {
		t.Helper()
		text := s.run(code, args...)
		all.WriteString(text)
		return text
	}
	list := show(0, "sessions", "list")
	s.says(list, alice.ID, "alice.example", bob.ID, "did:plc:bob", "expiring", "in 3 d", "https://pds.example")
	if n := strings.Count(list, "\n"); n != 3 {
		t.Errorf("a list of two has %d lines, want 3\n%s", n, list)
	}
	if text := show(0, "sessions", "list", "--account", "did:plc:bob"); strings.Contains(text, alice.ID) {
		t.Errorf("the list of bob's sessions shows alice's\n%s", text)
	}
	s.says(show(0, "sessions", "list", "--limit", "1"), "… and more")
	s.says(show(0, "sessions", "list", "--state", "ended"), "no sessions")
	s.says(show(2, "sessions", "list", "--state", "asleep"), "--state must be one of")
	s.says(show(1, "sessions", "list", "--account", "alice"), "--account must be a DID")
	s.says(show(0, "sessions", "show", alice.ID), "alice.example", "expiring", "Firefox on Linux", alice.KeyID, "sign_in ")
	s.says(show(1, "sessions", "show", "nobody"), "there is no session nobody")
	s.says(show(1, "sessions", "revoke", "nobody"), "there is no session nobody")

	s.says(show(0, "sessions", "revoke", alice.ID), "is over here")
	s.says(show(0, "sessions", "show", alice.ID), "revoking", "operator: The operator of this site has ended this sign-in.", "session_ended operator")
	s.says(show(1, "sessions", "revoke", alice.ID), "is over already")
	for _, d := range []*client.SessionData{alice, bob} {
		for _, secret := range []string{d.AccessToken, d.RefreshToken} {
			if strings.Contains(all.String(), secret) {
				t.Error("a command shows a token")
			}
		}
	}
}

// Without a database nothing is made for a look at it.
func TestCommandsOnNothing(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: filepath.Join(t.TempDir(), "data")}
	for _, args := range [][]string{{"sessions", "list"}, {"keys", "reseal"}, {"keys", "withdraw", "k"}} {
		s.says(s.run(1, args...), "There is no database yet")
	}
	if _, err := os.Stat(s.dir); err == nil {
		t.Error("a command made the data folder")
	}
}

func TestWithdrawCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	one, two := s.signIn("did:plc:alice", ""), s.signIn("did:plc:bob", "")
	s.says(s.run(1, "keys", "withdraw", "nothing", "--yes"), "there is no client key nothing")
	s.says(s.run(1, "keys", "withdraw", one.KeyID, "--yes"), "the only one that signs", "keys rotate")
	s.run(0, "keys", "rotate", "--now")
	s.says(s.run(1, "keys", "withdraw", one.KeyID), "2 live sessions", "Nothing was changed", "--yes")
	for _, d := range []*client.SessionData{one, two} {
		if _, err := s.sessions.Get(t.Context(), d.ID); err != nil {
			t.Errorf("after a refusal: %v, want the session", err)
		}
	}
	s.says(s.run(0, "keys", "withdraw", one.KeyID, "--yes"), "2 sessions ended")
	s.says(s.run(0, "keys", "list"), "withdrawn", "0 sessions")
	s.says(s.run(0, "sessions", "list", "--state", "ended"), one.ID, two.ID, string(client.ReasonKeyWithdrawn))
	s.says(s.run(0, "keys", "withdraw", one.KeyID), "0 sessions ended") // again: nothing is left to end
}

func TestResealCommand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice := s.signIn("did:plc:alice", "alice.example")
	text, err := os.ReadFile(s.keyFile())
	s.must(err)
	older, newer := strings.TrimSpace(string(text)), strings.TrimSpace(s.run(0, "keys", "generate", "secret"))
	write := func(lines ...string) {
		s.must(os.WriteFile(s.keyFile(), []byte(strings.Join(lines, "\n")), 0o600))
	}
	s.says(s.run(1, "keys", "reseal"), "put a new key above it")
	write(older, newer) // in the wrong order
	s.says(s.run(1, "keys", "reseal"), "put a new key above it")
	write(newer) // the older one is taken away too early
	s.says(s.run(1, "keys", "reseal"), "give that key in secret_key")
	write(newer, older)
	s.says(s.run(0, "keys", "list"), "needed by 5 values") // three of the session, a client key, the check
	s.says(s.run(0, "keys", "reseal"), "sessions: 1 sealed anew", "signing keys: 1 sealed anew", "can be removed")
	s.says(s.run(0, "keys", "list"), "opens only", "needed by 0 values")
	s.says(s.run(1, "keys", "reseal"), "already")
	write(newer)
	s.open()
	got, err := s.sessions.Get(t.Context(), alice.ID)
	if err != nil || got.RefreshToken != alice.RefreshToken {
		t.Errorf("the session without the older key = %v, want it whole", err)
	}
	trail, err := s.sessions.Trail(t.Context(), "", 10)
	if err != nil || len(trail) == 0 || trail[0].Kind != session.KindResealed {
		t.Errorf("audit trail = %+v, %v; want the resealing", trail, err)
	}
}

// A value of a key that nobody has any more is named, and keeps nobody else.
func TestResealCommandNamesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice, bob := s.signIn("did:plc:alice", ""), s.signIn("did:plc:bob", "")
	s.must(s.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE oauth_session SET access_token = (SELECT access_token FROM oauth_session WHERE id = $1) WHERE id = $2`, alice.ID, bob.ID)
		return err
	}))
	text, err := os.ReadFile(s.keyFile())
	s.must(err)
	newer := s.run(0, "keys", "generate", "secret")
	s.must(os.WriteFile(s.keyFile(), append([]byte(newer), text...), 0o600))
	s.says(s.run(1, "keys", "reseal"), "sessions: 1 sealed anew", "sessions: 1 do not open")
	s.must(os.WriteFile(s.keyFile(), []byte(newer), 0o600))
	s.open()
	if _, err := s.sessions.Get(t.Context(), alice.ID); err != nil {
		t.Errorf("the session that could be read = %v", err)
	}
}
