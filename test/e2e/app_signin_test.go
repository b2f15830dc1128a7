package e2e

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

// TestAnAppSignsSomebodyIn: the whole way with the official server, over gRPC;
// await before, during and after, with a stream that was cut, three waiters; the
// session works, is renewed, listed and revoked (N1–N6).
func TestAnAppSignsSomebodyIn(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 0)
	p, b := inst.program(), inst.browser()
	begun := p.begin(account, 0)
	before := p.wait(t.Context(), begun)
	before.until(t, authv1.Stage_STAGE_INITIATED)
	page := b.arrive(begun, account)
	before.until(t, authv1.Stage_STAGE_CODE_WANTED)
	for _, want := range []string{"Test reader", "unverified", "127.0.0.0/24", account.DID} {
		if !strings.Contains(page.body, want) {
			t.Errorf("the page does not show %s:\n%s", want, page.body)
		}
	}
	during := p.wait(t.Context(), begun)
	during.until(t, authv1.Stage_STAGE_CODE_WANTED)
	if a := b.typeCode(page, begun, "BBBB-BBBB"); a.status != http.StatusBadRequest || !strings.Contains(a.body, "not the code") {
		t.Errorf("a wrong code: %d\n%s", a.status, a.body)
	}
	if a := b.typeCode(page, begun, strings.ToLower(begun.GetUserCode())); a.status != http.StatusSeeOther || !strings.Contains(b.get(a.location()).body, "The app is signed in") {
		t.Fatalf("the code: %d\n%s", a.status, a.body)
	}
	session := before.session(t)
	for _, other := range []*authv1.Session{during.session(t), p.wait(t.Context(), begun).session(t)} {
		if other.GetSessionId() != session.GetSessionId() || other.GetRefreshSecret() != session.GetRefreshSecret() {
			t.Errorf("waiters of one secret got %s and %s", session.GetSessionId(), other.GetSessionId())
		}
	}
	for range 2 {
		if _, err := p.AcknowledgeLogin(t.Context(), connect.NewRequest(&authv1.AcknowledgeLoginRequest{LoginId: begun.GetLoginId(), Secret: begun.GetSecret()})); err != nil {
			t.Errorf("AcknowledgeLogin: %v", err)
		}
	}
	if r := <-p.wait(t.Context(), begun).result; connect.CodeOf(r.err) != connect.CodeAlreadyExists {
		t.Errorf("AwaitLogin after the acknowledgement: %v, %v; want already_exists", r.session, r.err)
	}
	if status, _, _ := b.me(); status != http.StatusUnauthorized {
		t.Errorf("the browser is signed in itself (%d)", status)
	}
	if status, did := p.me(session.GetAccessToken()); status != http.StatusOK || did != account.DID || session.GetHandle() != account.Handle {
		t.Errorf("/api/me with the token: %d %s as %s", status, did, session.GetHandle())
	}
	resp, err := p.RefreshSession(t.Context(), connect.NewRequest(&authv1.RefreshSessionRequest{RefreshSecret: session.GetRefreshSecret()}))
	if err != nil {
		t.Fatalf("RefreshSession: %v", err)
	}
	token := resp.Msg.GetSession().GetAccessToken()
	if err := inst.learnSecrets(); err != nil { // the member's tokens, which no answer may hold
		t.Fatal(err)
	}
	listed, err := p.ListSessions(t.Context(), authorized(&authv1.ListSessionsRequest{}, token))
	if err != nil || len(listed.Msg.GetSessions()) != 1 || !listed.Msg.GetSessions()[0].GetCurrent() {
		t.Errorf("ListSessions: %v, %v", listed, err)
	}
	if _, err := p.RevokeSession(t.Context(), authorized(&authv1.RevokeSessionRequest{}, token)); err != nil {
		t.Fatalf("RevokeSession: %v", err)
	}
	for _, dead := range []string{token, session.GetAccessToken()} {
		if status, _ := p.me(dead); status != http.StatusUnauthorized {
			t.Errorf("/api/me after the revocation: %d, want 401", status)
		}
	}
}

