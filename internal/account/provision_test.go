package account

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/network"
)

// rotationKeys asks the directory who may change the account's DID.
func (w *world) rotationKeys(did syntax.DID) []string {
	w.t.Helper()
	res, err := http.Get(w.net.PLC + "/" + did.String() + "/data")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var data struct {
		RotationKeys []string `json:"rotationKeys"`
	}
	if err := json.NewDecoder(res.Body).Decode(&data); err != nil {
		w.t.Fatal(err)
	}
	return data.RotationKeys
}

// record reads the profile from the PDS, as anybody may.
func (w *world) record(did syntax.DID) map[string]any {
	w.t.Helper()
	res, err := w.net.Client().Get(w.net.PDS[0].URL + "/xrpc/com.atproto.repo.getRecord?repo=" + did.String() +
		"&collection=" + Profile.String() + "&rkey=self")
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	var out struct {
		Value map[string]any `json:"value"`
	}
	if err := json.NewDecoder(res.Body).Decode(&out); err != nil {
		w.t.Fatal(err)
	}
	return out.Value
}

// TestProvision holds what a new account is (H1): handle, profile, recovery key
// first, credentials sealed and usable.
func TestProvision(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		req := request()
		h := w.provision(req)
		if want := syntax.Handle(req.Name + w.net.PDS[0].HandleDomain); h.Handle != want {
			t.Errorf("handle %s, want %s", h.Handle, want)
		}
		if diff := cmp.Diff(req.Record, w.record(h.DID)); diff != "" {
			t.Errorf("profile on the PDS (-want +got):\n%s", diff)
		}
		info, key, err := w.ExportRecovery(t.Context(), h.DID.String())
		if err != nil {
			t.Fatalf("ExportRecovery: %v", err)
		}
		private, err := atcrypto.ParsePrivateMultibase(key.Reveal())
		if err != nil {
			t.Fatalf("recovery key: %v", err)
		}
		public, err := private.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		if keys := w.rotationKeys(h.DID); len(keys) < 2 || keys[0] != public.DIDKey() || keys[0] != info.RecoveryKey {
			t.Errorf("rotation keys %v, want ours first: %s", keys, public.DIDKey())
		}
		if err := w.update(t.Context(), h.DID, "first"); err != nil {
			t.Errorf("write as the account: %v", err)
		}
		if did, ok, err := w.DIDOf(t.Context(), h.Handle); did != h.DID || !ok || err != nil {
			t.Errorf("DIDOf: %s, %t, %v", did, ok, err)
		}
		if again := w.provision(req); again != h {
			t.Errorf("the same request again: %+v, want %+v", again, h)
		}
		if n := w.wire.count("com.atproto.server.createAccount"); n != 1 {
			t.Errorf("%d accounts asked for, want 1", n)
		}
		w.later(provisionAfter + time.Second)
		w.work(info.ID, active) // the job finds nothing to do
	})
}

// TestCredentialsAreSealed holds that no secret is readable in the database, and
// that each opens in its own row only.
func TestCredentialsAreSealed(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		h := w.provision(request())
		r := w.row(h.DID.String())
		for _, column := range []string{password, recoveryKey, accessToken, refreshToken} {
			secret := r.secrets[column].Reveal()
			var raw []byte
			if err := w.cfg.DB.Read().QueryRowContext(t.Context(), `SELECT `+column+` FROM hosted_account WHERE id = $1`, r.id).Scan(&raw); err != nil {
				t.Fatal(err)
			}
			if secret == "" || bytes.Contains(raw, []byte(secret)) {
				t.Errorf("%s is missing or readable", column)
			}
			if _, err := w.ring.Open(raw, place(column, "another")); !errors.Is(err, keyring.ErrTampered) {
				t.Errorf("%s opens in another row: %v", column, err)
			}
			if strings.Contains(w.log.String(), secret) {
				t.Errorf("%s is in the log", column)
			}
		}
	})
}

