package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/index"
)

// memberPage is the data of member_show.
type memberPage struct {
	Member   memberItem
	Mine     bool
	Block    blockItem
	Tabs     []tab
	Showing  string // "Posts" or "Comments"
	List     listItem
	Comments []commentLine
	More     string
}

// memberItem is somebody with what they say about themselves.
type memberItem struct {
	party
	Counts string
	Text   []block
}

// commentLine is a comment apart from its thread.
type commentLine struct {
	URL, PostURL string
	Post         string // what the post is called; empty when the viewer does not see it
	Beginning    string // of what is said
	When         moment
	Text         []block
	ScoreWords   string
}

// memberPosts answers GET /u/{member}.
func (s *Server) memberPosts(w http.ResponseWriter, r *http.Request) error {
	return s.member(w, r, "Posts", func(v visitor, p index.Profile, data *memberPage) (err error) {
		data.List, err = s.actorPosts(r, v, p.DID)
		return err
	})
}

// memberComments answers GET /u/{member}/comments.
func (s *Server) memberComments(w http.ResponseWriter, r *http.Request) error {
	return s.member(w, r, "Comments", func(v visitor, p index.Profile, data *memberPage) error {
		comments, cursor, err := s.cfg.Feeds.CommentsBy(r.Context(), feed.AuthorQuery{
			Author: p.DID, Viewer: v.did(), Limit: feedLimit, Cursor: r.URL.Query().Get("cursor"), Endpoint: "web",
		})
		if err != nil {
			return err
		}
		titles, err := s.titlesOf(r.Context(), v.did(), comments)
		if err != nil {
			return err
		}
		for _, c := range comments {
			line, err := newCommentLine(c, s.now())
			if err != nil {
				return err
			}
			line.Post = titles[c.Post.URI]
			data.Comments = append(data.Comments, line)
		}
		data.More = nextURL(r, cursor)
		return nil
	})
}

// titlesOf is what the posts are called that comments belong to, as far as viewer
// sees them.
func (s *Server) titlesOf(ctx context.Context, viewer syntax.DID, comments []*index.Comment) (map[syntax.ATURI]string, error) {
	var uris []syntax.ATURI
	for _, c := range comments {
		if !slices.Contains(uris, c.Post.URI) {
			uris = append(uris, c.Post.URI)
		}
	}
	who, err := s.cfg.Index.Viewer(ctx, viewer)
	if err != nil {
		return nil, err
	}
	found, err := s.cfg.Index.PostsByURI(ctx, who, uris)
	if err != nil {
		return nil, err
	}
	out := map[syntax.ATURI]string{}
	for uri, p := range found {
		if p.Blocked {
			continue
		}
		var record postText
		if err := json.Unmarshal(p.Record, &record); err != nil {
			return nil, fmt.Errorf("name post %s: %w", uri, err)
		}
		out[uri] = subjectName(record)
	}
	return out, nil
}

func newCommentLine(c *index.Comment, now time.Time) (commentLine, error) {
	var record postText
	if err := json.Unmarshal(c.Record, &record); err != nil {
		return commentLine{}, fmt.Errorf("show comment %s: %w", c.URI, err)
	}
	line := commentLine{
		Beginning: subjectName(record),
		When:      momentOf(c.CreatedAt, now), ScoreWords: counted(c.Upvotes-c.Downvotes, "point"),
		Text: richText(record.Content, parseFacets(record.Facets, record.Content)),
	}
	if did, err := c.Post.URI.Authority().AsDID(); err == nil {
		line.PostURL = postURL(did, c.Post.URI.RecordKey())
		author, key := c.URI.Authority().String(), c.URI.RecordKey().String()
		line.URL = withAnchor(line.PostURL+"/c/"+author+"/"+key, commentAnchor(author, key))
	}
	return line, nil
}

func (s *Server) member(w http.ResponseWriter, r *http.Request, showing string, fill func(visitor, index.Profile, *memberPage) error) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	p, err := s.findMember(r.Context(), r.PathValue("member"), s.cfg.LookUps.Of(r, v.viewer() != nil))
	if err != nil {
		return err
	}
	item, err := newMemberItem(p)
	if err != nil {
		return err
	}
	data := memberPage{Member: item, Showing: showing, Mine: v.did() == p.DID,
		Block: blockItem{Acting: v.did().String(), DID: p.DID.String(), Back: r.URL.RequestURI(), Kind: "member"}}
	for _, t := range []tab{{URL: item.URL, Label: "Posts"}, {URL: item.URL + "/comments", Label: "Comments"}} {
		t.Current = t.Label == showing
		data.Tabs = append(data.Tabs, t)
	}
	if data.Block.Blocked, err = s.blocks(r.Context(), v.did(), index.PersonBlockCollection, p.DID); err != nil {
		return err
	}
	if !data.Block.Blocked {
		if err := fill(v, p, &data); err != nil {
			return err
		}
	}
	return s.show(w, r, v, http.StatusOK, "member_show", item.Label, data)
}

// findMember finds the person that text names. Only for somebody of whom nothing
// is here the network is asked, so that a page never waits for other servers.
func (s *Server) findMember(ctx context.Context, text string, ask func() error) (index.Profile, error) {
	did, err := s.cfg.Names.LocatePerson(ctx, text, ask)
	if err != nil {
		return index.Profile{}, err
	}
	p, ok, err := s.cfg.Index.Profile(ctx, did)
	if ok || err != nil {
		return p, err
	}
	if err := ask(); err != nil {
		return index.Profile{}, err
	}
	who, err := s.cfg.Names.Person(ctx, text)
	return index.Profile{Account: index.Account{DID: who.DID, Handle: who.Handle}}, err
}

// actorPosts lists what somebody posted, the newest first.
func (s *Server) actorPosts(r *http.Request, v visitor, did syntax.DID) (listItem, error) {
	cursor := r.URL.Query().Get("cursor")
	page, err := s.cfg.Feeds.PostsBy(r.Context(), feed.AuthorQuery{
		Author: did, Viewer: v.did(), Limit: feedLimit, Cursor: cursor, Endpoint: "web",
	})
	if err != nil {
		return listItem{}, err
	}
	out := listItem{Begin: r.URL.Path, Paged: cursor != "", More: nextURL(r, page.Cursor),
		Empty: emptyItem{Heading: "No posts", Words: "What they post to communities appears here."}}
	out.Posts, err = s.items(r.Context(), page.Posts, s.listSight(r, v))
	return out, err
}

func newMemberItem(p index.Profile) (memberItem, error) {
	var record profileText
	if len(p.Record) > 0 {
		if err := json.Unmarshal(p.Record, &record); err != nil {
			return memberItem{}, fmt.Errorf("show member %s: %w", p.DID, err)
		}
	}
	who := index.Person{Account: p.Account, DisplayName: record.DisplayName}
	if record.Avatar != nil {
		who.Avatar = record.Avatar.Ref.Link
	}
	return memberItem{
		party:  memberOf(who),
		Counts: counted(p.Posts, "post") + ", " + counted(p.Comments, "comment"),
		Text:   richText(record.Bio, parseFacets(record.BioFacets, record.Bio)),
	}, nil
}
