package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

// N1–N4: before, during and after, three waiters of one secret, and nothing once
// it is acknowledged. The browser itself is not signed in.
func TestAnAppIsSignedIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		a, b := d.app("alice.example"), d.browser()
		early := a.await(t.Context(), d)
		if s := <-early.stage; s.Opened || s.CodeWanted {
			t.Errorf("at first %+v, want nothing to have happened", s)
		}
		page := d.open(b, a.ID)
		if s := <-early.stage; !s.Opened {
			t.Errorf("with the browser at its server: %+v, want opened", s)
		}
		if out, err := d.comeBack(b, d.pds.approve(page)); err != nil || out.App != a.ID {
			t.Fatalf("callback = %+v, %v", out, err)
		}
		if s := <-early.stage; !s.CodeWanted {
			t.Errorf("after the callback: %+v, want the code to be wanted", s)
		}
		during := a.await(t.Context(), d)
		<-during.stage
		request, err := d.AppRequest(t.Context(), a.ID, b.sent())
		if err != nil || request.Name != "Reader" || request.Origin != "198.51.100.0/24" || request.DID != alice || request.TriesLeft != 5 ||
			!request.CodeWanted || request.LoopbackPort != 40123 || request.Handle != "alice.example" || request.Asked.IsZero() {
			t.Errorf("AppRequest = %+v, %v", request, err)
		}
		d.must(d.ApproveApp(t.Context(), a.ID, " "+strings.ToLower(strings.ReplaceAll(a.Code, "-", ""))+"\n", b.sent()))
		one, two := <-early.result, <-during.result
		late := <-a.await(t.Context(), d).result
		for _, c := range []collected{one, two, late} {
			if c.err != nil || c.grant.SessionID != one.grant.SessionID || c.grant.Refresh.Reveal() != one.grant.Refresh.Reveal() || c.grant.DID != alice || c.grant.Handle != "alice.example" {
				t.Errorf("collected %+v, %v; want what the others got", c.grant, c.err)
			}
			if _, err := d.apps.Authenticate(t.Context(), c.grant.Access.Reveal()); err != nil {
				t.Errorf("its token: %v", err)
			}
		}
		if n := d.count(`SELECT count(*) FROM device`); n != 0 {
			t.Errorf("%d devices, want none: the browser is not signed in", n)
		}
		for range 2 {
			d.must(d.handOffs.Acknowledge(t.Context(), a.collector()))
		}
		_, err = a.stage(d)
		ended(t, "Await after the acknowledgement", err, login.StateDelivered)
		if n := d.count(`SELECT count(*) FROM app_login WHERE salt IS NOT NULL`); n != 0 {
			t.Error("what the secret was made of is kept after the acknowledgement")
		}
	})
}

// N4, the phishing case: the victim goes all the way at their own server in their
// own browser; without the code the attacker's app gets nothing, and five wrong
// codes end it.
func TestAForwardedLinkSignsNobodyIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		attacker, victim := d.app("alice.example"), d.browser()
		w := attacker.await(t.Context(), d)
		d.arrive(victim, attacker.ID)
		w.untilCodeWanted()
		wantFault(t, "Confirm without a proof", d.handOffs.Confirm(t.Context(), attacker.collector(), ""), fault.NotFound)
		wantFault(t, "approval by the attacker's own browser", d.ApproveApp(t.Context(), attacker.ID, attacker.Code, d.browser().sent()), fault.Forbidden)
		forged := victim.sent() // the names follow from the id, which the attacker knows
		for _, cookie := range forged {
			cookie.Value = "AAAAAAAAAAAAAAAAAAAAAAAAAA"
		}
		wantFault(t, "approval with a forged cookie", d.ApproveApp(t.Context(), attacker.ID, attacker.Code, forged), fault.Forbidden)
		if _, err := d.AppOnThisMachine(t.Context(), attacker.ID, forged); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("a proof for a forged cookie: %v, want it refused", err)
		}
		if _, err := d.AppRequest(t.Context(), attacker.ID, forged); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("the page for a forged cookie: %v, want it refused", err)
		}
		if err := d.handOffs.Acknowledge(t.Context(), attacker.collector()); !errors.Is(err, login.ErrNotDelivered) {
			t.Errorf("Acknowledge = %v, want ErrNotDelivered", err)
		}
		for left := 4; left > 0; left-- {
			var wrong *login.WrongCodeError
			if err := d.ApproveApp(t.Context(), attacker.ID, "BBBB-BBBB", victim.sent()); !errors.As(err, &wrong) || wrong.TriesLeft != left {
				t.Errorf("wrong code = %v, want %d tries left", err, left)
			}
		}
		if n := d.count(`SELECT count(*) FROM app_session WHERE generation > 0`); n != 0 {
			t.Error("a session was collected without the code")
		}
		ended(t, "the fifth wrong code", d.ApproveApp(t.Context(), attacker.ID, "", victim.sent()), login.StateWrongCode)
		ended(t, "the right code afterwards", d.ApproveApp(t.Context(), attacker.ID, attacker.Code, victim.sent()), login.StateWrongCode)
		ended(t, "the attacker's wait", (<-w.result).err, login.StateWrongCode)
		if n := d.count(`SELECT count(*) FROM app_session`) + d.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 0 {
			t.Errorf("%d sessions are left, want none", n)
		}
	})
}

