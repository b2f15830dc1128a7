package web

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
)

// Standings says how members can be acted for; agent.Agent does.
type Standings interface {
	Standing(ctx context.Context, did syntax.DID) (agent.Standing, error)
}

// Passwords keeps app passwords; agent.Passwords does.
type Passwords interface {
	Give(ctx context.Context, did syntax.DID, password keyring.Secret) error
	Remove(ctx context.Context, did syntax.DID) error
	// Info tells what is known of a member's password; ok is false when there is none.
	Info(ctx context.Context, did syntax.DID) (info agent.PasswordInfo, ok bool, err error)
}

const delegationPath = "/account/delegation"

// delegationPage is the data of delegation_show.
type delegationPage struct {
	State    string // a sentence: whether Atoll can write for the member, and how
	Trouble  string // what went wrong with what was sent
	SignIn   string // address of the sign-in page, when that is the way on
	Grant    *grantForm
	PDS      string
	Expires  *moment // when the session ends unless it is renewed
	Ways     []delegationWay
	Password passwordForm
}

// delegationWay is one row of the list of ways.
type delegationWay struct {
	Name, Why   string
	Open, InUse bool
}

// passwordForm is the part of the page where a password is given or removed.
type passwordForm struct {
	Given bool   // there is one
	Wrong string // what is wrong with the one that was sent
}

// wayNames are what pages call the ways.
var wayNames = map[agent.Way]string{
	agent.ByOAuth: "Your sign-in", agent.ByAppPassword: "App password", agent.ByRelay: "The instance's own account",
	agent.ByHosted: "Kept here",
}

// delegationShow answers GET /account/delegation: which way Atoll writes for the
// member, and why (A3, A4, A10).
func (s *Server) delegationShow(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	account, ok := v.device.Current()
	if !ok {
		redirect(w, r, signInURL(delegationPath))
		return nil
	}
	return s.showDelegation(w, r, v, account, http.StatusOK, nil)
}

// showDelegation shows the page; wrong is what became of a form, if anything.
func (s *Server) showDelegation(w http.ResponseWriter, r *http.Request, v visitor, account session.Account, status int, wrong *wrongPassword) error {
	standing, err := s.cfg.Standings.Standing(r.Context(), account.DID)
	if err != nil {
		return err
	}
	data := delegationPage{PDS: standing.PDS}
	data.State, data.SignIn = stateWords(standing)
	if standing.Mend == agent.MendByUpgrade && account.Live && standing.SessionID == account.SessionID {
		data.SignIn = ""
		data.Grant = &grantForm{Acting: account.DID.String(), Scope: strings.Join(standing.Missing, " "),
			Permissions: permissions(standing.Missing), ReturnTo: delegationPath}
		httpserver.FormsLeadElsewhere(w.Header())
	}
	if !standing.ExpiresAt.IsZero() {
		at := endOf(standing.ExpiresAt, s.now())
		data.Expires = &at
	}
	for _, way := range standing.Ways {
		if way.Way == agent.ByAppPassword {
			data.Password.Given = way.Given
		}
		data.Ways = append(data.Ways, delegationWay{wayNames[way.Way], way.Why, way.Open, way.Way == standing.Way})
	}
	if wrong != nil {
		data.Password.Wrong, data.Trouble = wrong.field, wrong.trouble
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.show(w, r, v, status, "delegation_show", "How Atoll writes for you", data)
}

// stateWords says how an account stands, and where signing in helps.
func stateWords(s agent.Standing) (words, signIn string) {
	again := "/sign-in?" + url.Values{"handle": {s.DID.String()}, "return_to": {delegationPath}}.Encode()
	switch {
	case s.State == agent.Inactive:
		return "Your server says that your account is not active there. Nothing is written until it is.", ""
	case s.State == agent.WantsSignIn && s.Mend == agent.MendByNewPassword:
		return "Atoll cannot write for you: your server does not take your app password any more. Give a new one below, or sign in again.", again
	case s.State == agent.WantsSignIn:
		return "Atoll cannot write for you until you sign in again.", again
	case s.State == agent.WantsScope:
		return "Atoll writes for you by your sign-in, but you have not allowed everything that it can do.", again
	case s.Way == agent.ByAppPassword:
		return "Atoll writes for you by your app password.", ""
	case s.Way == agent.ByHosted:
		return "Your account is kept here, and Atoll writes for you with its own credential.", ""
	}
	return "Atoll writes for you by your sign-in with your server.", ""
}
