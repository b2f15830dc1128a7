package login

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// errNoApps: the program was put together without sign-ins of apps.
var errNoApps = errors.New("login: no HandOffs")

// errDecided: another browser was faster.
var errDecided = fault.New(fault.Conflict, "This sign-in of an app was finished in another window. Nothing was done here.")

// OpenApp is a browser that opens the address of an app's sign-in.
type OpenApp struct {
	ID      string
	Addr    netip.Addr
	Cookies []*http.Cookie
}

// OpenApp leads the browser on to the member's server, bound to this browser like
// every other sign-in (S13). It can be opened again, also elsewhere: the one that
// comes back first counts. Every error is a fault that says what to do.
func (s *Service) OpenApp(ctx context.Context, in OpenApp) (Started, error) {
	h := s.cfg.HandOffs
	if h == nil {
		return Started{}, errNoApps
	}
	r, err := h.read(ctx, in.ID)
	if err != nil {
		return Started{}, explain(err)
	}
	if state := r.at(h.now()); state != stateInitiated && state != stateOpened {
		return Started{}, stands(state)
	}
	input, err := identity.ParseInput(r.identifier)
	if err != nil {
		return Started{}, explain(err)
	}
	started, err := s.begin(ctx, input, appState{App: r.id, ReturnTo: "/"}, in.Addr, in.Cookies)
	if err != nil {
		return Started{}, err
	}
	err = h.change(ctx, r.id, func(r handOff, now time.Time) (string, []any, error) {
		if r.at(now) != stateInitiated {
			return "", nil, nil
		}
		return `state = $1`, []any{string(stateOpened)}, nil
	})
	return started, explained(err)
}

// explained is explain, for errors that may be none.
func explained(err error) error {
	if err == nil {
		return nil
	}
	return explain(err)
}

// stands says that nothing is left to be done in the browser.
func stands(state HandOffState) error {
	if state.over() {
		return &EndedError{State: state}
	}
	return errDecided
}

// comeBack ends the browser's part with the member's server: the session is
// stored, and waits for the approval.
func (s *Service) comeBack(ctx context.Context, in Callback, attempt *client.Attempt, own appState, out Outcome) (Outcome, error) {
	out.App = own.App
	h := s.cfg.HandOffs
	if h == nil {
		return out, errNoApps
	}
	r, err := h.read(ctx, own.App)
	if err != nil {
		return out, explain(err)
	}
	out.ReturnTo = ApprovePath(r.id)
	sessionID, approver := session.NewAppID(), rand.Text()+rand.Text()
	data, _, err := s.cfg.Client.Callback(ctx, in.Query, func(ctx context.Context, data *client.SessionData, _ *client.Attempt) error {
		return saving(s.keepForApp(ctx, in, r, sessionID, approver, data))
	})
	switch {
	case errors.Is(err, client.ErrDenied):
		s.note(ctx, in, attempt, session.KindDeclined, attempt.Issuer)
		out.Result = Declined
		if r.redirect != "" {
			out.ReturnTo = refused(r.redirect)
		}
		return out, explained(h.finish(ctx, r.id, StateDenied, stateOpened))
	case err != nil:
		return out, s.appFailed(ctx, in, attempt, r.id, err)
	}
	out.Result, out.DID = SignedIn, data.DID
	offer(s.arrived, data.DID)
	if r.redirect != "" {
		return s.callBack(ctx, r, sessionID, data.DID, out)
	}
	out.Cookies = append(out.Cookies, s.cfg.Cookies.Make(approverSuffix(r.id), approver, r.expires.Sub(h.now())))
	return out, nil
}