// N4: the browser finds the app on its own machine, and only there is the proof.
func TestAnAppOnTheSameMachineNeedsNoCode(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		a, b := d.app("alice.example"), d.browser()
		d.arrive(b, a.ID)
		if _, err := d.AppOnThisMachine(t.Context(), a.ID, d.browser().sent()); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("another browser's proof = %v, want it refused", err)
		}
		to, err := d.AppOnThisMachine(t.Context(), a.ID, b.sent())
		d.must(err)
		u, err := url.Parse(to)
		if err != nil || u.Host != "127.0.0.1:40123" || u.Query().Get("login_id") != a.ID {
			t.Fatalf("leads to %s, want the app's loopback address", to)
		}
		wantFault(t, "a wrong proof", d.handOffs.Confirm(t.Context(), a.collector(), u.Query().Get("proof")+"x"), fault.NotFound)
		wantFault(t, "the proof without the secret", d.handOffs.Confirm(t.Context(), login.Collector{ID: a.ID, Secret: keyring.NewSecret("x")}, u.Query().Get("proof")), fault.NotFound)
		d.must(d.handOffs.Confirm(t.Context(), a.collector(), u.Query().Get("proof")))
		if c := <-a.await(t.Context(), d).result; c.err != nil || c.grant.DID != alice {
			t.Errorf("collected %+v, want alice's session", c)
		}
		request, err := d.AppRequest(t.Context(), a.ID, b.sent())
		if err != nil || !request.Approved {
			t.Errorf("AppRequest afterwards = %+v, %v; want approved", request, err)
		}
	})
}

// N2, N3: the id alone, a wrong secret, the secret of another sign-in: the same
// answer, and limited; who holds the right one is never limited.
func TestSecretGuessingIsLimited(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newInstance(t, db).desk(httpserver.LimiterConfig{Every: time.Hour, Burst: 20}, 0)
		a, other := d.app("alice.example"), d.app("bob.example")
		thief := netip.MustParseAddr("192.0.2.66")
		limited := 0
		for n := range size.Size(40, 1000) {
			c := login.Collector{ID: a.ID, Addr: thief, Secret: keyring.NewSecret([]string{"", "guess", other.Secret.Reveal(), a.ID}[n%4])}
			_, err := d.handOffs.Await(t.Context(), c, func(login.Waiting) error { t.Error("a guess is told something"); return errEnough })
			switch fault.KindOf(err) {
			case fault.NotFound:
			case fault.Limited:
				limited++
			default:
				t.Errorf("guess %d = %v", n, err)
			}
		}
		if want := size.Size(20, 980); limited != want {
			t.Errorf("%d guesses were limited, want %d", limited, want)
		}
		c := a.collector()
		c.Addr = thief
		if _, err := d.handOffs.Await(t.Context(), c, func(login.Waiting) error { return errEnough }); !errors.Is(err, errEnough) {
			t.Errorf("the right secret from there = %v, want it served", err)
		}
	})
}

