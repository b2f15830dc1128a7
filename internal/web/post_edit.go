package web

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/markup"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/session"
)

// editPage is the data of post_edit: the form for a post or comment of one's own.
type editPage struct {
	Heading, Trouble, Acting string
	SignIn                   string // address of the sign-in page, when that is the way on
	Action, Back             string // where the form goes, and where the thing is
	Seen                     string // CID of the version that is being edited
	Was                      string // the text as it was filled in, to see whether it was changed
	HasTitle, Exact          bool
	Title, Text              field
}

// errNotYours is what somebody reads who edits what others wrote.
var errNotYours = fault.New(fault.Forbidden, "Only whoever wrote this can change it.").WithCode("NotAuthorized")

// mine reads a post or comment of the account that is active, by the path of
// the page.
func (s *Server) mine(w http.ResponseWriter, r *http.Request, collection syntax.NSID) (visitor, index.Written, error) {
	v, err := s.visitor(w, r)
	if err != nil {
		return v, index.Written{}, err
	}
	viewer := v.viewer()
	if viewer == nil {
		return v, index.Written{}, session.ErrSignedOut
	}
	author, rkey := r.PathValue("did"), r.PathValue("rkey")
	if collection == index.CommentCollection {
		author, rkey = r.PathValue("author"), r.PathValue("key")
	}
	if author != viewer.DID {
		return v, index.Written{}, errNotYours
	}
	uri := syntax.ATURI("at://" + author + "/" + collection.String() + "/" + rkey)
	if _, err := syntax.ParseATURI(uri.String()); err != nil {
		return v, index.Written{}, errNoPage
	}
	said, ok, err := s.cfg.Index.Written(r.Context(), uri)
	if err == nil && !ok {
		err = errNoPage
	}
	return v, said, err
}

// threadURL is the page of the post that the path names.
func threadURL(r *http.Request) string {
	return postURL(syntax.DID(r.PathValue("did")), syntax.RecordKey(r.PathValue("rkey")))
}

// commentURL is the page of the comment that the path names.
func commentURL(r *http.Request) string {
	return threadURL(r) + "/c/" + r.PathValue("author") + "/" + r.PathValue("key")
}

// postEdit answers GET /p/{did}/{rkey}/edit.
func (s *Server) postEdit(w http.ResponseWriter, r *http.Request) error {
	v, said, err := s.mine(w, r, index.PostCollection)
	if err != nil {
		return err
	}
	return s.show(w, r, v, http.StatusOK, "post_edit", "Edit a post", newEditPage(said, v.viewer().DID, threadURL(r)))
}

// commentEdit answers GET /p/{did}/{rkey}/c/{author}/{key}/edit.
func (s *Server) commentEdit(w http.ResponseWriter, r *http.Request) error {
	v, said, err := s.mine(w, r, index.CommentCollection)
	if err != nil {
		return err
	}
	return s.show(w, r, v, http.StatusOK, "post_edit", "Edit a comment", newEditPage(said, v.viewer().DID, commentURL(r)))
}

func newEditPage(said index.Written, acting, at string) editPage {
	var record postText
	_ = json.Unmarshal(said.Record, &record) // what is indexed has been read before
	source, exact := markup.Source(record.Content, record.Facets)
	p := emptyEditPage(said.URI.Collection(), acting, at)
	p.Seen, p.Was, p.Exact = said.CID.String(), source, exact
	p.Title.Value, p.Text.Value = record.Title, source
	return p
}

// emptyEditPage is the form with nothing in it.
func emptyEditPage(collection syntax.NSID, acting, at string) editPage {
	p := editPage{
		Heading: "Edit a comment", Acting: acting, Action: at + "/edit", Back: at, Exact: true,
		Text: field{Name: "content", Label: "Text", Rows: 12},
	}
	if collection == index.PostCollection {
		p.Heading, p.HasTitle = "Edit a post", true
		p.Title = field{Name: "title", Label: "Title", Hint: "Up to 300 characters.", Autocomplete: "off"}
	}
	return p
}

// postSave answers POST /p/{did}/{rkey}/edit.
func (s *Server) postSave(w http.ResponseWriter, r *http.Request) error {
	return s.save(w, r, index.PostCollection, threadURL(r), func(ctx context.Context, actor agent.Actor, uri string, form url.Values, text textChange) error {
		in := post.UpdateInput{URI: uri, Content: text.content, Facets: text.facets, Swap: syntax.CID(form.Get("seen"))}
		in.Title = post.Change[string]{Sent: true, Value: form.Get("title")}
		_, err := s.cfg.Posts.Update(ctx, actor, in)
		return err
	})
}

// commentSave answers POST /p/{did}/{rkey}/c/{author}/{key}/edit.
func (s *Server) commentSave(w http.ResponseWriter, r *http.Request) error {
	return s.save(w, r, index.CommentCollection, commentURL(r), func(ctx context.Context, actor agent.Actor, uri string, form url.Values, text textChange) error {
		in := post.CommentUpdate{URI: uri, Content: text.content, Facets: text.facets, Swap: syntax.CID(form.Get("seen"))}
		_, err := s.cfg.Posts.UpdateComment(ctx, actor, in)
		return err
	})
}

// textChange is what becomes of a text. One that was not touched is not sent,
// so that facets stay which the form cannot show.
type textChange struct {
	content post.Change[string]
	facets  post.Change[json.RawMessage]
}

func (s *Server) save(w http.ResponseWriter, r *http.Request, collection syntax.NSID, at string,
	update func(ctx context.Context, actor agent.Actor, uri string, form url.Values, text textChange) error,
) error {
	form, err := readForm(w, r, postLimit)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return s.editAgain(err, collection, form, at)
	}
	_, said, err := s.mine(w, r, collection)
	if err != nil {
		return err
	}
	var text textChange
	if form.Get("content") != form.Get("was") {
		plain, facets, err := s.written(r.Context(), form.Get("content"))
		if err != nil {
			return err
		}
		text = textChange{post.Change[string]{Sent: true, Value: plain}, post.Change[json.RawMessage]{Sent: true, Value: facets}}
	}
	if err := update(r.Context(), actor, said.URI.String(), form, text); err != nil {
		return s.editAgain(err, collection, form, at)
	}
	redirect(w, r, at)
	return nil
}

// signInAgain is where somebody signs in beside a form that could not be sent
// without; empty when that is not what is missing.
func signInAgain(err error, acting, returnTo string) string {
	if fault.KindOf(err) != fault.Unauthenticated {
		return ""
	}
	return "/sign-in?" + url.Values{"handle": {acting}, "return_to": {returnTo}}.Encode()
}

// editAgain makes an error show the form with what was typed.
func (s *Server) editAgain(err error, collection syntax.NSID, form url.Values, at string) error {
	if asksWho(err) || newGrantForm(err, form.Get(fieldActing), at) != nil {
		return err // it has a page of its own
	}
	return &formError{err, func(w http.ResponseWriter, r *http.Request, status int) error {
		v, lookup := s.visitor(w, r)
		if lookup != nil {
			return lookup
		}
		f, p := fault.From(err), emptyEditPage(collection, form.Get(fieldActing), at)
		p.Trouble, p.Seen, p.Was = f.Public, form.Get("seen"), form.Get("was")
		p.Title.Value, p.Text.Value = form.Get("title"), form.Get("content")
		p.SignIn = signInAgain(err, p.Acting, at)
		return s.show(w, r, v, status, "post_edit", p.Heading, p)
	}}
}
