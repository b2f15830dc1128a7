package web

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/session"
)

// profilePage is the data of profile_edit.
type profilePage struct {
	setback
	Acting           string
	DisplayName, Bio field
	Avatar           fileField
}

// profileText is what pages read of a profile.
type profileText struct {
	DisplayName string          `json:"displayName"`
	Bio         string          `json:"bio"`
	BioFacets   json.RawMessage `json:"bioFacets"`
	Avatar      *wireBlob       `json:"avatar"`
}

func newProfilePage(acting, name, bio string) profilePage {
	return profilePage{
		Acting:      acting,
		DisplayName: field{Name: "display_name", Label: "Name", Hint: "Up to 64 characters.", Value: name, Autocomplete: "name"},
		Avatar: fileField{Name: "avatar", Label: "Picture",
			Hint: "PNG, JPEG or WebP, up to 1 MB. Where it was taken is removed from it. Leave it empty to keep the one you have."},
		Bio: field{Name: "bio", Label: "About you", Hint: "Up to 256 characters.", Value: bio, Rows: 4},
	}
}

// profileEdit answers GET /account/profile.
func (s *Server) profileEdit(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	if v.viewer() == nil {
		return session.ErrSignedOut
	}
	p, ok, err := s.cfg.Index.Profile(r.Context(), v.did())
	if err != nil {
		return err
	}
	var record profileText
	if ok && len(p.Record) > 0 {
		if err := json.Unmarshal(p.Record, &record); err != nil {
			return err
		}
	}
	return s.show(w, r, v, http.StatusOK, "profile_edit", "Your profile", newProfilePage(v.did().String(), record.DisplayName, record.Bio))
}

// profileSave answers POST /account/profile.
func (s *Server) profileSave(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	form, err := s.readUpload(w, r, v, portraitForm)
	if err != nil {
		return err
	}
	defer form.leave()
	actor, err := s.filesWriter(w, r, form)
	if err != nil {
		return s.profileAgain(err, form)
	}
	in := post.ProfileInput{
		DisplayName: post.Change[string]{Sent: true, Value: form.Get("display_name")},
		Bio:         post.Change[string]{Sent: true, Value: form.Get("bio")},
	}
	if in.Avatar, err = form.picture("avatar", media.Avatar, errAvatar); err == nil {
		_, err = s.cfg.Posts.UpdateProfile(r.Context(), actor, in)
	}
	if err != nil {
		return s.profileAgain(err, form)
	}
	redirect(w, r, "/u/"+actor.DID.String())
	return nil
}

// mark puts what err says beside the field that it is about, else on top.
func (p *profilePage) mark(err error) {
	said := fault.From(err)
	p.setback = newSetback(err, nothingChanged, p.Acting, "/account/profile")
	switch {
	case errors.Is(err, errAvatar):
		p.beside()
		p.Avatar.Wrong = said.Public
	case said.Code == "ContentTooLong" && countedIn(&p.DisplayName, 64):
		p.beside()
		p.DisplayName.Wrong, p.DisplayName.Focus = said.Public, true
	case said.Code == "ContentTooLong":
		p.beside()
		countedIn(&p.Bio, 256)
		p.Bio.Wrong, p.Bio.Focus = said.Public, true
	}
}

// profileAgain makes an error show the form with what was typed.
func (s *Server) profileAgain(err error, form upload) error {
	return s.again(err, form.Values, func(*http.Request, visitor) formAgain {
		p := newProfilePage(form.Get(fieldActing), form.Get("display_name"), form.Get("bio"))
		p.Avatar.typed(form)
		p.mark(err)
		return formAgain{"profile_edit", "Your profile", p, p.Grant}
	})
}