// TestAForwardedLink: somebody is sent the link of another's app and goes all the
// way at their own server. Without the code nothing is delivered; five wrong
// codes end it (N4).
func TestAForwardedLink(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	account := inst.network.NewAccount(t, 1)
	attacker, victim := inst.program(), inst.browser()
	begun := attacker.begin(account, 0)
	w := attacker.wait(t.Context(), begun)
	page := victim.arrive(begun, account)
	w.until(t, authv1.Stage_STAGE_CODE_WANTED)
	stranger := inst.browser()
	if a := stranger.get("/app/" + begun.GetLoginId() + "/approve"); a.status != http.StatusForbidden || strings.Contains(a.body, account.DID) {
		t.Errorf("the page in the attacker's own browser: %d\n%s", a.status, a.body)
	}
	if a := stranger.post("/app/"+begun.GetLoginId()+"/approve", url.Values{"code": {begun.GetUserCode()}}); a.status != http.StatusForbidden {
		t.Errorf("the code from the attacker's own browser: %d, want 403", a.status)
	}
	for range 5 {
		victim.typeCode(page, begun, "BBBB-BBBB")
	}
	if r := <-w.result; connect.CodeOf(r.err) != connect.CodePermissionDenied {
		t.Errorf("the attacker got %v, %v; want permission_denied", r.session, r.err)
	}
	if a := victim.typeCode(page, begun, begun.GetUserCode()); !strings.Contains(victim.get(a.location()).body, "Not signed in") {
		t.Errorf("the right code after five wrong ones: %d to %s", a.status, a.location())
	}
	if r := <-attacker.wait(t.Context(), begun).result; r.session != nil {
		t.Error("the attacker's app is signed in")
	}
}

// TestDecliningAnApp at the member's server ends the wait with a code of its own.
func TestDecliningAnApp(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 0)
	p, b := inst.program(), inst.browser()
	begun := p.begin(account, 0)
	w := p.wait(t.Context(), begun)
	back, err := inst.network.Decline(t.Context(), b.get("/app/"+begun.GetLoginId()).location(), account)
	if err != nil {
		t.Fatal(err)
	}
	if a := b.get(back); a.status != http.StatusSeeOther || !strings.Contains(b.get(a.location()).body, "Not signed in") {
		t.Errorf("declining: %d %s", a.status, a.location())
	}
	if r := <-w.result; connect.CodeOf(r.err) != connect.CodePermissionDenied {
		t.Errorf("AwaitLogin: %v, want permission_denied", r.err)
	}
}

// TestAppSignInSurvivesRestarts: stopped and killed in the middle; the stop ends
// streams retryably and quickly (N3).
func TestAppSignInSurvivesRestarts(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{})
	account := inst.network.NewAccount(t, 0)
	p, b := inst.program(), inst.browser()
	begun := p.begin(account, 0)
	w := p.wait(t.Context(), begun)
	w.until(t, authv1.Stage_STAGE_INITIATED)
	began := time.Now()
	inst.stop()
	if r := <-w.result; connect.CodeOf(r.err) != connect.CodeUnavailable {
		t.Errorf("the stop ended the stream with %v, want unavailable", r.err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the stop took %v with an open stream", took)
	}
	inst.launch()
	page := b.arrive(begun, account)
	inst.kill()
	inst.launch()
	w = p.wait(t.Context(), begun)
	w.until(t, authv1.Stage_STAGE_CODE_WANTED)
	b.typeCode(page, begun, begun.GetUserCode())
	session := w.session(t)
	inst.restart()
	if again := p.wait(t.Context(), begun).session(t); again.GetRefreshSecret() != session.GetRefreshSecret() {
		t.Error("after a restart another session is delivered")
	}
	if status, did := p.me(session.GetAccessToken()); status != http.StatusOK || did != account.DID {
		t.Errorf("/api/me after a restart: %d %s", status, did)
	}
}