// TestOneAccountForManyRequests holds that the same request at once over two
// processes makes one account, and that a name goes to one.
func TestOneAccountForManyRequests(t *testing.T) {
	t.Parallel()
	storetest.EachConfig(t, func(t *testing.T, cfg store.Config) {
		n := network.Shared(t)
		worlds := []*world{newWorld(t, n, storetest.Open(t, cfg)), newWorld(t, n, storetest.Open(t, cfg))}
		req := request()
		var wg sync.WaitGroup
		got := make([]Hosted, 10)
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = worlds[i%2].Provision(t.Context(), req); err != nil {
					t.Errorf("request %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for _, h := range got {
			if h != got[0] {
				t.Errorf("accounts %+v and %+v for one request", got[0], h)
			}
		}
		other := req
		other.Key = "another"
		_, err := worlds[0].Provision(t.Context(), other)
		if f := fault.From(err); reason(err) != Taken || f.Code != "NameTaken" || f.Kind != fault.Conflict {
			t.Errorf("a second request for the name: %v", err)
		}
		changed := req
		changed.Record = map[string]any{"$type": Profile.String(), "name": "other"}
		if _, err := worlds[1].Provision(t.Context(), changed); reason(err) != Repeated {
			t.Errorf("the same key for another request: %v", err)
		}
	})
}

// TestLostAnswers holds that an answer which never comes leads to one account all
// the same, with its credentials.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"com.atproto.server.createAccount", "com.atproto.repo.putRecord"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
			w.wire.loseOne(method)
			h := w.provision(request())
			if err := w.update(t.Context(), h.DID, "first"); err != nil {
				t.Errorf("write as the account: %v", err)
			}
			if n := w.wire.count("com.atproto.server.createAccount"); n != 1 {
				t.Errorf("%d accounts asked for, want 1", n)
			}
			if w.wire.lose[method] {
				t.Error("no answer was lost")
			}
		})
	}
}

// TestFailuresLeaveNothing holds that each failure has an error of its own, that
// nothing is left on the PDS or becomes of it later, and that the same request
// succeeds once the cause is gone.
func TestFailuresLeaveNothing(t *testing.T) {
	t.Parallel()
	const createAccount = "com.atproto.server.createAccount"
	broken := `{"error":"InternalServerError","message":"Internal Server Error"}`
	cases := []struct {
		name  string
		spoil func(string, *http.Request) (*http.Response, error)
		lose  []string
		want  Reason
		kind  fault.Kind
	}{
		{"the PDS is down", func(string, *http.Request) (*http.Response, error) { return nil, errDial }, nil, Unreachable, fault.Unavailable},
		{"no invite code", on("com.atproto.server.createInviteCode", 502, "<html>"), nil, Unreachable, fault.Unavailable},
		{"the administrator's password is wrong", on("com.atproto.server.createInviteCode", 401, `{"error":"AuthenticationRequired"}`), nil, Settings, fault.Unavailable},
		{"too many accounts", on(createAccount, 429, `{"error":"RateLimitExceeded"}`), nil, Limited, fault.Limited},
		{"the account fails", on(createAccount, 500, broken), nil, Unreachable, fault.Unavailable},
		{"a bad invite code", on(createAccount, 400, `{"error":"InvalidInviteCode","message":"Provided invite code not available"}`), nil, Settings, fault.Unavailable},
		{"a name the PDS refuses", on(createAccount, 400, `{"error":"HandleNotAvailable","message":"Reserved handle"}`), nil, BadName, fault.Invalid},
		{"an account for somebody else", on(createAccount, 200, `{"did":"x"}`), nil, Unreachable, fault.Unavailable},
		{"the profile is refused", on("com.atproto.repo.putRecord", 400, `{"error":"InvalidRequest","message":"no"}`), nil, Settings, fault.Unavailable},
		{"the profile is never answered", on("com.atproto.repo.putRecord", 0, ""), nil, Unreachable, fault.Unavailable},
		{"the account is not active", on("com.atproto.sync.getRepoStatus", 200, ""), nil, Unreachable, fault.Unavailable},
		{"the recovery key is ignored", on("data", 200, `{"rotationKeys":["did:key:zQ3sh"]}`), nil, Unverified, fault.Unavailable},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
			req := request()
			w.wire.set(c.spoil, c.lose...)
			_, err := w.Provision(t.Context(), req)
			if reason(err) != c.want || fault.KindOf(err) != c.kind {
				t.Fatalf("reason %s, kind %s: %v; want %s, %s", reason(err), fault.KindOf(err), err, c.want, c.kind)
			}
			w.wire.set(nil)
			w.later(provisionAfter + settleFor)
			id := w.only()
			w.work(id, undone)
			w.nothingLeft(req.Name)
			if r := w.row(id); len(r.secrets) > 0 || r.problem == "" {
				t.Errorf("of an account that came to nothing: %d secrets are kept, problem %q", len(r.secrets), r.problem)
			}
			if h := w.provision(req); h.DID == "" {
				t.Error("the request again gives no account")
			}
		})
	}
}

