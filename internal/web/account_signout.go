package web

import (
	"errors"
	"net/http"
	"net/url"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/session"
)

// errDeviceGone is for a device that is no longer in the list.
var errDeviceGone = fault.Wrap(fault.NotFound, session.ErrNotHere,
	"You are not signed in on that device any more. Your account page has the devices as they are now.")

// leaver is actor for somebody who signs out: a session that has ended by
// itself is no reason to stay.
func (s *Server) leaver(w http.ResponseWriter, r *http.Request, form url.Values) (visitor, session.Account, error) {
	v, account, err := s.actor(w, r, form)
	var again *session.SignInAgainError
	if errors.As(err, &again) {
		account, _ = v.device.Current()
		err = nil
	}
	return v, account, err
}

// accountSignOut answers POST /oauth/logout: this account, on this device.
func (s *Server) accountSignOut(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	v, account, err := s.leaver(w, r, form)
	if errors.Is(err, session.ErrSignedOut) {
		redirect(w, r, "/") // a second click, or a page from before: it is done
		return nil
	}
	if err != nil {
		return err
	}
	next, err := s.cfg.Sessions.SignOut(r.Context(), v.token, account.DID)
	if err != nil {
		return err
	}
	s.cfg.Cookies.SetDevice(w, next)
	redirect(w, r, "/")
	return nil
}

// accountSignOutDevice answers POST /account/sign-out-device: this account, on
// another device.
func (s *Server) accountSignOutDevice(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	v, account, err := s.leaver(w, r, form)
	if err != nil {
		return err
	}
	id := form.Get("device")
	if id == v.device.ID {
		return fault.New(fault.Invalid, "That is the device you are using. Use “Sign out here” for it.")
	}
	err = s.cfg.Sessions.EndDevice(r.Context(), account.DID, id)
	if errors.Is(err, session.ErrNotHere) {
		return errDeviceGone
	}
	if err != nil {
		return err
	}
	redirect(w, r, "/account")
	return nil
}

// errAppGone is for an app that is no longer in the list.
var errAppGone = fault.Wrap(fault.NotFound, session.ErrNoApp,
	"That app is not signed in any more. Your account page has the apps as they are now.")

// accountSignOutApp answers POST /account/sign-out-app: one app of this account.
func (s *Server) accountSignOutApp(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	_, account, err := s.leaver(w, r, form)
	if err != nil {
		return err
	}
	if s.cfg.AppSessions == nil {
		return errAppGone
	}
	err = s.cfg.AppSessions.Revoke(r.Context(), account.DID, form.Get("app"))
	if errors.Is(err, session.ErrNoApp) {
		return errAppGone
	}
	if err != nil {
		return err
	}
	redirect(w, r, "/account")
	return nil
}

// accountSignOutEverywhere answers POST /account/sign-out-everywhere: this
// account, on every device and in every app, and with its app password where the
// member wants that: it is no sign-in, and stays otherwise.
func (s *Server) accountSignOutEverywhere(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	v, account, err := s.leaver(w, r, form)
	if errors.Is(err, session.ErrSignedOut) {
		redirect(w, r, "/") // a second click, or a page from before: it is done
		return nil
	}
	if err != nil {
		return err
	}
	if form.Get("password") == "remove" && s.cfg.Passwords != nil {
		// First: whoever is signed out has no way to try again.
		if err := s.cfg.Passwords.Remove(r.Context(), account.DID); err != nil {
			return err
		}
	}
	next, err := s.cfg.Sessions.SignOutEverywhere(r.Context(), v.token, account.DID)
	if err != nil {
		return err
	}
	s.cfg.Cookies.SetDevice(w, next)
	redirect(w, r, "/")
	return nil
}