// TestAppSignInOverTwoProcesses: the browser is at one process, the app waits at
// the other; a revocation at one is felt at the other within a second (N3, N6).
func TestAppSignInOverTwoProcesses(t *testing.T) {
	t.Parallel()
	one := shape{confidential: true, database: storetest.CreateDatabase(t, "TEMPLATE template0"), env: map[string]string{"ATOLL_SECRET_KEY": newKey(t)}}
	a := start(t, one)
	other := one
	other.env = map[string]string{"ATOLL_SECRET_KEY": one.env["ATOLL_SECRET_KEY"], "ATOLL_PUBLIC_URL": a.origin(), "ATOLL_ROLES": "web"}
	b := start(t, other)
	account := a.network.NewAccount(t, 0)
	near, far, member := a.program(), b.program(), a.browser()
	begun := near.begin(account, 0)
	w := far.wait(t.Context(), begun)
	w.until(t, authv1.Stage_STAGE_INITIATED)
	page := member.arrive(begun, account)
	w.until(t, authv1.Stage_STAGE_CODE_WANTED)
	member.typeCode(page, begun, begun.GetUserCode())
	session := w.session(t)
	for name, p := range map[string]*program{"one": near, "the other": far} {
		if status, did := p.me(session.GetAccessToken()); status != http.StatusOK || did != account.DID {
			t.Errorf("/api/me at %s: %d %s", name, status, did)
		}
	}
	if _, err := near.RevokeSession(t.Context(), authorized(&authv1.RevokeSessionRequest{}, session.GetAccessToken())); err != nil {
		t.Fatal(err)
	}
	if status, _ := far.me(session.GetAccessToken()); status != http.StatusUnauthorized {
		t.Errorf("/api/me at the other process after the revocation: %d, want 401", status)
	}
}

// TestMobileClient: an allowed address gets a token that is good once.
func TestMobileClient(t *testing.T) {
	t.Parallel()
	const redirect = "social.coves:/callback"
	inst := start(t, shape{confidential: true, env: map[string]string{"ATOLL_APP_REDIRECTS": redirect}})
	account := inst.network.NewAccount(t, 0)
	b := inst.browser()
	if a := b.get("/oauth/mobile/login?" + url.Values{"handle": {account.Handle}, "redirect_uri": {"evil.example:/callback"}}.Encode()); a.status != http.StatusBadRequest {
		t.Errorf("an address that is not allowed: %d, want 400", a.status)
	}
	a := b.get("/oauth/mobile/login?" + url.Values{"handle": {account.Handle}, "redirect_uri": {redirect}}.Encode())
	back, err := inst.network.SignIn(t.Context(), a.location(), account)
	if err != nil {
		t.Fatal(err)
	}
	q := query(t, b.get(back).location(), redirect)
	if q.Get("did") != account.DID || q.Get("handle") != account.Handle {
		t.Fatalf("the app gets %v", q)
	}
	refresh := func(token string) answer {
		body := `{"did":"` + account.DID + `","session_id":"` + q.Get("session_id") + `","sealed_token":"` + token + `"}`
		return inst.browser().do(http.MethodPost, "/oauth/refresh", strings.NewReader(body), map[string]string{"Content-Type": "application/json"})
	}
	first := refresh(q.Get("token"))
	if first.status != http.StatusOK || !strings.Contains(first.body, `"access_token"`) {
		t.Fatalf("the exchange: %d %s", first.status, first.body)
	}
	token := strings.SplitN(strings.SplitN(first.body, `"access_token":"`, 2)[1], `"`, 2)[0]
	if status, did := inst.program().me(token); status != http.StatusOK || did != account.DID {
		t.Errorf("/api/me: %d %s", status, did)
	}
	if again := refresh(q.Get("token")); again.status != http.StatusUnauthorized {
		t.Errorf("the same token again: %d, want 401", again.status)
	}
}
