package web

import (
	"context"
	"encoding/json"
	"errors"
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
	setback
	Heading, Acting string
	Action, Back    string // where the form goes, and where the thing is
	Seen            string // CID of the version that is being edited
	Was             string // the text as it was filled in, to see whether it was changed
	HasTitle, Exact bool
	Title, Text     field
	Shown           []block // the text as it was filled in
	Newer           *look   // what somebody else made of it meanwhile
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
	p.Shown = richText(record.Content, parseFacets(record.Facets, record.Content))
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
		return s.editAgain(err, collection, form, at, nil)
	}
	_, said, err := s.mine(w, r, collection)
	if errors.Is(err, errNoPage) {
		err = errGoneMeanwhile
	}
	if err != nil {
		return s.editAgain(err, collection, form, at, nil)
	}
	var text textChange
	if form.Get("content") != form.Get("was") {
		plain, facets, err := s.written(r.Context(), form.Get("content"))
		if err != nil {
			return s.editAgain(err, collection, form, at, &said)
		}
		text = textChange{post.Change[string]{Sent: true, Value: plain}, post.Change[json.RawMessage]{Sent: true, Value: facets}}
	}
	if err := update(r.Context(), actor, said.URI.String(), form, text); err != nil {
		return s.editAgain(err, collection, form, at, &said)
	}
	redirect(w, r, at)
	return nil
}

// errGoneMeanwhile is what somebody reads who saves what was deleted elsewhere.
var errGoneMeanwhile = fault.New(fault.NotFound, "This is no longer there, so it cannot be changed. What you typed is still below.")

// editAgain makes an error show the form with what was typed. is the thing as it
// was found, nil when it was not looked at: where somebody else has changed it
// since the form was opened, the form shows their text, and sending it again
// replaces that.
func (s *Server) editAgain(err error, collection syntax.NSID, form url.Values, at string, is *index.Written) error {
	return s.again(err, form, func(*http.Request, visitor) formAgain {
		p := emptyEditPage(collection, form.Get(fieldActing), at)
		p.setback = newSetback(err, nothingChanged, p.Acting, at)
		p.Seen, p.Was = form.Get("seen"), form.Get("was")
		p.Title.Value, p.Text.Value = form.Get("title"), form.Get("content")
		if fault.From(err).Code == "InvalidSwap" && is != nil && is.CID.String() != p.Seen {
			p.overtaken(*is)
		}
		return formAgain{"post_edit", p.Heading, p, p.Grant}
	})
}

// overtaken puts the newer text that somebody else wrote below the form.
func (p *editPage) overtaken(is index.Written) {
	newer := newEditPage(is, p.Acting, p.Back)
	p.Seen, p.Was, p.Exact = newer.Seen, newer.Was, newer.Exact
	p.Newer = &look{Title: newer.Title.Value, Text: newer.Shown}
	p.Trouble = "This was changed elsewhere since you opened the form. What it says now stands below what you typed; saving again replaces it."
}
