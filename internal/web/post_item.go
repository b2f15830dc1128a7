package web

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// postItem is a post in a list or on its own page.
type postItem struct {
	Anchor    string // id of the element
	URL       string
	Here      bool // the page is the community's own: it isn't named again
	Community party
	Author    party
	When      moment
	Edited    bool
	Title     string
	Text      []block
	Clipped   bool // a list shows its beginning only
	Warning   string
	Embed     embedItem
	Tags      []string
	Comments  int64
	Votes     votesItem
	Mine      bool
	State     postState
}

// CommentCount is how many comments there are, in words.
func (p postItem) CommentCount() string { return counted(p.Comments, "comment") }

// votesItem is the form that votes on a post or comment.
type votesItem struct {
	Acting   string // who votes; empty shows the score alone
	URI, CID string
	Back     string // the page to come back to
	What     string // names the subject for those who don't see it
	Mine     string // "up", "down" or empty
	Score    int64
}

// postState is how the community's admission shows.
type postState struct {
	Class string // of the element: "", "waiting" or "refused"
	Words string // empty for an admitted post
}

// postStates says how admission shows. An admitted post needs no words.
var postStates = map[index.State]postState{
	index.Pending:             {Class: "waiting", Words: "Not admitted by the community yet"},
	index.PendingReacceptance: {Class: "waiting", Words: "Changed since it was admitted; the community looks at it again"},
	index.Rejected:            {Class: "refused", Words: "Not admitted by the community"},
	index.Removed:             {Class: "refused", Words: "Removed by the community"},
}

// sight is for whom and where things are shown.
type sight struct {
	acting string // DID of the active account; empty for a visitor
	back   string // the page, to come back to after a form
	now    time.Time
	list   bool       // in a list, texts are clipped
	within syntax.DID // the community whose page it is
	quotes quotes
}

// clipFrom is from how many bytes on a list shows the beginning of a text only.
const clipFrom = 1400

// postText is what pages read of a post's record.
type postText struct {
	Title   string          `json:"title"`
	Content string          `json:"content"`
	Facets  json.RawMessage `json:"facets"`
	Embed   json.RawMessage `json:"embed"`
	Tags    []string        `json:"tags"`
}

func newPostItem(p index.Post, s sight) (postItem, error) {
	var record postText
	if err := json.Unmarshal(p.Record, &record); err != nil {
		return postItem{}, fmt.Errorf("show post %s: %w", p.URI(), err)
	}
	item := postItem{
		Anchor:    postAnchor(p.Author.DID.String(), p.RKey.String()),
		URL:       postURL(p.Author.DID, p.RKey),
		Here:      s.within == p.Community.DID,
		Community: communityOf(p.Community),
		Author:    authorOf(p.Author),
		When:      momentOf(p.CreatedAt, s.now),
		Edited:    !p.EditedAt.IsZero(),
		Title:     record.Title,
		Clipped:   s.list && len(record.Content) > clipFrom,
		Warning:   warningWords(p.Warnings),
		Embed:     newEmbed(record.Embed, p.Author.DID, s.quotes),
		Tags:      record.Tags,
		Comments:  p.Comments,
		Mine:      s.acting == p.Author.DID.String(),
		State:     postStates[p.State],
		Votes: votesItem{
			Acting: s.acting, URI: p.URI().String(), CID: p.CID.String(), What: subjectName(record),
			Score: p.Upvotes - p.Downvotes,
		},
	}
	if item.Votes.Back = s.back; s.list {
		item.Votes.Back = withAnchor(s.back, item.Anchor)
	}
	if p.Viewer != nil {
		item.Votes.Mine = voteWord(p.Viewer.Vote)
	}
	text := record.Content
	if item.Clipped {
		text = clip(text)
	}
	item.Text = richText(text, parseFacets(record.Facets, text))
	return item, nil
}

// clip cuts a text for a list, at the end of a line or word if one is near.
func clip(text string) string {
	cut := strings.ToValidUTF8(text[:clipFrom], "")
	if i := strings.LastIndexAny(cut, " \n"); i > clipFrom/2 {
		cut = cut[:i]
	}
	return cut + "…"
}

// withAnchor leads back to the element on a page.
func withAnchor(page, anchor string) string {
	if page == "" {
		return ""
	}
	return page + "#" + anchor
}

func subjectName(record postText) string {
	name := record.Title
	if name == "" {
		name = record.Content
	}
	if runes := []rune(name); len(runes) > 80 {
		name = string(runes[:80]) + "…"
	}
	return name
}

func voteWord(v *index.Vote) string {
	switch {
	case v == nil:
		return ""
	case v.Up:
		return "up"
	}
	return "down"
}

// warningWords says what content warns of, for the switch that shows it.
func warningWords(w index.Warnings) string {
	var words []string
	for _, one := range []struct {
		warning index.Warnings
		words   string
	}{{index.Adult, "for adults"}, {index.Violence, "violence"}, {index.Spoilers, "spoilers"}} {
		if w&one.warning != 0 {
			words = append(words, one.words)
		}
	}
	return strings.Join(words, ", ")
}

// postAnchor is the id of a post's element, unique on the network.
func postAnchor(author, rkey string) string { return author + "/" + rkey }

// counted is a number with its noun.
func counted(n int64, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.FormatInt(n, 10) + " " + noun + "s"
}
