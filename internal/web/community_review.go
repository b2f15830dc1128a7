package web

import (
	"net/http"
	"net/url"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/session"
)

// reviewPage is the data of community_review, for those who look after a
// community.
type reviewPage struct {
	setback
	Label, Back, Action  string
	Acting               string
	Waiting              []waitingItem
	More                 bool // there are more than the page shows
	Policies             []option
	ReviewEdits, MayRule bool
	PolicyAction         string
	Codes                []option
}

// waitingItem is a post that waits.
type waitingItem struct {
	Post postItem
	URI  string
	Seen string // the version that the page shows
	Why  string
	// What was typed about removing it, when that was not done.
	Open         bool
	Code, Reason string
}

// reviewLimit is how many waiting posts a page shows.
const reviewLimit = 25

// waitWords says why a post waits.
var waitWords = map[community.Reason]string{
	community.NeedsApproval:   "Waits for your approval.",
	community.NeedsMembership: "Its author does not subscribe; it appears once they do, or when you approve it.",
	community.EditNeedsReview: "It was changed after it had been approved.",
}

// removalCodes are the lexicon's words for why a post is removed.
var removalCodes = []option{
	{Value: "off-topic", Label: "Off topic"}, {Value: "rule-violation", Label: "Against the rules"}, {Value: "spam", Label: "Spam"},
	{Value: "illegal-content", Label: "Illegal"}, {Value: "moderator-discretion", Label: "Another reason"},
}

// communityReview answers GET /c/{community}/review: what waits, and how the
// community decides.
func (s *Server) communityReview(w http.ResponseWriter, r *http.Request) error {
	v, err := s.visitor(w, r)
	if err != nil {
		return err
	}
	if v.viewer() == nil {
		return session.ErrSignedOut
	}
	data, err := s.review(r, v)
	if err != nil {
		return err
	}
	return s.show(w, r, v, http.StatusOK, "community_review", "Look after "+data.Label, data)
}

// review is what waits in the community that r names, and how it decides.
func (s *Server) review(r *http.Request, v visitor) (reviewPage, error) {
	c, err := s.findCommunity(r)
	if err != nil {
		return reviewPage{}, err
	}
	is, err := readCommunity(c)
	if err != nil {
		return reviewPage{}, err
	}
	at := is.party(c.Account)
	data := reviewPage{Label: at.Label, Back: at.URL, Action: at.URL + "/review", PolicyAction: at.URL + "/policy",
		Acting: v.did().String(), Codes: removalCodes}
	waiting, err := s.cfg.Communities.WaitingPosts(r.Context(), agent.Actor{DID: v.did()}, c.DID.String(), reviewLimit+1)
	if err != nil {
		return reviewPage{}, err
	}
	if data.More = len(waiting) > reviewLimit; data.More {
		waiting = waiting[:reviewLimit]
	}
	if data.Waiting, err = s.waitingItems(r, v, waiting); err != nil {
		return reviewPage{}, err
	}
	return data, s.rules(r, v, c.DID, &data)
}

// reviewAgain makes an error about one post show what waits, with what was typed
// about it.
func (s *Server) reviewAgain(w http.ResponseWriter, r *http.Request, err error, form url.Values) error {
	v, lookup := s.visitor(w, r)
	if lookup != nil || asksWho(err) {
		return err
	}
	data, lookup := s.review(r, v)
	if lookup != nil {
		return err // who may not look after it, or there is no such community
	}
	data.setback = newSetback(err, nothingChanged, form.Get(fieldActing), r.URL.Path)
	for i := range data.Waiting {
		if at := &data.Waiting[i]; at.URI == form.Get("post") {
			at.Open, at.Code, at.Reason = form.Get("do") == "remove", form.Get("code"), form.Get("reason")
		}
	}
	return s.again(err, form, func(*http.Request, visitor) formAgain {
		return formAgain{"community_review", "Look after " + data.Label, data, data.Grant}
	})
}

// waitingItems are those of the waiting posts that are still there.
func (s *Server) waitingItems(r *http.Request, v visitor, waiting []community.Waiting) ([]waitingItem, error) {
	viewer, err := s.cfg.Index.Viewer(r.Context(), v.did())
	if err != nil {
		return nil, err
	}
	var uris []syntax.ATURI
	for _, w := range waiting {
		uris = append(uris, w.Post)
	}
	found, err := s.cfg.Index.PostsByURI(r.Context(), viewer, uris)
	if err != nil {
		return nil, err
	}
	var out []waitingItem
	var posts []index.Post
	for _, w := range waiting {
		if p, ok := found[w.Post]; ok && !p.Blocked {
			posts = append(posts, p.Post)
			out = append(out, waitingItem{URI: w.Post.String(), Seen: p.CID.String(), Why: waitWords[w.Why]})
		}
	}
	items, err := s.items(r.Context(), posts, sight{acting: v.did().String(), back: r.URL.RequestURI(), now: s.now()})
	for i := range items {
		out[i].Post = items[i]
	}
	return out, err
}

// rules fills in how the community decides, and whether the viewer may change
// that.
func (s *Server) rules(r *http.Request, v visitor, did syntax.DID, data *reviewPage) error {
	policy, err := s.cfg.Communities.Policy(r.Context(), did)
	if err != nil {
		return err
	}
	data.ReviewEdits = policy.ReviewEdits
	for _, a := range []community.Admission{community.Open, community.Members, community.Approval} {
		data.Policies = append(data.Policies, option{string(a), community.Policy{Admission: a}.Explain(), a == policy.Admission})
	}
	data.MayRule, err = s.cfg.Communities.May(r.Context(), v.did(), did, community.Settings)
	return err
}

// communityDecide answers POST /c/{community}/review: a post is approved, with
// all of its author to come or without, or removed.
func (s *Server) communityDecide(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return err
	}
	uri, err := syntax.ParseATURI(form.Get("post"))
	if err != nil {
		return invalid(err, "The form does not say which post is meant. Open the page again.")
	}
	switch form.Get("do") {
	case "approve", "always":
		err = s.cfg.Communities.Approve(r.Context(), actor, uri, syntax.CID(form.Get("seen")), form.Get("do") == "always")
	case "remove":
		err = s.cfg.Communities.Reject(r.Context(), actor, uri, form.Get("code"), form.Get("reason"))
	default:
		err = invalid(nil, "A post is approved or removed.")
	}
	if err != nil {
		return s.reviewAgain(w, r, err, form)
	}
	redirect(w, r, r.URL.Path)
	return nil
}

// communityRule answers POST /c/{community}/policy.
func (s *Server) communityRule(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return err
	}
	policy := community.Policy{Admission: community.Admission(form.Get("admission")), ReviewEdits: form.Get("review_edits") == "yes"}
	if err := s.cfg.Communities.SetPolicy(r.Context(), actor, r.PathValue("community"), policy); err != nil {
		return err
	}
	redirect(w, r, "/c/"+r.PathValue("community")+"/review")
	return nil
}