// keepForApp stores the session and lets the sign-in wait for its approval.
func (s *Service) keepForApp(ctx context.Context, in Callback, r handOff, sessionID, approver string, data *client.SessionData) error {
	h := s.cfg.HandOffs
	if err := h.cfg.Apps.SignIn(ctx, session.AppSignIn{
		ID: sessionID, Session: data, Handle: s.handle(ctx, data.DID), Name: r.name, Origin: r.origin, CollectBy: r.expires, Addr: in.Addr,
	}); err != nil {
		return err
	}
	err := h.change(ctx, r.id, func(r handOff, now time.Time) (string, []any, error) {
		if state := r.at(now); state != stateInitiated && state != stateOpened {
			return "", nil, stands(state)
		}
		return `state = $1, did = $2, app_session_id = $3, approver_hash = $4`,
			[]any{string(stateCodeWanted), data.DID.String(), sessionID, hashOf(approver)}, nil
	})
	if err != nil {
		// The session would be swept in any case.
		return errors.Join(err, h.cfg.Apps.Abandon(context.WithoutCancel(ctx), sessionID))
	}
	return nil
}

// appFailed ends the sign-in of an app that the member's server did not finish.
// Once a browser has come back well, another one's failure is its own.
func (s *Service) appFailed(ctx context.Context, in Callback, attempt *client.Attempt, id string, err error) error {
	var ended *EndedError
	if errors.Is(err, client.ErrUnknownState) || errors.Is(err, errDecided) || errors.As(err, &ended) {
		return explain(err) // another callback's to report
	}
	s.note(ctx, in, attempt, session.KindSignInRefused, detail(err))
	if ending := s.cfg.HandOffs.finish(context.WithoutCancel(ctx), id, StateFailed, stateOpened); ending != nil {
		s.log.ErrorContext(ctx, "sign-in of an app not ended", "error", ending)
	}
	return explain(err)
}

// approverSuffix names the cookie of the browser that may approve.
func approverSuffix(id string) string {
	return "app-" + base64.RawURLEncoding.EncodeToString(hashOf(id))
}

// AppRequest is the sign-in of an app as its page shows it.
type AppRequest struct {
	ID    string
	Name  string // what the app calls itself; nobody has verified it
	State HandOffState
	// The rest is for the browser that came back from the member's server only.
	CodeWanted bool   // the code is to be typed
	Approved   bool   // done, or about to be
	Origin     string // where the app asked from, coarse; may be empty
	Asked      time.Time
	ExpiresAt  time.Time
	TriesLeft  int
	DID        syntax.DID
	Handle     syntax.Handle // for display; may be empty
	// LoopbackPort is where the app listens on its machine; 0: nowhere.
	LoopbackPort int
}

// errOtherBrowser: the request comes from a browser that did not prove anything.
var errOtherBrowser = fault.New(fault.Forbidden,
	"This sign-in of an app belongs to another browser. Open the address that the app shows in this one, with cookies allowed.").WithCode("OtherBrowser")

// AppRequest returns a sign-in for its page. How it ended anybody may see who
// knows the address; while it waits for the code, only the browser that came
// back from the member's server.
func (s *Service) AppRequest(ctx context.Context, id string, cookies []*http.Cookie) (AppRequest, error) {
	h := s.cfg.HandOffs
	if h == nil {
		return AppRequest{}, errNoApps
	}
	r, err := h.read(ctx, id)
	if err != nil {
		return AppRequest{}, explain(err)
	}
	out := AppRequest{ID: r.id, State: r.at(h.now())}
	switch out.State {
	case stateInitiated, stateOpened:
		return AppRequest{}, errOtherBrowser
	case stateApproved, StateDelivered:
		out.Approved = true
	case stateCodeWanted:
		if !s.approves(r, cookies) {
			return AppRequest{}, errOtherBrowser
		}
		out.CodeWanted = true
		out.Name, out.Origin, out.Asked, out.ExpiresAt, out.DID = r.name, r.origin, r.created, r.expires, r.did
		out.TriesLeft, out.LoopbackPort, out.Handle = CodeTries-r.tries, r.port, s.handle(ctx, r.did)
	}
	return out, nil
}

// approves tells whether these are the cookies of the browser that may approve.
func (s *Service) approves(r handOff, cookies []*http.Cookie) bool {
	name := s.cfg.Cookies.Name(approverSuffix(r.id))
	for _, c := range cookies {
		if c.Name == name && holds(r.approverHash, c.Value) {
			return true
		}
	}
	return false
}

