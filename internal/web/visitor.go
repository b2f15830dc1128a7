package web

import (
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
)

// visitor is the browser that sends a request: a device with accounts, or
// somebody whom nobody knows.
type visitor struct {
	token  keyring.Secret // the cookie's value
	device session.Device
}

// viewer is the active account as the layout shows it, nil for a stranger.
func (v visitor) viewer() *person {
	account, ok := v.device.Current()
	if !ok {
		return nil
	}
	p := personOf(account)
	return &p
}

func personOf(a session.Account) person {
	return person{DID: a.DID.String(), Handle: shownHandle(a.Handle)}
}

// shownHandle leaves out what is no name: a handle that does not resolve.
func shownHandle(h syntax.Handle) string {
	if h.IsInvalidHandle() {
		return ""
	}
	return h.String()
}

// visitor looks up who is asking, and hands the cookie out again when its
// expiry has moved. A dead cookie is not removed: the answer to an older
// request would take away what a newer one has just set.
func (s *Server) visitor(w http.ResponseWriter, r *http.Request) (visitor, error) {
	v := visitor{token: s.cfg.Cookies.Device(r)}
	if v.token.IsZero() {
		return v, nil
	}
	device, ok, err := s.cfg.Sessions.Device(r.Context(), v.token)
	if err != nil || !ok {
		return visitor{}, err
	}
	v.device = device
	if device.Renewed {
		s.cfg.Cookies.SetDevice(w, v.token)
	}
	return v, nil
}

// Names of the fields that say for whom a form is sent.
const (
	fieldActing = "acting"
	fieldSwitch = "switch"
)

// actor returns the account for which form acts (S25). A member who was asked
// which account they mean, and chose another one than the active, switches by
// sending the form. Errors are those of session.Device.Acting; the page for
// them offers the accounts and carries the form along.
func (s *Server) actor(w http.ResponseWriter, r *http.Request, form url.Values) (visitor, session.Account, error) {
	v, err := s.visitor(w, r)
	if err != nil {
		return v, session.Account{}, err
	}
	did, err := syntax.ParseDID(form.Get(fieldActing))
	if err != nil {
		did = ""
	}
	if form.Get(fieldSwitch) == "yes" && did != v.device.Active {
		if err := s.cfg.Sessions.Switch(r.Context(), v.token, did); err != nil {
			return v, session.Account{}, err
		}
		v.device.Active = did
	}
	account, err := v.device.Acting(did)
	return v, account, err
}

// did is the active account, empty for a stranger.
func (v visitor) did() syntax.DID {
	account, ok := v.device.Current()
	if !ok {
		return ""
	}
	return account.DID
}
