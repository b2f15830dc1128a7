package web

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rivo/uniseg"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/markup"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/session"
)

// Posts writes posts. It is post.Service; tests of pages stand in for the
// members' servers here.
type Posts interface {
	Create(ctx context.Context, actor agent.Actor, in post.CreateInput) (post.Created, error)
	Update(ctx context.Context, actor agent.Actor, in post.UpdateInput) (post.Created, error)
	Delete(ctx context.Context, actor agent.Actor, uri string) error
	CreateComment(ctx context.Context, actor agent.Actor, in post.CommentInput) (post.Created, error)
	UpdateComment(ctx context.Context, actor agent.Actor, in post.CommentUpdate) (post.Created, error)
	DeleteComment(ctx context.Context, actor agent.Actor, uri string) error
	Vote(ctx context.Context, actor agent.Actor, in post.VoteInput) (post.Created, error)
	UploadImage(ctx context.Context, actor agent.Actor, file []byte) (post.Uploaded, error)
	UpdateProfile(ctx context.Context, actor agent.Actor, in post.ProfileInput) (post.Created, error)
}

// postLimit bounds the body of the form for posts, in bytes: a text at its
// limit, percent-encoded, and room for the rest.
const postLimit = 512 << 10

// maxCommunity bounds what is taken over into the form from its address.
const maxCommunity = 300

// What the form says about the limits of the lexicon, which package post holds.
const (
	titleCharacters = 300
	textCharacters  = 10_000
)

// postNew answers GET /posts/new: the form on a page of its own, or a hint to
// sign in.
func (s *Server) postNew(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	community := r.URL.Query().Get("community")
	if len(community) > maxCommunity || !cleanText(community) {
		community = ""
	}
	return s.showPostForm(w, r, v, http.StatusOK, newPostForm(v.viewer(), newPostKey(), community, "", ""))
}

// showPostForm shows the form on a page of its own, with the communities that
// the member may mean.
func (s *Server) showPostForm(w http.ResponseWriter, r *http.Request, v visitor, status int, form postForm) error {
	followed, err := s.followed(r.Context(), v)
	if err != nil {
		return err
	}
	form.Community.Options = handlesOf(followed, nil)
	return s.show(w, r, v, status, "post_create", "Write a post", form)
}

// postCreate answers POST /posts. A form that is sent twice writes one post;
// both answers lead to it.
func (s *Server) postCreate(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	form, err := s.readUpload(w, r, v, pictureForm)
	if err != nil {
		return err
	}
	defer form.leave()
	actor, err := s.filesWriter(w, r, form)
	if err != nil {
		return s.postAgain(err, form)
	}
	in, err := s.draft(r.Context(), actor, form)
	if err != nil {
		return s.postAgain(err, form)
	}
	created, err := s.cfg.Posts.Create(r.Context(), actor, in)
	if err != nil {
		return s.postAgain(err, form)
	}
	redirect(w, r, postURL(actor.DID, created.URI.RecordKey()))
	return nil
}

// draft is the post that a form describes. Its pictures are brought to the
// member's server first; the same bytes are the same picture there, however
// often they come.
func (s *Server) draft(ctx context.Context, actor agent.Actor, form upload) (post.CreateInput, error) {
	text, facets, err := s.written(ctx, form.Get("content"))
	if err != nil {
		return post.CreateInput{}, err
	}
	in := post.CreateInput{
		Community: form.Get("community"), Title: form.Get("title"), Content: text, Facets: facets, Key: form.Get("key"),
	}
	link := strings.TrimSpace(form.Get("link"))
	pictures, err := form.all("pictures")
	switch {
	case err != nil:
		return in, err
	case link != "" && len(pictures) > 0:
		return in, invalid(errLink, "A post has either a link or pictures. Take one of them away.")
	case link != "":
		in.Embed, err = linkEmbed(link)
	case len(pictures) > 0:
		in.Embed, err = s.pictureEmbed(ctx, actor, pictures, form.Get("alt"))
	}
	return in, err
}

// errLink is in errors about the field for a link.
var errLink = errors.New("link")

func linkEmbed(link string) (json.RawMessage, error) {
	address, ok := markup.WebAddress(link)
	if !ok {
		return nil, invalid(errLink, "This is no web address. It begins with https://.")
	}
	return json.Marshal(map[string]any{"$type": "social.coves.embed.external", "external": map[string]any{"uri": address}})
}

func (s *Server) pictureEmbed(ctx context.Context, actor agent.Actor, files [][]byte, alt string) (json.RawMessage, error) {
	lines := strings.Split(alt, "\n")
	var images []any
	for i, file := range files {
		up, err := s.cfg.Posts.UploadImage(ctx, actor, file)
		if err != nil {
			return nil, err
		}
		image := map[string]any{"image": up.Blob, "alt": "", "aspectRatio": map[string]any{"width": up.Width, "height": up.Height}}
		if i < len(lines) {
			image["alt"] = strings.TrimSpace(lines[i])
		}
		images = append(images, image)
	}
	return json.Marshal(map[string]any{"$type": "social.coves.embed.images", "images": images})
}