// TestDailyBound holds a member to so many communities a day: one more is refused
// before anything is done, what was asked for earlier is still answered, and
// others go on.
func TestDailyBound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite), func(c *Config) { c.Daily = 2 })
	first := request()
	w.provision(first)
	w.provision(request())
	more := request()
	if _, err := w.Provision(t.Context(), more); reason(err) != TooMany || fault.KindOf(err) != fault.Limited {
		t.Fatalf("the third within a day: %v, want %s", err, TooMany)
	}
	if _, there := w.atPDS(more.Name); there {
		t.Error("the account that was refused is on the PDS")
	}
	if w.provision(first).DID == "" {
		t.Error("an earlier request is not answered any more")
	}
	other := request()
	other.CreatedBy = "did:plc:bobbbbbbbbbbbbbbbbbbbbbb"
	w.provision(other)
	w.later(24*time.Hour + time.Second)
	w.provision(more)
}

// only is the id of the one row that is there.
func (w *world) only() string {
	w.t.Helper()
	list, err := w.List(w.t.Context(), true)
	if err != nil || len(list) != 1 {
		w.t.Fatalf("%d accounts, %v; want 1", len(list), err)
	}
	return list[0].ID
}

var errDial = &dialError{}

// dialError is a connection that was refused: nothing was sent.
type dialError struct{}

func (*dialError) Error() string   { return "connect: connection refused" }
func (*dialError) Timeout() bool   { return false }
func (*dialError) Temporary() bool { return false }

// TestLateAccount holds that an account which the PDS makes after it was given
// up is removed: nobody knows of it but us.
func TestLateAccount(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, w *world) {
		req := request()
		var late struct {
			sync.Mutex
			req *http.Request
		}
		w.wire.set(func(method string, r *http.Request) (*http.Response, error) {
			if method != "com.atproto.server.createAccount" {
				return nil, nil //nolint:nilnil // goes through
			}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return nil, err
			}
			late.Lock()
			defer late.Unlock()
			late.req = r.Clone(context.WithoutCancel(r.Context()))
			late.req.Body = io.NopCloser(bytes.NewReader(body))
			return nil, errors.New("timeout")
		})
		if _, err := w.Provision(t.Context(), req); reason(err) != Unreachable {
			t.Fatalf("Provision: %v", err)
		}
		id := w.only()
		if r := w.row(id); r.state != undoing || r.secrets[password].IsZero() {
			t.Fatalf("after an unclear answer: %s", r.state)
		}
		w.wire.set(nil)
		res, err := w.wire.next.RoundTrip(late.req)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("the late account: %v, %v", res, err)
		}
		res.Body.Close()
		if _, there := w.atPDS(req.Name); !there {
			t.Fatal("the late account is not there")
		}
		w.later(provisionAfter + time.Second)
		w.work(id, undone)
		w.nothingLeft(req.Name)
	})
}