// N3: every end has a state of its own, for who waits and who asks later.
func TestEndsOfAppSignInsAreDistinct(t *testing.T) {
	t.Parallel()
	tests := []struct {
		state login.HandOffState
		end   func(d *desk, a *app, b *browser)
	}{
		{login.StateDenied, func(d *desk, a *app, b *browser) { // at the member's server
			out, err := d.comeBack(b, d.pds.decline(d.open(b, a.ID)))
			if err != nil || out.Result != login.Declined {
				d.t.Errorf("callback = %+v, %v; want declined", out, err)
			}
		}},
		{login.StateDenied, func(d *desk, a *app, b *browser) { // here
			d.arrive(b, a.ID)
			d.must(d.DeclineApp(d.t.Context(), a.ID, b.sent()))
		}},
		{login.StateFailed, func(d *desk, a *app, b *browser) {
			d.pds.tokenType = "Bearer"
			if _, err := d.comeBack(b, d.pds.approve(d.open(b, a.ID))); err == nil {
				d.t.Error("callback with Bearer tokens succeeds")
			}
		}},
		{login.StateCancelled, func(d *desk, a *app, b *browser) {
			d.arrive(b, a.ID)
			d.must(d.handOffs.Cancel(d.t.Context(), a.collector()))
			d.must(d.handOffs.Cancel(d.t.Context(), a.collector()))
			wantFault(d.t, "approval after it was cancelled", d.ApproveApp(d.t.Context(), a.ID, a.Code, b.sent()), fault.Forbidden)
		}},
		{login.StateExpired, func(d *desk, a *app, b *browser) {
			d.arrive(b, a.ID)
			d.clock.advance(login.HandOffLife)
			wantFault(d.t, "approval after 30 minutes", d.ApproveApp(d.t.Context(), a.ID, a.Code, b.sent()), fault.Forbidden)
		}},
	}
	for n, tc := range tests {
		t.Run(fmt.Sprintf("%d %s", n, tc.state), func(t *testing.T) {
			t.Parallel()
			d := newDesk(t, storetest.New(t, store.SQLite))
			a, b := d.app("alice.example"), d.browser()
			tc.end(d, a, b)
			_, err := a.stage(d)
			ended(t, "Await", err, tc.state)
			if err := d.handOffs.Acknowledge(t.Context(), a.collector()); err == nil {
				t.Error("Acknowledge succeeds")
			}
			if _, err := d.OpenApp(t.Context(), login.OpenApp{ID: a.ID}); err == nil {
				t.Error("the link still leads on")
			}
			d.clock.advance(login.HandOffLife)
			if _, err := d.apps.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			if n := d.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 0 {
				t.Errorf("%d live sessions are left, want none", n)
			}
		})
	}
}

// Of two callbacks one counts; the other's tokens are revoked, nothing is left.
func TestTwoCallbacksOfOneAppSignIn(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		a, one, two, three := d.app("alice.example"), d.browser(), d.browser(), d.browser()
		first, second := d.pds.approve(d.open(one, a.ID)), d.pds.approve(d.open(two, a.ID))
		third := d.open(three, a.ID) // who declines there ends nothing any more
		if _, err := d.comeBack(two, first); fault.KindOf(err) != fault.Forbidden {
			t.Errorf("callback in another browser = %v, want it refused (S13)", err)
		}
		if _, err := d.comeBack(one, first); err != nil {
			t.Fatal(err)
		}
		_, err := d.comeBack(two, second)
		wantFault(t, "the second callback", err, fault.Conflict)
		_, err = d.comeBack(one, first)
		wantFault(t, "the first callback again", err, fault.Invalid)
		if n := d.count(`SELECT count(*) FROM oauth_session WHERE state = 'live'`); n != 1 {
			t.Errorf("%d live sessions, want the first one's", n)
		}
		if _, err := d.comeBack(three, d.pds.decline(third)); err != nil {
			t.Error(err)
		}
		d.must(d.ApproveApp(t.Context(), a.ID, a.Code, one.sent()))
		if c := <-a.await(t.Context(), d).result; c.err != nil {
			t.Error(c.err)
		}
	})
}

