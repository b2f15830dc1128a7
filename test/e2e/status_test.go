package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/test/network"
)

// inactivity is a member with a post, whose PDS says this and that of them.
type inactivity struct {
	t      *testing.T
	inst   *instance
	b      *browser
	member network.Account
	owner  *network.Session // who may do what the member may
	title  string
	form   url.Values
}

func newInactivity(t *testing.T, inst *instance, commons network.Account) *inactivity {
	t.Helper()
	i := &inactivity{t: t, inst: inst, b: inst.browser(), member: inst.network.NewAccount(t, 1), title: "still here " + network.Name("x")}
	var err error
	if i.owner, err = inst.network.SignInWithPassword(t.Context(), i.member); err != nil {
		t.Fatal(err)
	}
	i.b.signIn(i.member)
	i.form = formOf(t, i.b.get("/posts/new"), "/posts", nil)
	i.form.Set("community", commons.Handle)
	i.form.Set("title", i.title)
	i.form.Set("content", "A post.")
	if a := i.b.post("/posts", i.form); a.status != http.StatusSeeOther {
		t.Fatalf("post: %d\n%s", a.status, a.body)
	}
	return i
}

// says waits until the account page says this of the session, or no more.
func (i *inactivity) says(what string, want bool) {
	i.t.Helper()
	eventually(i.t, "the account page on "+what, func() bool {
		return strings.Contains(i.b.get("/account").body, what) == want
	})
}

// shown waits until the member's post is on Discover so many times.
func (i *inactivity) shown(want int) {
	i.t.Helper()
	eventually(i.t, "the post being shown, or not", func() bool {
		_, uris := discover(i.t, i.inst.browser(), i.title)
		return len(uris) == want
	})
}

// write sends another post.
func (i *inactivity) write() answer {
	i.t.Helper()
	form := url.Values{}
	for name, values := range i.form {
		form[name] = values
	}
	form.Set("key", network.Name("key"))
	form.Set("title", "another "+network.Name("x"))
	return i.b.post("/posts", form)
}

// refused checks that nothing can be written, and that the member is told why.
func (i *inactivity) refused(status int, why string) {
	i.t.Helper()
	if a := i.write(); a.status != status || !strings.Contains(a.body, why) {
		i.t.Errorf("a post meanwhile: %d, want %d and %q\n%s", a.status, status, why, a.body)
	}
}

// admin does what the operator of the PDS does.
func (i *inactivity) admin(method string, in any) {
	i.t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		i.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(i.t.Context(), http.MethodPost, i.inst.network.PDS[i.member.PDS].URL+"/xrpc/"+method, bytes.NewReader(body))
	if err != nil {
		i.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.SetBasicAuth("admin", i.inst.network.AdminPassword)
	resp, err := i.inst.network.Client().Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		i.t.Fatalf("%s: %d", method, resp.StatusCode)
	}
}

func (i *inactivity) call(method string, in any) {
	i.t.Helper()
	if err := i.owner.Call(i.t.Context(), method, in, nil); err != nil {
		i.t.Fatal(err)
	}
}

// TestInactiveMembers: what the official PDS says of a member's account reaches
// their session: writing stops with the reason, content is hidden, and both come
// back with the account; a deleted one's session ends (S40). A new handle is
// shown (S39).
func TestInactiveMembers(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	commons := community(t, inst.network)
	for name, check := range map[string]func(*testing.T, *instance, network.Account){
		"deactivated and back": deactivatedAndBack, "deactivated, having written nothing": deactivatedReader,
		"taken down": takenDown, "deleted": deleted, "renamed": renamed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, inst, commons)
		})
	}
}

// deactivatedAndBack is a member who leaves for a while.
func deactivatedAndBack(t *testing.T, inst *instance, commons network.Account) {
	t.Helper()
	i := newInactivity(t, inst, commons)
	i.shown(1)
	i.call("com.atproto.server.deactivateAccount", map[string]any{})
	i.says("Your account is deactivated at its server.", true)
	i.refused(http.StatusForbidden, "your account is not active")
	i.shown(0)
	i.call("com.atproto.server.activateAccount", nil)
	i.says("deactivated", false)
	if a := i.write(); a.status != http.StatusSeeOther {
		t.Errorf("a post after the return: %d\n%s", a.status, a.body)
	}
	i.shown(1)
}