// TestNameTakenAtThePDS holds the answer where somebody else has the name.
func TestNameTakenAtThePDS(t *testing.T) {
	t.Parallel()
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite))
	somebody := w.net.NewAccount(t, 0)
	name, _, _ := strings.Cut(somebody.Handle, ".")
	_, err := w.Provision(t.Context(), named(name))
	if f := fault.From(err); reason(err) != Taken || f.Code != "NameTaken" {
		t.Errorf("Provision: %v", err)
	}
	if said, there := w.atPDS(name); !there || !strings.Contains(said, somebody.DID) {
		t.Errorf("the other account is harmed: %s", said)
	}
	if r := w.row(w.only()); r.state != undone {
		t.Errorf("the row is %s, want undone", r.state)
	}
	_, err = w.Provision(t.Context(), named("lists")) // reserved there, not here
	if reason(err) != BadName || !strings.Contains(fault.From(err).Public, "lists") {
		t.Errorf("a name that the PDS reserves: %v", err)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"gardening": true, "abc": true, "a1-b2": true, "123": true, strings.Repeat("x", 18): true,
		"": false, "ab": false, strings.Repeat("x", 19): false, "Garden": false, "gar den": false, "gärten": false,
		"-abc": false, "abc-": false, "a.b": false, "admin": false, "everyone": false, "a\x00b": false, "a/b": false,
	} {
		err := CheckName(name)
		if (err == nil) != ok {
			t.Errorf("CheckName(%q): %v, want ok %t", name, err, ok)
		}
		if err != nil && (reason(err) != BadName || fault.KindOf(err) != fault.Invalid) {
			t.Errorf("CheckName(%q): %v is no fault of the name", name, err)
		}
	}
}

// TestSettingsThatDoNotFit holds what is found before anything is made.
func TestSettingsThatDoNotFit(t *testing.T) {
	t.Parallel()
	n := network.Shared(t)
	cases := []struct {
		name   string
		change func(*Config)
		want   Reason
		says   string
	}{
		{"no PDS", func(c *Config) { c.Hosting = Hosting{} }, Off, "hosting.pds_url"},
		{"another domain", func(c *Config) { c.Hosting.HandleDomain = "elsewhere.atoll-tests.net" }, Settings, "hosting.handle_domain"},
		{"a wrong password", func(c *Config) { c.Hosting.AdminPassword = keyring.NewSecret("wrong") }, Settings, "AuthenticationRequired"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, n, storetest.New(t, store.SQLite), c.change)
			_, err := w.Provision(t.Context(), request())
			if reason(err) != c.want || !strings.Contains(err.Error(), c.says) {
				t.Errorf("Provision: %v; want %s with %q", err, c.want, c.says)
			}
			if c.want == Off && fault.From(err).Code != "CommunityCreationRestricted" {
				t.Errorf("code %q", fault.From(err).Code)
			}
			if n := w.wire.count("com.atproto.server.createAccount"); n != 0 {
				t.Errorf("%d accounts were asked for", n)
			}
		})
	}
}

// TestOperatorsRecoveryKey holds that a key given by the operator is first, and
// that nothing private of it is here.
func TestOperatorsRecoveryKey(t *testing.T) {
	t.Parallel()
	key, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, network.Shared(t), storetest.New(t, store.SQLite), func(c *Config) { c.Hosting.RecoveryKey = public.DIDKey() })
	h := w.provision(request())
	if keys := w.rotationKeys(h.DID); !slices.Equal(keys[:1], []string{public.DIDKey()}) {
		t.Errorf("rotation keys %v, want %s first", keys, public.DIDKey())
	}
	if _, _, err := w.ExportRecovery(t.Context(), h.Handle.String()); fault.KindOf(err) != fault.Conflict {
		t.Errorf("ExportRecovery: %v", err)
	}
}