func invalid(cause error, sentence string) error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}

// look is a post as it will be shown.
type look struct {
	Title string
	Text  []block
	// Later are the handles of whom nothing is known yet.
	Later []syntax.Handle
}

// postPreview answers POST /posts/preview: the form with how the post will look.
// Nothing is written, and nobody else is asked: it is sent while somebody types.
// The script takes the look out of the page.
func (s *Server) postPreview(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	form, err := readParts(w, r, pictureForm, nil)
	if err != nil {
		return err
	}
	if v.viewer() == nil {
		return s.postAgain(session.ErrSignedOut, form)
	}
	text, facets, later, err := s.foreseen(r.Context(), form.Get("content"))
	if err != nil {
		return s.postAgain(err, form)
	}
	data := typedPost(v.viewer(), form)
	data.Look = &look{form.Get("title"), richText(text, parseFacets(facets, text)), later}
	return s.showPostForm(w, r, v, http.StatusOK, data)
}

// postAgain makes an error show the form, filled in.
func (s *Server) postAgain(err error, form upload) error {
	return s.again(err, form.Values, func(r *http.Request, v visitor) formAgain {
		author := person{DID: form.Get(fieldActing)}
		if viewer := v.viewer(); viewer != nil && viewer.DID == author.DID {
			author = *viewer
		}
		data := typedPost(&author, form)
		data.mark(err)
		if followed, lookup := s.followed(r.Context(), v); lookup == nil { // what was typed matters more
			data.Community.Options = handlesOf(followed, nil)
		}
		return formAgain{"post_create", "Write a post", data, data.Grant}
	})
}

// typedPost is the form with what was typed into it.
func typedPost(author *person, form upload) postForm {
	p := newPostForm(author, form.Get("key"), form.Get("community"), form.Get("title"), form.Get("content"))
	p.Link.Value, p.Alt.Value = form.Get("link"), form.Get("alt")
	if slices.Contains(form.chosen, "pictures") {
		p.Pictures.Wrong = chooseAgain
	}
	return p
}

// mark puts what err says where it belongs: beside a field, or on top of the
// form.
func (p *postForm) mark(err error) {
	f := fault.From(err)
	p.setback = newSetback(err, notPosted, p.Acting, "/discover")
	if at := p.fieldOf(err, f); at != nil {
		p.beside()
		at.Wrong, at.Focus = f.Public, true
		return
	}
	if f.Code == "Conflict" {
		// Under this key something else was sent before. A new key makes this
		// another post, which the member may want.
		p.Key = newPostKey()
		p.Trouble = "This form was sent before with another text, which may be posted already: look at Discover first. To post this text too, send it again."
	}
}

// notPosted is what has not happened to a post.
const notPosted = "Not posted yet."

// fieldOf finds the field that err, whose fault is f, is about; nil if it is
// about none.
func (p *postForm) fieldOf(err error, f *fault.Error) *field {
	mistake := f.Kind == fault.Invalid || f.Kind == fault.NotFound
	switch {
	case !mistake:
		return nil
	case errors.Is(err, errLink):
		return &p.Link
	case errors.Is(err, community.ErrCommunity):
		return &p.Community
	case f.Code == "ContentTooLong" && countedIn(&p.Title, titleCharacters):
		return &p.Title
	case f.Code == "ContentTooLong":
		countedIn(&p.Text, textCharacters)
		return &p.Text
	case f.Code == "ContentEmpty":
		return &p.Text
	}
	return nil
}

// countedIn adds to a field's hint how many characters it has, and tells whether
// they are too many, as characters or, at ten for each, as bytes.
func countedIn(f *field, limit int) bool {
	n := uniseg.GraphemeClusterCount(f.Value)
	f.Hint = fmt.Sprintf("%s There are %d now.", f.Hint, n)
	return n > limit || len(f.Value) > 10*limit
}

// newPostForm fills the form for author, who may be nil.
func newPostForm(author *person, key, community, title, text string) postForm {
	f := postForm{
		Key: key,
		Community: field{Name: "community", Label: "Community", Hint: "Its handle, such as commons.example.com, or its DID.",
			Value: community, Required: true, Literal: true, Autocomplete: "off"},
		Title: field{Name: "title", Label: "Title", Hint: "Up to 300 characters.", Value: title, Autocomplete: "off"},
		Text:  field{Name: "content", Label: "Text", Hint: "Up to 10,000 characters. A blank line begins a new paragraph.", Value: text, Rows: 9},
		Link:  field{Name: "link", Label: "Link", Hint: "A web address that the post is about, if there is one.", Autocomplete: "off", Literal: true},
		Pictures: fileField{Name: "pictures", Label: "Pictures", Several: true,
			Hint: "Up to 8, PNG, JPEG, WebP or GIF. Where they were taken is removed from them."},
		Alt: field{Name: "alt", Label: "What the pictures show", Hint: "One line for each, for those who don't see them.", Rows: 2},
	}
	if author != nil {
		f.Acting, f.Name = author.DID, author.Name()
	}
	return f
}

// newPostKey names one post that is about to be written, however often its form
// is sent.
func newPostKey() string { return rand.Text() }
