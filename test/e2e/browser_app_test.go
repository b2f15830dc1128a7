package e2e

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/chromedp/chromedp"

	authv1 "github.com/atoll-social/atoll/gen/atoll/auth/v1"
	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/port"
)

// arrive opens the address that an app shows and goes through the PDS's own
// pages to the one that asks for the code.
func (w *window) arrive(begun *authv1.InitiateLoginResponse, account network.Account) {
	w.t.Helper()
	w.do("open "+begun.GetBrowserUrl(), chromedp.Navigate(begun.GetBrowserUrl()))
	w.typePassword(account)
	w.press("Authorize")
	w.awaitPath("/app/" + begun.GetLoginId() + "/approve")
	w.want("Sign an app in?", "Test reader", "unverified", account.DID)
}

// tryCode types a code that is wrong and reads what the page says.
func (w *window) tryCode(code, says string) {
	w.t.Helper()
	w.fill("code", code)
	w.press("Sign the app in")
	w.await(says, fmt.Sprintf(`document.body.innerText.includes(%q)`, says))
}

// TestAppsInARealBrowser: the page that asks for the code, as chromium shows it
// with production headers (N4).
func TestAppsInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	c := inst.chromium()
	account := inst.network.NewAccount(t, 0)
	for _, tt := range []struct {
		name  string
		check func(*testing.T, *instance, *chromium, network.Account)
	}{
		{"the code", appByCode}, {"a forwarded link, declined", forwardedDeclined}, {"a forwarded link, guessed", forwardedGuessed},
		{"on the same machine", appHere}, {"on another machine", appElsewhere},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.check(t, inst, c, account) })
	}
}

// appByCode is somebody with an app that shows a code.
func appByCode(t *testing.T, inst *instance, c *chromium, account network.Account) {
	t.Helper()
	p, w := inst.program(), c.window()
	begun := p.begin(account, 0)
	app := p.wait(t.Context(), begun)
	w.arrive(begun, account)
	r := &reader{axe: axeSource(t), seen: map[string]bool{}}
	r.judge(w, "an app that wants to be signed in")
	w.tryCode("BBBB-BBBB", "You can try four times more.")
	w.await("the field, empty, with the focus", `document.activeElement.name === "code" && document.activeElement.value === ""`)
	w.fill("code", strings.ToLower(strings.ReplaceAll(begun.GetUserCode(), "-", " ")))
	w.press("Sign the app in")
	w.await("the end", `document.body.innerText.includes("The app is signed in")`)
	r.judge(w, "the end of a sign-in of an app")
	if s := app.session(t); s.GetDid() != account.DID {
		t.Errorf("the app is signed in as %s", s.GetDid())
	}
	w.open("/account")
	w.awaitPath("/sign-in") // the browser itself is not
}

// forwardedDeclined: the attacker begins in their own app and sends the link to
// the victim, who goes all the way and has no code.
func forwardedDeclined(t *testing.T, inst *instance, c *chromium, account network.Account) {
	t.Helper()
	p, w := inst.program(), c.window()
	begun := p.begin(account, 0)
	app := p.wait(t.Context(), begun)
	w.arrive(begun, account)
	w.press("I did not start this")
	w.await("the end", `document.body.innerText.includes("Nothing has changed.")`)
	if r := <-app.result; connect.CodeOf(r.err) != connect.CodePermissionDenied {
		t.Errorf("the attacker's app got %v, %v; want permission_denied", r.session, r.err)
	}
}

// forwardedGuessed is the same victim, who tries.
func forwardedGuessed(t *testing.T, inst *instance, c *chromium, account network.Account) {
	t.Helper()
	p, w := inst.program(), c.window()
	begun := p.begin(account, 0)
	app := p.wait(t.Context(), begun)
	w.arrive(begun, account)
	for n, says := range []string{"four times more", "three times more", "two times more", "once more", "A wrong code was typed five times"} {
		w.tryCode(fmt.Sprintf("BBBB-BBB%c", 'C'+n), says)
	}
	if r := <-app.result; connect.CodeOf(r.err) != connect.CodePermissionDenied {
		t.Errorf("the attacker's app got %v, %v; want permission_denied", r.session, r.err)
	}
}

// appHere is an app on the machine of the browser, which needs no code.
func appHere(t *testing.T, inst *instance, c *chromium, account network.Account) {
	t.Helper()
	p, w := inst.program(), c.window()
	begun, confirmed := p.listen(account)
	app := p.wait(t.Context(), begun)
	w.arrive(begun, account)
	w.press("Sign it in on this computer")
	w.await("the end", `document.body.innerText.includes("The app is signed in")`)
	if err := <-confirmed; err != nil {
		t.Errorf("ConfirmLogin: %v", err)
	}
	if s := app.session(t); s.GetDid() != account.DID {
		t.Errorf("the app is signed in as %s", s.GetDid())
	}
}

// appElsewhere: a forwarded link of an app that listens elsewhere finds nobody.
func appElsewhere(t *testing.T, inst *instance, c *chromium, account network.Account) {
	t.Helper()
	p, w := inst.program(), c.window()
	nobody, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	begun := p.begin(account, uint32(nobody))
	w.arrive(begun, account)
	w.press("Sign it in on this computer")
	w.await("chromium's own page", `!location.origin.startsWith("https://app-")`)
	w.do("go back", chromedp.Navigate(begun.GetBrowserUrl()+"/approve"))
	w.want("Sign an app in?") // it still waits for the code
}

// listen begins a sign-in of an app that listens on the browser's machine.
func (p *program) listen(account network.Account) (begun *authv1.InitiateLoginResponse, confirmed <-chan error) {
	p.t.Helper()
	results := make(chan error, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" || r.URL.Query().Get("login_id") != begun.GetLoginId() {
			http.NotFound(w, r)
			return
		}
		_, err := p.ConfirmLogin(r.Context(), connect.NewRequest(&authv1.ConfirmLoginRequest{
			LoginId: begun.GetLoginId(), Secret: begun.GetSecret(), Proof: r.URL.Query().Get("proof"),
		}))
		results <- err
		http.Redirect(w, r, begun.GetBrowserUrl()+"/approve", http.StatusSeeOther)
	}))
	p.t.Cleanup(server.Close)
	begun = p.begin(account, uint32(server.Listener.Addr().(*net.TCPAddr).Port))
	return begun, results
}
