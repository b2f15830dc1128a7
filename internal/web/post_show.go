package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/post"
)

// What of a thread stands on one page: so many answers to the post, and so many
// levels; the rest is a link away.
const (
	threadLimit = 40
	threadDepth = 8
)

// threadPage is the data of post_show.
type threadPage struct {
	Post     postItem
	Reply    replyForm
	Single   bool // one comment, what leads to it and what is below it
	Sorts    []tab
	Comments []commentItem
	More     string
	Paged    bool
}

// commentItem is a comment in its thread.
type commentItem struct {
	Anchor, URL string
	Here        bool // it is the one that was linked to
	Gone        string
	Folded      string // why its text is shown on request
	Author      party
	ByPoster    bool
	When        moment
	Edited      bool
	ScoreWords  string
	Inside      string // how many answers are folded away with it
	Text        []block
	Embed       embedItem
	Votes       votesItem
	Mine        bool
	Reply       *replyForm
	Replies     []commentItem
	More        *link
}

// postShow answers GET /p/{did}/{rkey}: a post with its thread.
func (s *Server) postShow(w http.ResponseWriter, r *http.Request) error {
	return s.thread(w, r, "")
}

// commentShow answers GET /p/{did}/{rkey}/c/{author}/{key}: one comment with
// what leads to it and what is below it.
func (s *Server) commentShow(w http.ResponseWriter, r *http.Request) error {
	return s.thread(w, r, syntax.RecordKey(r.PathValue("key")))
}

func (s *Server) thread(w http.ResponseWriter, r *http.Request, comment syntax.RecordKey) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	if to, err := s.byDID(r); err != nil {
		return err
	} else if to != "" {
		http.Redirect(w, r, to, http.StatusFound)
		return nil
	}
	uri, err := syntax.ParseATURI("at://" + r.PathValue("did") + "/" + index.PostCollection.String() + "/" + r.PathValue("rkey"))
	if err != nil {
		return errNoPage
	}
	q := feed.ThreadQuery{Post: uri, Comment: comment, By: syntax.DID(r.PathValue("author")), Viewer: v.did(), Limit: threadLimit, Depth: threadDepth,
		Cursor: r.URL.Query().Get("cursor"), Endpoint: "web"}
	data := threadPage{Single: comment != "", Paged: q.Cursor != ""}
	if err := data.order(r, &q); err != nil {
		return err
	}
	thread, err := s.cfg.Feeds.Thread(r.Context(), q)
	if err != nil {
		return s.ownRemoved(r.Context(), err, v, uri)
	}
	where := sight{acting: v.did().String(), back: r.URL.RequestURI(), now: s.now()}
	if where.quotes, err = s.quotesIn(r.Context(), v.did(), recordsOf(thread)); err != nil {
		return err
	}
	above := where
	above.list = data.Single // a long text would stand between the reader and the comment
	if data.Post, err = newPostItem(thread.Post, above); err != nil {
		return err
	}
	t := threadSight{sight: where, viewer: v.viewer(), post: thread.Post, at: data.Post.URL, linked: comment}
	if data.Comments, err = t.items(leading(thread)); err != nil {
		return err
	}
	root := t.root()
	data.Reply = newReply(v.viewer(), root, root, "post", "Your answer to the post")
	data.More = nextURL(r, thread.Cursor)
	title := data.Post.Title
	if title == "" {
		title = "A post by " + data.Post.Author.Label
	}
	return s.show(w, r, v, http.StatusOK, "post_show", title, data)
}

// byDID is the address of a thread by DIDs where r names somebody by handle, as
// the addresses of members' pages do; otherwise it is empty. Only the index is asked.
func (s *Server) byDID(r *http.Request) (string, error) {
	to, named := *r.URL, false
	for _, name := range []string{"did", "author"} {
		handle, err := syntax.ParseHandle(r.PathValue(name))
		if err != nil {
			continue
		}
		did, err := s.cfg.Names.LocatePerson(r.Context(), handle.String(), func() error { return errNoPage })
		if err != nil {
			return "", err
		}
		to.Path = strings.Replace(to.Path, "/"+handle.String()+"/", "/"+did.String()+"/", 1)
		to.RawPath, named = "", true
	}
	if !named {
		return "", nil
	}
	return to.RequestURI(), nil
}

