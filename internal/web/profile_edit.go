package web

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/session"
)

// profilePage is the data of profile_edit.
type profilePage struct {
	Acting, Trouble  string
	DisplayName, Bio field
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
		Bio:         field{Name: "bio", Label: "About you", Hint: "Up to 256 characters.", Value: bio, Rows: 4},
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
	form, err := readUpload(w, r, v, portraitForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form.Values)
	if err != nil {
		return err
	}
	in := post.ProfileInput{
		DisplayName: post.Change[string]{Sent: true, Value: form.Get("display_name")},
		Bio:         post.Change[string]{Sent: true, Value: form.Get("bio")},
	}
	img, chosen, err := form.portrait("avatar", media.Avatar)
	if chosen {
		in.Avatar = post.Picture{Base64: post.Change[string]{Sent: true, Value: base64.StdEncoding.EncodeToString(img.Body)}, MIME: img.MIME}
	}
	if err == nil {
		_, err = s.cfg.Posts.UpdateProfile(r.Context(), actor, in)
	}
	if err != nil {
		return s.profileAgain(err, v, actor, form.Values)
	}
	redirect(w, r, "/u/"+actor.DID.String())
	return nil
}

// profileAgain makes an error show the form with what was typed.
func (s *Server) profileAgain(err error, v visitor, actor agent.Actor, form url.Values) error {
	if newGrantForm(err, actor.DID.String(), "/account/profile") != nil {
		return err // the page for it asks for the permission
	}
	return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
		p := newProfilePage(actor.DID.String(), form.Get("display_name"), form.Get("bio"))
		p.Trouble = fault.From(err).Public
		return s.show(w, r, v, status, "profile_edit", "Your profile", p)
	}}
}