// N3: the callback and the approval at one process wake who waits at another.
func TestCallbackAndWaiterInDifferentProcesses(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		here := newDesk(t, db)
		there := here.desk(wide, 0)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- there.handOffs.Run(ctx) }()
		a, b := here.app("alice.example"), here.browser()
		w := a.await(t.Context(), there)
		<-w.stage
		here.arrive(b, a.ID)
		w.untilCodeWanted()
		here.clock.advance(time.Millisecond) // changes are told apart by their time
		here.must(here.ApproveApp(t.Context(), a.ID, a.Code, b.sent()))
		select {
		case c := <-w.result:
			if c.err != nil || c.grant.DID != alice {
				t.Errorf("collected %+v", c)
			}
		case <-time.After(15 * time.Second): // before the heartbeat
			t.Error("the other process did not notice")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Who waits hears something every 20 seconds, so that no proxy takes the
// connection for dead; news come at once.
func TestWaitersHearSomethingEvery20Seconds(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	synctest.Test(t, func(t *testing.T) {
		d := i.desk(wide, 0)
		a := d.app("alice.example")
		ctx, hangUp := context.WithCancel(t.Context())
		w := a.await(ctx, d)
		<-w.stage
		for beat := range 3 {
			began := time.Now()
			if s := <-w.stage; s.Opened || s.CodeWanted || s.Code != a.Code || time.Since(began) != 20*time.Second {
				t.Errorf("beat %d: %+v after %v, want the same as before after 20 s", beat, s, time.Since(began))
			}
		}
		time.Sleep(7 * time.Second)
		began := time.Now()
		d.must(d.handOffs.Cancel(t.Context(), a.collector()))
		c := <-w.result
		ended(t, "the wait", c.err, login.StateCancelled)
		if took := time.Since(began); took != 0 {
			t.Errorf("the end was heard of after %v, want at once", took)
		}
		hangUp()
	})
}

// N3: who waits is told to ask again when the process stops.
func TestWaitersAreReleasedByTheStop(t *testing.T) {
	t.Parallel()
	d := newDesk(t, storetest.New(t, store.SQLite))
	a := d.app("alice.example")
	w := a.await(t.Context(), d)
	<-w.stage
	ctx, stop := context.WithCancel(t.Context())
	stop()
	d.must(d.handOffs.Serve(ctx))
	if c := <-w.result; !errors.Is(c.err, login.ErrStopping) {
		t.Errorf("the wait ended with %v, want ErrStopping", c.err)
	}
}

// N7, S43: a flood leaves storage bounded and newcomers served; what has run out
// goes; nobody can wait without end.
func TestPendingAppSignInsAreBounded(t *testing.T) {
	t.Parallel()
	flood := size.Size(400, 10_000)
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		const pending = 100
		d := newInstance(t, db).desk(wide, pending)
		real, b := d.app("alice.example"), d.browser()
		d.arrive(b, real.ID)
		for n := range flood {
			d.clock.advance(time.Millisecond)
			_, err := d.handOffs.Initiate(t.Context(), login.Initiate{Identifier: "bob.example", Name: "Flood",
				Addr: netip.AddrFrom4([4]byte{203, 0, byte(n % 100), 1})})
			d.must(err)
		}
		if n := d.count(`SELECT count(*) FROM app_login`); n > pending+pending/100+1 {
			t.Errorf("%d sign-ins are kept, want about %d", n, pending)
		}
		if stage, err := real.stage(d); err != nil || stage != "code_wanted" {
			t.Errorf("the one whose browser was seen: %s, %v; want it kept", stage, err)
		}
		if n, err := d.handOffs.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("Sweep = %d, %v; want nothing", n, err)
		}
		d.clock.advance(login.HandOffLife + 5*time.Minute)
		if _, err := d.handOffs.Sweep(t.Context()); err != nil {
			t.Error(err)
		}
		if n := d.count(`SELECT count(*) FROM app_login`); n != 0 {
			t.Errorf("%d sign-ins are left 5 minutes after their end, want none", n)
		}
	})
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	d := newDesk(t, storetest.New(t, store.SQLite))
	a := d.app("alice.example")
	ctx, hangUp := context.WithCancel(t.Context())
	var all []*waiter
	for range 8 {
		w := a.await(ctx, d)
		<-w.stage
		all = append(all, w)
	}
	if c := <-a.await(ctx, d).result; fault.KindOf(c.err) != fault.Limited {
		t.Errorf("the ninth waiter = %v, want it limited", c.err)
	}
	hangUp()
	for _, w := range all {
		<-w.result
	}
	if stage, err := a.stage(d); err != nil || stage != "initiated" {
		t.Errorf("after all hung up: %s, %v", stage, err)
	}
}

func TestInitiateRefusesBadInput(t *testing.T) {
	t.Parallel()
	d := newInstance(t, storetest.New(t, store.SQLite)).desk(httpserver.LimiterConfig{Every: time.Hour, Burst: 3}, 0)
	for name, in := range map[string]login.Initiate{
		"no identifier": {Name: "x"}, "no name": {Identifier: "alice.example"}, "long name": {Identifier: "alice.example", Name: strings.Repeat("ä", 65)},
		"line break": {Identifier: "alice.example", Name: "a\nb"}, "right to left": {Identifier: "alice.example", Name: "a\u202eb"},
		"spaces": {Identifier: "alice.example", Name: "  "}, "not UTF-8": {Identifier: "alice.example", Name: "\xff"},
		"low port": {Identifier: "alice.example", Name: "x", LoopbackPort: 80}, "high port": {Identifier: "alice.example", Name: "x", LoopbackPort: 65536},
		"negative": {Identifier: "alice.example", Name: "x", LoopbackPort: -1},
	} {
		_, err := d.handOffs.Initiate(t.Context(), in)
		wantFault(t, name, err, fault.Invalid)
	}
	for range 3 {
		d.app("alice.example")
	}
	_, err := d.handOffs.Initiate(t.Context(), login.Initiate{Identifier: "alice.example", Name: strings.Repeat("ä", 64), Addr: netip.MustParseAddr("198.51.100.9")})
	wantFault(t, "the fourth from one address (S11)", err, fault.Limited)
}

