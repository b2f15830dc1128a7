package web

import (
	"cmp"
	"errors"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/session"
)

// verbs says what the forms do, for the buttons of the page that asks which
// account is meant; backs says where "do nothing" leads. By path, or by its last
// part for the forms about one thing.
var (
	verbs = map[string]string{
		"/posts": "Post", "/posts/preview": "Preview", "/comments": "Answer", "/votes": "Vote", "/subscriptions": "Go on", "/blocks": "Go on",
		"/communities": "Create", "/account/profile": "Save", "edit": "Save", "delete": "Delete", "review": "Decide", "policy": "Save",
		"/oauth/upgrade": "Go on", "/oauth/logout": "Sign out", "/account/switch": "Go on", "/account/sign-out-device": "Sign out there", "/account/sign-out-app": "Sign the app out",
		"/account/sign-out-everywhere": "Sign out everywhere",
		"/account/delegation/password": "Go on", "/account/delegation/password/remove": "Remove the app password",
	}
	backs = map[string]string{"/posts": "/discover", "/posts/preview": "/discover", "/communities": "/communities"}
)

// asksWho tells whether err is answered by the page that asks which account is
// meant, and carries the form along.
func asksWho(err error) bool {
	var switched *session.SwitchedError
	return errors.As(err, &switched) || errors.Is(err, session.ErrNoActor)
}

// chooseAccount answers a form that was made for another account than the
// active one, or for none: nothing was done, and the member says which account
// is meant (S25). The form's own fields are carried along.
func (s *Server) chooseAccount(w http.ResponseWriter, r *http.Request, v visitor, cause error) error {
	about, last := path.Split(r.URL.Path)
	data := choicePage{
		Action: r.URL.Path, Verb: cmp.Or(verbs[r.URL.Path], verbs[last], "Go on"), Back: cmp.Or(backs[r.URL.Path], "/account"),
	}
	switch {
	case verbs[r.URL.Path] == "" && verbs[last] != "":
		data.Back = strings.TrimSuffix(about, "/")
	case r.PostForm.Get("return_to") != "":
		data.Back = s.returnTo(r.PostForm)
	case r.PostForm.Get("root") != "":
		if thread, err := threadOf(r.PostForm.Get("root")); err == nil {
			data.Back = thread
		}
	}
	if data.Action == "/oauth/upgrade" {
		httpserver.FormsLeadElsewhere(w.Header())
	}
	var left *filesLeftError
	if data.FilesLeft = errors.As(cause, &left); data.FilesLeft {
		data.Fields = append(data.Fields, hidden{fieldFilesLeft, "yes"})
	}
	var switched *session.SwitchedError
	if errors.As(cause, &switched) {
		data.Before = &person{DID: switched.Wanted.String()}
		if before, ok := v.device.Account(switched.Wanted); ok {
			*data.Before = personOf(before)
			data.Choices = append(data.Choices, choice{Account: *data.Before, Switch: true})
		} else {
			data.Gone = data.Before
		}
	}
	data.Choices = append(data.Choices, choice{Account: *v.viewer()})
	for name, values := range r.PostForm {
		if name != fieldActing && name != fieldSwitch {
			data.Fields = append(data.Fields, hidden{name, values[0]})
		}
	}
	slices.SortFunc(data.Fields, func(a, b hidden) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return s.show(w, r, v, http.StatusConflict, "account_choose", "Which account?", data)
}