// order reads the order of comments from the address.
func (p *threadPage) order(r *http.Request, q *feed.ThreadQuery) error {
	sort, known := r.URL.Query().Get("sort"), false
	if sort == "" {
		sort = "hot"
	}
	for _, o := range []struct {
		name, label string
		is          feed.Sort
	}{{"hot", "Hot", feed.Hot}, {"top", "Top", feed.Top}, {"new", "New", feed.Newest}} {
		if o.name == sort {
			q.Sort, known = o.is, true
		}
		at := r.URL.Path + "?" + url.Values{"sort": {o.name}}.Encode() + "#comments"
		p.Sorts = append(p.Sorts, tab{URL: at, Label: o.label, Current: o.name == sort})
	}
	if !known {
		return fault.New(fault.Invalid, "Comments can be ordered by hot, top or new.").WithCode("InvalidRequest")
	}
	return nil
}

// recordsOf are the post and its comments as they were written.
func recordsOf(t feed.Thread) []json.RawMessage {
	out := []json.RawMessage{t.Post.Record}
	var walk func([]*index.Comment)
	walk = func(comments []*index.Comment) {
		for _, c := range comments {
			out = append(out, c.Record)
			walk(c.Answers)
		}
	}
	walk(t.Context)
	walk(t.Comments)
	return out
}

// leading puts what leads to a linked comment around what is below it, so that
// the page shows one tree.
func leading(t feed.Thread) []*index.Comment {
	comments := t.Comments
	for i := len(t.Context) - 1; i >= 0; i-- {
		c := *t.Context[i]
		c.Answers, c.More = comments, false
		comments = []*index.Comment{&c}
	}
	return comments
}

// threadSight is for whom and where a thread is shown.
type threadSight struct {
	sight
	viewer *person
	post   index.Post
	at     string // the page of the post
	linked syntax.RecordKey
}

func (t threadSight) root() post.Ref {
	return post.Ref{URI: t.post.URI().String(), CID: t.post.CID.String()}
}

// items turns comments and what is below them into what the template shows.
func (t threadSight) items(comments []*index.Comment) ([]commentItem, error) {
	var out []commentItem
	for _, c := range comments {
		item, err := t.item(c)
		if err != nil {
			return nil, err
		}
		if item.Replies, err = t.items(c.Answers); err != nil {
			return nil, err
		}
		if c.More {
			item.More = &link{URL: item.URL, Text: "More answers to this"}
			if len(c.Answers) == 0 {
				item.More.Text = "Go on reading (" + counted(c.Replies, "answer") + ")"
			}
		}
		out = append(out, item)
	}
	return out, nil
}

// goneWords says why there is a place and no comment.
var goneWords = map[index.Gone]string{
	index.GoneDeleted: "A comment that was deleted.",
	index.GoneShutOut: "A comment of somebody whom the community has shut out.",
	index.GoneAccount: "A comment of an account that is not active.",
	index.GoneBlocked: "A comment of somebody whom you block.",
}

// commentAnchor is the id of a comment's element.
func commentAnchor(author, key string) string { return "c-" + author + "-" + key }

func (t threadSight) item(c *index.Comment) (commentItem, error) {
	author, key := c.URI.Authority().String(), c.URI.RecordKey()
	item := commentItem{
		Anchor: commentAnchor(author, key.String()), URL: t.at + "/c/" + author + "/" + key.String(),
		Here: key == t.linked, Gone: goneWords[c.Gone],
	}
	if c.Gone != 0 {
		return item, nil
	}
	var record postText
	if err := json.Unmarshal(c.Record, &record); err != nil {
		return commentItem{}, fmt.Errorf("show comment %s: %w", c.URI, err)
	}
	item.Author, item.ByPoster = authorOf(c.Author), c.Author.DID == t.post.Author.DID
	item.When, item.Edited = momentOf(c.CreatedAt, t.now), !c.EditedAt.IsZero()
	item.ScoreWords = counted(c.Upvotes-c.Downvotes, "point")
	if c.Replies > 0 {
		item.Inside = counted(c.Replies, "answer")
	}
	item.Text = richText(record.Content, parseFacets(record.Facets, record.Content))
	item.Embed = newEmbed(record.Embed, c.Author.DID, t.quotes)
	item.Mine = t.acting == c.Author.DID.String()
	item.Votes = votesItem{
		Acting: t.acting, URI: c.URI.String(), CID: c.CID.String(), Back: withAnchor(t.back, item.Anchor), What: subjectName(record),
		Mine: voteWord(c.Vote), Score: c.Upvotes - c.Downvotes,
	}
	if t.viewer != nil {
		reply := newReply(t.viewer, t.root(), post.Ref{URI: c.URI.String(), CID: c.CID.String()}, item.Anchor, "Your answer to "+item.Author.Label)
		item.Reply = &reply
	}
	return item, nil
}