// Login id, secret, code and OAuth state are different values, and the database
// has none of the secrets.
func TestSecretsOfAppSignInsAreHashed(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		a, b := d.app("alice.example"), d.browser()
		if strings.Contains(a.URL, a.Secret.Reveal()) || strings.Contains(a.URL, a.Code) || a.URL != origin+"/app/"+a.ID {
			t.Errorf("the address %s holds more than the id", a.URL)
		}
		page := d.open(b, a.ID)
		state := d.pds.asked(page).Get("state")
		d.arrive(b, a.ID)
		to, err := d.AppOnThisMachine(t.Context(), a.ID, b.sent())
		d.must(err)
		u, _ := url.Parse(to)
		secrets := map[string]string{"secret": a.Secret.Reveal(), "code": a.Code, "short code": strings.ReplaceAll(a.Code, "-", ""),
			"state": state, "proof": u.Query().Get("proof")}
		for name, value := range b.cookies {
			secrets["cookie "+name] = value
		}
		var dump strings.Builder
		rows, err := db.Read().QueryContext(t.Context(), `SELECT CAST(id AS TEXT) || name || secret_hash || code_hash || approver_hash || proof_hash FROM app_login`)
		if err != nil { // PostgreSQL does not put text and bytes together
			rows, err = db.Read().QueryContext(t.Context(), `SELECT secret_hash || code_hash || approver_hash || proof_hash FROM app_login`)
		}
		d.must(err)
		defer rows.Close()
		for rows.Next() {
			var v []byte
			d.must(rows.Scan(&v))
			dump.Write(v)
		}
		for what, secret := range secrets {
			if secret == "" || strings.Contains(dump.String(), secret) || secret == a.ID {
				t.Errorf("the %s is empty, or stands in the database", what)
			}
		}
	})
}

// Existing mobile clients: an allowed address, one exchange, within a minute.
func TestMobileClientsAreCalledBack(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		d := newDesk(t, db)
		b := d.browser()
		for _, uri := range []string{"", "social.coves:/callback/", "https://evil.example/", "social.coves:/callback?x=y", "SOCIAL.COVES:/callback"} {
			_, err := d.StartAppRedirect(t.Context(), login.AppRedirect{Identifier: "alice.example", RedirectURI: uri})
			wantFault(t, "redirect to "+uri, err, fault.Invalid)
		}
		begin := func() string {
			started, err := d.StartAppRedirect(t.Context(), login.AppRedirect{Identifier: "alice.example", RedirectURI: mobile, Addr: b.addr, Cookies: b.sent()})
			d.must(err)
			b.set(started.Cookies)
			return started.URL
		}
		declined, err := d.comeBack(b, d.pds.decline(begin()))
		if err != nil || declined.ReturnTo != mobile+"?error=access_denied" {
			t.Errorf("declined = %+v, %v; want the app to be told", declined, err)
		}
		out, err := d.comeBack(b, d.pds.approve(begin()))
		d.must(err)
		query, found := strings.CutPrefix(out.ReturnTo, mobile+"?")
		q, err := url.ParseQuery(query)
		if err != nil || !found || q.Get("did") != string(alice) || q.Get("handle") != "alice.example" || q.Get("session_id") == "" {
			t.Fatalf("leads to %s", out.ReturnTo)
		}
		grant, err := d.apps.Refresh(t.Context(), keyring.NewSecret(q.Get("token")))
		if err != nil || grant.SessionID != q.Get("session_id") || grant.DID != alice {
			t.Errorf("the exchange = %+v, %v", grant, err)
		}
		if len(b.bindings()) != 0 || d.count(`SELECT count(*) FROM device`) != 0 {
			t.Error("the browser was signed in, or keeps a cookie")
		}
	})
}

// Without HandOffs there are no apps, and nothing panics.
func TestAppsMayBeOff(t *testing.T) {
	t.Parallel()
	i := newInstance(t, storetest.New(t, store.SQLite))
	_, one := i.OpenApp(t.Context(), login.OpenApp{ID: "x"})
	_, two := i.AppRequest(t.Context(), "x", []*http.Cookie{})
	_, three := i.StartAppRedirect(t.Context(), login.AppRedirect{})
	if one == nil || two == nil || three == nil || i.ApproveApp(t.Context(), "x", "", nil) == nil {
		t.Errorf("without HandOffs: %v, %v, %v; want errors", one, two, three)
	}
}
