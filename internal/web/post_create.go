package web

import (
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// postLimit bounds the body of the form for posts: text and title at their
// limits, percent-encoded, and room for the rest.
const postLimit = 512 << 10

// maxCommunity bounds what is taken over into the form from its address.
const maxCommunity = 300

// postNew answers GET /post/new: the form, or a hint to sign in. The record's
// key is chosen here, before the first attempt, so that sending the form twice
// writes one post.
func (s *Server) postNew(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	community := r.URL.Query().Get("community")
	if len(community) > maxCommunity || !cleanText(community) {
		community = ""
	}
	key := syntax.NewTIDNow(0).String()
	return s.show(w, r, v, http.StatusOK, "post_create", "Write a post", newPostForm(v.viewer(), key, community, "", ""))
}

// newPostForm fills the form for author, who may be nil.
func newPostForm(author *person, key, community, title, text string) postForm {
	f := postForm{
		Key: key,
		Community: field{Name: "community", Label: "Community", Hint: "Its handle, such as commons.example.com, or its DID.",
			Value: community, Required: true, Literal: true, Autocomplete: "off"},
		Title: field{Name: "title", Label: "Title", Hint: "Up to 300 characters.", Value: title, Autocomplete: "off"},
		Text:  field{Name: "text", Label: "Text", Hint: "Up to 10,000 characters. A blank line begins a new paragraph.", Value: text, Rows: 12},
	}
	if author != nil {
		f.Acting, f.Name = author.DID, author.Name()
	}
	return f
}
