package web

import (
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/post"
)

// replyForm is the form that answers a post or a comment.
type replyForm struct {
	ID, Label, Name, Acting, Key     string
	Root, RootCID, Parent, ParentCID string
	Value                            string
	setback
}

// replyPage is the data of comment_create: an answer that was not written.
type replyPage struct {
	Reply replyForm
	Back  string
}

// commentCreate answers POST /comments. A form that is sent twice writes one
// comment.
func (s *Server) commentCreate(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, postLimit)
	if err != nil {
		return err
	}
	thread, err := threadOf(form.Get("root"))
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return s.replyAgain(err, form, thread)
	}
	text, facets, err := s.written(r.Context(), form.Get("content"))
	if err != nil {
		return s.replyAgain(err, form, thread)
	}
	created, err := s.cfg.Posts.CreateComment(r.Context(), actor, post.CommentInput{
		Root:    post.Ref{URI: form.Get("root"), CID: form.Get("root_cid")},
		Parent:  post.Ref{URI: form.Get("parent"), CID: form.Get("parent_cid")},
		Content: text, Facets: facets, Key: form.Get("key"),
	})
	if err != nil {
		return s.replyAgain(err, form, thread)
	}
	key := created.URI.RecordKey().String()
	redirect(w, r, withAnchor(thread+"/c/"+actor.DID.String()+"/"+key, commentAnchor(actor.DID.String(), key)))
	return nil
}

// threadOf is the page of the post that an answer belongs to.
func threadOf(root string) (string, error) {
	uri, err := syntax.ParseATURI(root)
	if err != nil {
		return "", invalid(err, "The form does not say which post it answers. Open the post again and answer from there.")
	}
	did, err := uri.Authority().AsDID()
	if err != nil {
		return "", invalid(err, "The form does not say which post it answers. Open the post again and answer from there.")
	}
	return postURL(did, uri.RecordKey()), nil
}

// replyAgain makes an error show the form with what was typed.
func (s *Server) replyAgain(err error, form url.Values, thread string) error {
	return s.again(err, form, func(_ *http.Request, v visitor) formAgain {
		reply := replyForm{
			ID: "again", Label: "Your answer", Name: form.Get(fieldActing), Acting: form.Get(fieldActing), Key: form.Get("key"), Value: form.Get("content"),
			Root: form.Get("root"), RootCID: form.Get("root_cid"), Parent: form.Get("parent"), ParentCID: form.Get("parent_cid"),
			setback: newSetback(err, "Not said yet.", form.Get(fieldActing), thread),
		}
		if viewer := v.viewer(); viewer != nil && viewer.DID == reply.Acting {
			reply.Name = viewer.Name()
		}
		if fault.From(err).Code == "Conflict" {
			reply.Key = newPostKey()
			reply.Trouble = "This form was sent before with another text, which may stand in the thread already: look there first. To say this too, send it again."
		}
		return formAgain{"comment_create", "Your answer", replyPage{Back: thread, Reply: reply}, reply.Grant}
	})
}

// newReply is the form for answering something, for the active account.
func newReply(acting *person, root, parent post.Ref, id, label string) replyForm {
	if acting == nil {
		return replyForm{}
	}
	return replyForm{
		ID: id, Label: label, Name: acting.Name(), Acting: acting.DID, Key: newPostKey(),
		Root: root.URI, RootCID: root.CID, Parent: parent.URI, ParentCID: parent.CID,
	}
}
