package web

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
)

// deletePage is the data of post_delete, which asks once more.
type deletePage struct {
	Heading, Words, Excerpt, Acting string
	Action, Back                    string
}

// postLeave answers GET /p/{did}/{rkey}/delete.
func (s *Server) postLeave(w http.ResponseWriter, r *http.Request) error {
	return s.confirm(w, r, index.PostCollection, deletePage{
		Heading: "Delete this post?", Action: threadURL(r) + "/delete", Back: threadURL(r),
		Words: "The post is taken out of your repository and disappears everywhere. What others answered stays in theirs.",
	})
}

// commentLeave answers GET /p/{did}/{rkey}/c/{author}/{key}/delete.
func (s *Server) commentLeave(w http.ResponseWriter, r *http.Request) error {
	return s.confirm(w, r, index.CommentCollection, deletePage{
		Heading: "Delete this comment?", Action: commentURL(r) + "/delete", Back: commentURL(r),
		Words: "The comment is taken out of your repository. Its place stays, so that answers to it keep theirs.",
	})
}

func (s *Server) confirm(w http.ResponseWriter, r *http.Request, collection syntax.NSID, p deletePage) error {
	v, said, err := s.mine(w, r, collection)
	if err != nil {
		return err
	}
	var record postText
	if err := json.Unmarshal(said.Record, &record); err != nil {
		return err
	}
	p.Acting, p.Excerpt = v.viewer().DID, subjectName(record)
	return s.show(w, r, v, http.StatusOK, "post_delete", p.Heading, p)
}

// postDelete answers POST /p/{did}/{rkey}/delete.
func (s *Server) postDelete(w http.ResponseWriter, r *http.Request) error {
	return s.remove(w, r, addNotice("/u/"+r.PathValue("did"), noticeDeleted), func(ctx context.Context, actor agent.Actor) error {
		uri := "at://" + r.PathValue("did") + "/" + index.PostCollection.String() + "/" + r.PathValue("rkey")
		return s.cfg.Posts.Delete(ctx, actor, uri)
	})
}

// commentDelete answers POST /p/{did}/{rkey}/c/{author}/{key}/delete.
func (s *Server) commentDelete(w http.ResponseWriter, r *http.Request) error {
	return s.remove(w, r, threadURL(r)+"#comments", func(ctx context.Context, actor agent.Actor) error {
		uri := "at://" + r.PathValue("author") + "/" + index.CommentCollection.String() + "/" + r.PathValue("key")
		return s.cfg.Posts.DeleteComment(ctx, actor, uri)
	})
}

func (s *Server) remove(w http.ResponseWriter, r *http.Request, then string, do func(context.Context, agent.Actor) error) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return err
	}
	if err := do(r.Context(), actor); err != nil {
		return err
	}
	redirect(w, r, then)
	return nil
}