// WrongCodeError says that a typed code is not the one that the app shows.
type WrongCodeError struct{ TriesLeft int }

// Error says it for the log.
func (e *WrongCodeError) Error() string {
	return "wrong code, " + strconv.Itoa(e.TriesLeft) + " tries left"
}

// Unwrap returns what a person may be shown.
func (e *WrongCodeError) Unwrap() error {
	return fault.New(fault.Invalid, "That is not the code that the app shows. Tries left: "+strconv.Itoa(e.TriesLeft)+".").WithCode("WrongCode")
}

// ApproveApp lets the app have its session, if code is the one that it shows.
// Errors: *WrongCodeError, *EndedError (after the fifth wrong code among others),
// and faults that say what to do.
func (s *Service) ApproveApp(ctx context.Context, id, code string, cookies []*http.Cookie) error {
	var wrong error
	err := s.decide(ctx, id, cookies, func(r handOff) (string, []any) {
		switch hash := codeHash(id, code); {
		case subtle.ConstantTimeCompare(r.codeHash, hash) == 1:
			return approved, []any{string(stateApproved)}
		case r.tries+1 >= CodeTries:
			wrong = &EndedError{State: StateWrongCode}
			return `state = $1, tries = tries + 1, approver_hash = NULL, proof_hash = NULL`, []any{string(StateWrongCode)}
		}
		wrong = &WrongCodeError{TriesLeft: CodeTries - r.tries - 1}
		return `tries = $1`, []any{r.tries + 1}
	})
	var ended *EndedError
	if err == nil && errors.As(wrong, &ended) {
		err = s.abandon(ctx, id)
	}
	if err != nil {
		return explain(err)
	}
	return wrong
}

// abandon ends the session of a sign-in that was refused.
func (s *Service) abandon(ctx context.Context, id string) error {
	r, err := s.cfg.HandOffs.read(ctx, id)
	if err != nil {
		return err
	}
	return s.cfg.HandOffs.cfg.Apps.Abandon(ctx, r.session)
}

// DeclineApp refuses the app. The session that waited for it ends.
func (s *Service) DeclineApp(ctx context.Context, id string, cookies []*http.Cookie) error {
	err := s.decide(ctx, id, cookies, func(handOff) (string, []any) {
		return `state = $1, approver_hash = NULL, proof_hash = NULL`, []any{string(StateDenied)}
	})
	if err == nil {
		err = s.abandon(ctx, id)
	}
	return explained(err)
}

// AppOnThisMachine returns the loopback address to lead the browser to, with a
// new proof that only a program on the browser's own machine can get.
func (s *Service) AppOnThisMachine(ctx context.Context, id string, cookies []*http.Cookie) (string, error) {
	proof, port := rand.Text()+rand.Text(), 0
	err := s.decide(ctx, id, cookies, func(r handOff) (string, []any) {
		if port = r.port; port == 0 {
			return "", nil
		}
		return `proof_hash = $1`, []any{hashOf(proof)}
	})
	if err != nil {
		return "", explain(err)
	}
	if port == 0 {
		return "", fault.New(fault.Invalid, "This app does not wait on any machine for the browser. Type the code that it shows.")
	}
	return "http://127.0.0.1:" + strconv.Itoa(port) + "/?" + url.Values{"login_id": {id}, "proof": {proof}}.Encode(), nil
}

// decide changes a sign-in that waits for this browser.
func (s *Service) decide(ctx context.Context, id string, cookies []*http.Cookie, what func(r handOff) (set string, args []any)) error {
	h := s.cfg.HandOffs
	if h == nil {
		return errNoApps
	}
	return h.change(ctx, id, func(r handOff, now time.Time) (string, []any, error) {
		if state := r.at(now); state != stateCodeWanted {
			if state == stateInitiated || state == stateOpened {
				return "", nil, errOtherBrowser
			}
			return "", nil, stands(state)
		}
		if !s.approves(r, cookies) {
			return "", nil, errOtherBrowser
		}
		set, args := what(r)
		return set, args, nil
	})
}