// deactivatedReader is one of whom only a sign-in is known.
func deactivatedReader(t *testing.T, inst *instance, _ network.Account) {
	t.Helper()
	i := &inactivity{t: t, inst: inst, b: inst.browser(), member: inst.network.NewAccount(t, 0)}
	i.b.signIn(i.member)
	eventually(t, "the index knowing the member", func() bool {
		return inst.number(`SELECT count(*) FROM account WHERE did = $1 AND resolved_at IS NOT NULL`, i.member.DID) == 1
	})
	owner, err := inst.network.SignInWithPassword(t.Context(), i.member)
	if err != nil {
		t.Fatal(err)
	}
	i.owner = owner
	i.call("com.atproto.server.deactivateAccount", map[string]any{})
	i.says("Your account is deactivated at its server.", true)
}

// takenDown is one whose server takes them down, and thinks better of it.
func takenDown(t *testing.T, inst *instance, commons network.Account) {
	t.Helper()
	i := newInactivity(t, inst, commons)
	takedown := func(applied bool) {
		i.admin("com.atproto.admin.updateSubjectStatus", map[string]any{
			"subject":  map[string]any{"$type": "com.atproto.admin.defs#repoRef", "did": i.member.DID},
			"takedown": map[string]any{"applied": applied, "ref": "test"},
		})
	}
	takedown(true)
	i.says("Your account is taken down at its server.", true)
	i.refused(http.StatusForbidden, "your account is not active")
	i.shown(0)
	takedown(false)
	i.says("taken down", false)
	i.shown(1)
	// Official servers end all sessions with a takedown; whatever this one
	// does, the member is told, and signing in again is all it takes.
	if a := i.write(); a.status == http.StatusUnauthorized {
		i.b.signIn(i.member)
		if a := i.write(); a.status != http.StatusSeeOther {
			t.Errorf("a post after signing in again: %d\n%s", a.status, a.body)
		}
	} else if a.status != http.StatusSeeOther {
		t.Errorf("a post after the takedown was lifted: %d\n%s", a.status, a.body)
	}
}

// deleted is one whose account goes, with an app password given here.
func deleted(t *testing.T, inst *instance, commons network.Account) {
	t.Helper()
	i := newInactivity(t, inst, commons)
	_, password := appPassword(t, inst, i.member)
	form := formOf(t, i.b.get("/account/delegation"), "/account/delegation/password", nil)
	form.Set("password", password)
	if a := i.b.post("/account/delegation/password", form); a.status != http.StatusSeeOther || inst.passwords(i.member.DID) != 1 {
		t.Errorf("giving an app password: %d %s", a.status, a.body)
	}
	i.admin("com.atproto.admin.deleteAccount", map[string]any{"did": i.member.DID})
	i.says("Your account was deleted at its server.", true)
	eventually(t, "the app password being forgotten", func() bool { return inst.passwords(i.member.DID) == 0 })
	if a := i.b.get("/api/me"); a.status != http.StatusUnauthorized || !strings.Contains(a.body, "SignInAgain") {
		t.Errorf("/api/me of a deleted account: %d %s", a.status, a.body)
	}
	i.refused(http.StatusUnauthorized, "Your account was deleted at its server.")
	i.shown(0)
}

// renamed is one who takes another handle.
func renamed(t *testing.T, inst *instance, commons network.Account) {
	t.Helper()
	i := newInactivity(t, inst, commons)
	handle := network.Name("renamed") + inst.network.PDS[1].HandleDomain
	i.call("com.atproto.identity.updateHandle", map[string]any{"handle": handle})
	eventually(t, "the new handle", func() bool {
		_, did, shown := i.b.me()
		return shown == handle && did == i.member.DID
	})
	if a := i.write(); a.status != http.StatusSeeOther {
		t.Errorf("a post under the new handle: %d\n%s", a.status, a.body)
	}
}
