package web

import (
	"net/http"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/markup"
	"github.com/atoll-social/atoll/internal/session"
)

// communityEdit answers GET /c/{community}/edit.
func (s *Server) communityEdit(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	if v.viewer() == nil {
		return session.ErrSignedOut
	}
	c, err := s.findCommunity(r)
	if err != nil {
		return err
	}
	is, err := readCommunity(c)
	if err != nil {
		return err
	}
	source, _ := markup.Source(is.Description, is.DescriptionFacets)
	f := newCommunityForm(v.did().String(), is, source)
	f.editing(is.party(c.Account))
	may, err := s.cfg.Communities.May(r.Context(), v.did(), c.DID, community.Settings)
	if err != nil {
		return err
	}
	if !may {
		f.Off = "Only those who look after this community can change it."
	}
	return s.show(w, r, v, http.StatusOK, "community_edit", "Edit "+f.Label, f)
}

// editing says which community the form is for.
func (f *communityForm) editing(c party) { f.Label, f.Back, f.Action = c.Label, c.URL, c.URL+"/edit" }

// communityUpdate answers POST /c/{community}/edit.
func (s *Server) communityUpdate(w http.ResponseWriter, r *http.Request) error {
	c, err := s.findCommunity(r)
	if err != nil {
		return err
	}
	is, err := readCommunity(c)
	if err != nil {
		return err
	}
	at := is.party(c.Account)
	return s.communitySave(w, r, at.URL+"/edit", func(actor agent.Actor, form upload) (string, error) {
		profile, err := s.profileOf(r, form)
		if err != nil {
			return "", err
		}
		_, err = s.cfg.Communities.Update(r.Context(), actor, community.UpdateInput{Community: c.DID.String(), Profile: profile})
		return at.URL, err
	}, func(f *communityForm, _ upload) { f.editing(at) })
}
