package web

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/media"
	"github.com/atoll-social/atoll/internal/record"
)

// communityForm is the data of community_edit: the form for a community that is
// to be, or is.
type communityForm struct {
	setback
	New            bool
	Follow         bool   // the founder subscribes to it
	Label          string // of the community that is
	Off            string // why there is no form
	Acting         string
	Action, Back   string
	Key            string // of the request, chosen before the first attempt
	Was            string // the description as it was filled in
	Name           field
	DisplayName    field
	Description    field
	Avatar, Banner fileField
	Visibilities   []option
	Warnings       []option
}

// fileField is the input for a picture, or for several.
type fileField struct {
	Name, Label, Hint, Wrong string
	Several                  bool
}

// typed reminds of a file that came with a form which is shown again.
func (f *fileField) typed(form upload) {
	if slices.Contains(form.chosen, f.Name) {
		f.Wrong = chooseAgain
	}
}

// option is one of several answers to a question.
type option struct {
	Value, Label string
	Chosen       bool
}

// What the form says about the limits of the lexicon, which package community
// holds.
const (
	displayCharacters     = 128
	descriptionCharacters = 1_000
)

// newCommunityForm fills the form with a profile.
func newCommunityForm(acting string, is communityText, source string) communityForm {
	f := communityForm{
		Acting: acting, Was: source,
		Name: field{Name: "name", Label: "Name", Hint: "3 to 18 lower-case letters, digits and hyphens. It stays.",
			Value: is.Name, Required: true, Literal: true, Autocomplete: "off"},
		DisplayName: field{Name: "display_name", Label: "Title", Hint: "What people read first. Up to 128 characters.", Value: is.DisplayName, Autocomplete: "off"},
		Description: field{Name: "description", Label: "What it is about", Hint: "And what is expected here. Up to 1,000 characters.", Value: source, Rows: 6},
		Avatar:      fileField{Name: "avatar", Label: "Picture", Hint: "PNG, JPEG or WebP, up to 1 MB. Where it was taken is removed from it."},
		Banner:      fileField{Name: "banner", Label: "Wide picture", Hint: "Stands on top of its page. PNG, JPEG or WebP, up to 2 MB."},
		Visibilities: []option{{Value: "public", Label: "Everybody, in lists and searches"},
			{Value: "unlisted", Label: "Everybody who has its address"}},
		Warnings: []option{{Value: "nsfw", Label: "Things for adults"}, {Value: "violence", Label: "Violence"},
			{Value: "spoilers", Label: "Spoilers"}},
	}
	for i, o := range f.Visibilities {
		f.Visibilities[i].Chosen = o.Value == is.Visibility || o.Value == "public" && is.Visibility == ""
	}
	for i, o := range f.Warnings {
		f.Warnings[i].Chosen = slices.Contains(is.ContentWarnings, o.Value)
	}
	return f
}

// communityNew answers GET /communities/new.
func (s *Server) communityNew(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	f := newCommunityForm(v.did().String(), communityText{}, "")
	f.New, f.Follow, f.Action, f.Key = true, true, "/communities", newPostKey()
	f.Off = s.cfg.Communities.Closed(v.did())
	return s.show(w, r, v, http.StatusOK, "community_edit", "Create a community", f)
}

// communityCreate answers POST /communities. A form that is sent twice makes one
// community.
func (s *Server) communityCreate(w http.ResponseWriter, r *http.Request) error {
	return s.communitySave(w, r, "/communities", func(actor agent.Actor, form upload) (string, error) {
		profile, err := s.profileOf(r, form)
		if err != nil {
			return "", err
		}
		made, err := s.cfg.Communities.Create(r.Context(), actor, community.CreateInput{
			Name: strings.TrimSpace(form.Get("name")), Profile: profile, Key: form.Get("key"),
		})
		to := "/c/" + made.Handle.String()
		if err != nil || form.Get("follow") != "yes" {
			return to, err
		}
		if _, err := s.cfg.Communities.Subscribe(r.Context(), actor, made.DID.String(), nil); err != nil {
			to = addNotice(to, noticeFounded) // the community is there all the same
		}
		return to, nil
	}, func(f *communityForm, form upload) {
		f.New, f.Key, f.Name.Value, f.Follow = true, form.Get("key"), form.Get("name"), form.Get("follow") == "yes"
	})
}

