package web

import (
	"context"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
)

// accountShow answers GET /account: who the member is here, what Atoll may do,
// and where they are signed in. A stranger is asked to sign in.
func (s *Server) accountShow(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	account, ok := v.device.Current()
	if !ok {
		redirect(w, r, withNotice(r, signInURL("/account")))
		return nil
	}
	devices, err := s.cfg.Sessions.Devices(r.Context(), account.DID)
	if err != nil {
		return err
	}
	now := s.now()
	data := accountPage{
		PDS: account.PDS, SignedIn: momentOf(account.SignedInAt, now),
		Delegation:  s.cfg.Standings != nil,
		Permissions: permissions(account.Scopes), Scopes: account.Scopes,
	}
	if _, err := v.device.Acting(account.DID); err != nil {
		data.Ended = fault.From(err).Public
	}
	if account.Live && account.Paused != "" {
		data.Paused = fault.From(&session.PausedError{DID: account.DID, Reason: account.Paused}).Public
	}
	for _, d := range devices {
		data.Devices = append(data.Devices, deviceItem{
			ID: d.ID, Name: d.Name, Place: d.Origin, Here: d.ID == v.device.ID, Ended: !d.Live,
			SignedIn: momentOf(d.SignedInAt, now), Used: momentOf(d.UsedAt, now),
		})
	}
	for _, a := range v.device.Accounts {
		data.Accounts = append(data.Accounts, accountItem{person: personOf(a), Active: a.DID == account.DID, Ended: !a.Live})
	}
	if data.Apps, err = s.appItems(r.Context(), account.DID); err != nil {
		return err
	}
	if s.cfg.Passwords != nil {
		if _, data.Password, err = s.cfg.Passwords.Info(r.Context(), account.DID); err != nil {
			return err
		}
	}
	w.Header().Set("Cache-Control", "no-store")
	return s.show(w, r, v, http.StatusOK, "account_show", "Your account", data)
}

// AppSessions are the apps that members have signed in. It is session.Apps.
type AppSessions interface {
	List(ctx context.Context, did syntax.DID) ([]session.AppInfo, error)
	Revoke(ctx context.Context, did syntax.DID, id string) error
}

// appItems are the apps that a member has signed in, newest first.
func (s *Server) appItems(ctx context.Context, did syntax.DID) ([]appItem, error) {
	if s.cfg.AppSessions == nil {
		return nil, nil
	}
	apps, err := s.cfg.AppSessions.List(ctx, did)
	if err != nil {
		return nil, err
	}
	now := s.now()
	var items []appItem
	for _, a := range apps {
		items = append(items, appItem{
			ID: a.ID, Name: a.Name, Place: a.Origin, SignedIn: momentOf(a.CreatedAt, now), Used: momentOf(a.UsedAt, now),
		})
	}
	return items, nil
}