// communitySave does what a form for a community asks for and leads to it, or
// shows the form again with what was typed; restore puts the rest into it.
func (s *Server) communitySave(w http.ResponseWriter, r *http.Request, action string,
	save func(agent.Actor, upload) (string, error), restore func(*communityForm, upload),
) error {
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
	if err == nil {
		var to string
		if to, err = save(actor, form); err == nil {
			redirect(w, r, to)
			return nil
		}
	}
	return s.again(err, form.Values, func(*http.Request, visitor) formAgain {
		f := newCommunityForm(form.Get(fieldActing), typedCommunity(form), form.Get("description"))
		f.Was, f.Action = form.Get("was"), action
		f.Avatar.typed(form)
		f.Banner.typed(form)
		restore(&f, form)
		f.mark(err)
		title := "Create a community"
		if !f.New {
			title = "Edit " + f.Label
		}
		return formAgain{"community_edit", title, f, f.Grant}
	})
}

// typedCommunity is what a form says.
func typedCommunity(form upload) communityText {
	is := communityText{DisplayName: form.Get("display_name"), Visibility: form.Get("visibility")}
	for _, word := range []string{"nsfw", "violence", "spoilers"} {
		if form.Get("warning-"+word) == "yes" {
			is.ContentWarnings = append(is.ContentWarnings, word)
		}
	}
	return is
}

// errAvatar and errBanner are in errors about a picture.
var errAvatar, errBanner = errors.New("avatar"), errors.New("banner")

// profileOf is the profile that a form asks for. A description that was not
// touched is not sent, so that facets stay which the form cannot show.
func (s *Server) profileOf(r *http.Request, form upload) (community.Profile, error) {
	is := typedCommunity(form)
	p := community.Profile{
		DisplayName:     sent(is.DisplayName),
		Visibility:      sent(is.Visibility),
		ContentWarnings: record.Change[[]string]{Sent: true, Value: is.ContentWarnings},
	}
	if is.Visibility == "" {
		p.Visibility.Sent = false
	}
	if typed := form.Get("description"); typed != form.Get("was") {
		plain, facets, err := s.written(r.Context(), typed)
		if err != nil {
			return p, err
		}
		p.Description = sent(plain)
		p.DescriptionFacets = record.Change[json.RawMessage]{Sent: true, Value: facets, Null: len(facets) == 0}
	}
	var err error
	if p.Avatar, err = form.picture("avatar", media.Avatar, errAvatar); err != nil {
		return p, err
	}
	p.Banner, err = form.picture("banner", media.Banner, errBanner)
	return p, err
}

func sent(text string) record.Change[string] { return record.Change[string]{Sent: true, Value: text} }

// picture is the picture of a field as the domain takes it; not sent when none
// was chosen. about is in its errors.
func (u *upload) picture(name string, use media.Use, about error) (record.Picture, error) {
	img, chosen, err := u.portrait(name, use)
	if err != nil {
		return record.Picture{}, errors.Join(about, err)
	}
	if !chosen {
		return record.Picture{}, nil
	}
	return record.Picture{Base64: sent(base64.StdEncoding.EncodeToString(img.Body)), MIME: img.MIME}, nil
}

// mark puts what err says beside the field that it is about, else on top.
func (f *communityForm) mark(err error) {
	said := fault.From(err)
	f.setback = newSetback(err, nothingChanged, f.Acting, f.way())
	about := func(at *field) {
		f.beside()
		at.Wrong, at.Focus = said.Public, true
	}
	switch {
	case errors.Is(err, community.ErrName):
		about(&f.Name)
	case errors.Is(err, errAvatar):
		f.beside()
		f.Avatar.Wrong = said.Public
	case errors.Is(err, errBanner):
		f.beside()
		f.Banner.Wrong = said.Public
	case said.Code == "ContentTooLong" && countedIn(&f.DisplayName, displayCharacters):
		about(&f.DisplayName)
	case said.Code == "ContentTooLong":
		countedIn(&f.Description, descriptionCharacters)
		about(&f.Description)
	case said.Code == "CommunityCreationRestricted":
		f.Off = said.Public
	}
	if said.Code == "Conflict" {
		f.Key = newPostKey() // under the old one something else was asked for
	}
}

// way is the page that the form is on.
func (f *communityForm) way() string {
	if f.New {
		return f.Action + "/new"
	}
	return f.Action
}

// nothingChanged is what has not happened to something that is there already.
const nothingChanged = "Nothing has changed."
