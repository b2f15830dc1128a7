// Package xrpc is the API of an instance: lexicon methods under /xrpc/, and
// /api/me. It parses a request, finds out who asks, calls one capability and
// renders JSON; it holds no rule of the domain and no SQL.
package xrpc

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/aggregator"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/post"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// Prefix begins the path of every method.
const Prefix = "/xrpc/"

// Config is what the API works with.
type Config struct {
	Sessions *session.Manager
	Cookies  session.Cookies
	// Renewing reads sessions so that they can be renewed in time; nil leaves
	// that to whoever uses them next.
	Renewing Renewing
	// Apps knows the access tokens of apps; nil: there are none.
	Apps *session.Apps
	// Services knows the tokens that members' servers sign for them; nil: none
	// are taken.
	Services Services
	// Aggregators knows services that post by a key; nil: there are none.
	Aggregators *aggregator.Service
	// Standings says how members can be acted for; nil: nobody asks.
	Standings Standings
	// Origins tells requests of our own pages from those of others.
	Origins *httpserver.Origins
	// Origin is where pictures are served, without a slash at its end.
	Origin string
	Index  *index.Index
	Feeds  *feed.Feeds
	// Names finds whom a client names; community.Resolver does.
	Names Names
	// Cursors signs those of lists that are no feeds.
	Cursors *index.Cursors
	Posts   *post.Service
	// Communities follows, blocks, creates and changes communities.
	Communities *community.Service
	// Writes limits how much one account may write; nil means no limit.
	Writes *httpserver.Limiter
	// LookUps bounds what others are asked because of requests; nil means no limit.
	LookUps *httpserver.LookUps
	// Intake bounds the files that come in at once; nil means no limit.
	Intake *httpserver.Intake
}

// Names finds accounts by what a client calls them. Errors are faults with the
// names of the lexicons. It is community.Resolver.
type Names interface {
	// Find finds a community: a DID, a handle with or without ! or @, !name@host.
	Find(ctx context.Context, text string) (index.Identity, error)
	// Locate is Find for reading: it asks the index first, and calls ask before it
	// asks others.
	Locate(ctx context.Context, text string, ask func() error) (syntax.DID, error)
	// LocatePerson is Locate for a person: a DID, a handle with or without @.
	LocatePerson(ctx context.Context, text string, ask func() error) (syntax.DID, error)
}

// Renewing opens sessions with members' servers; client.Client does.
type Renewing interface {
	Session(ctx context.Context, id string) (*client.Session, error)
}

// Server answers API requests. It is safe for concurrent use.
type Server struct {
	cfg     Config
	methods map[syntax.NSID]method
}

// New checks cfg. It does no I/O.
func New(cfg Config) (*Server, error) {
	if cfg.Sessions == nil || cfg.Origins == nil || cfg.Index == nil || cfg.Feeds == nil || cfg.Names == nil || cfg.Cursors == nil || cfg.Posts == nil || cfg.Communities == nil {
		return nil, errors.New("xrpc: Sessions, Origins, Index, Feeds, Names, Cursors, Posts and Communities are required")
	}
	s := &Server{cfg: cfg, methods: map[syntax.NSID]method{}}
	for _, m := range append(s.all(), s.aggregatorMethods()...) {
		s.methods[m.nsid] = m
	}
	return s, nil
}

// method is one lexicon method.
type method struct {
	nsid syntax.NSID
	verb string // GET for queries, POST for procedures
	auth auth
	// writes is the collection that the method writes a record of for whoever
	// asks; a client that holds a token of the PDS can do that by itself.
	writes syntax.NSID
	handle func(w http.ResponseWriter, r *http.Request, who caller) error
}

// all lists the methods: one line each.
func (s *Server) all() []method {
	return []method{
		{"social.coves.feed.getDiscover", http.MethodGet, optional, "", s.getDiscover},
		{"social.coves.actor.blockUser", http.MethodPost, required, index.PersonBlockCollection, s.blockUser},
		{"social.coves.actor.unblockUser", http.MethodPost, required, index.PersonBlockCollection, s.unblockUser},
		{"social.coves.actor.getBlockedUsers", http.MethodGet, required, "", s.getBlockedUsers},
		{"social.coves.community.subscribe", http.MethodPost, required, index.SubscriptionCollection, s.subscribe},
		{"social.coves.community.unsubscribe", http.MethodPost, required, index.SubscriptionCollection, s.unsubscribe},
		{"social.coves.community.blockCommunity", http.MethodPost, required, index.CommunityBlockCollection, s.blockCommunity},
		{"social.coves.community.unblockCommunity", http.MethodPost, required, index.CommunityBlockCollection, s.unblockCommunity},
		{"social.coves.community.getBlockedCommunities", http.MethodGet, required, "", s.getBlockedCommunities},
		{"social.coves.community.create", http.MethodPost, required, "", s.communityCreate},
		{"social.coves.community.update", http.MethodPost, required, "", s.communityUpdate},
		{"social.coves.community.post.getStatus", http.MethodGet, optional, "", s.postGetStatus},
		{"social.coves.feed.getAll", http.MethodGet, optional, "", s.getAll},
		{"social.coves.feed.getTimeline", http.MethodGet, required, "", s.getTimeline},
		{"social.coves.communityFeed.getCommunity", http.MethodGet, optional, "", s.getCommunityFeed},
		{"social.coves.feed.getCommunity", http.MethodGet, optional, "", s.getCommunityFeed},
		{"social.coves.actor.getProfile", http.MethodGet, optional, "", s.getProfile},
		{"social.coves.actor.getPosts", http.MethodGet, optional, "", s.getPosts},
		{"social.coves.actor.getComments", http.MethodGet, optional, "", s.getActorComments},
		{"social.coves.community.get", http.MethodGet, optional, "", s.communityGet},
		{"social.coves.community.list", http.MethodGet, optional, "", s.communityList},
		{"social.coves.community.search", http.MethodGet, optional, "", s.communitySearch},
		{"social.coves.community.post.get", http.MethodGet, optional, "", s.postGet},
		{"social.coves.community.comment.getComments", http.MethodGet, optional, "", s.getComments},
		{"social.coves.community.post.create", http.MethodPost, required, index.PostCollection, s.postCreate},
		{"social.coves.community.post.update", http.MethodPost, required, index.PostCollection, s.postUpdate},
		{"social.coves.community.post.delete", http.MethodPost, required, index.PostCollection, s.postDelete},
		{"social.coves.community.comment.create", http.MethodPost, required, index.CommentCollection, s.commentCreate},
		{"social.coves.community.comment.update", http.MethodPost, required, index.CommentCollection, s.commentUpdate},
		{"social.coves.community.comment.delete", http.MethodPost, required, index.CommentCollection, s.commentDelete},
		{"social.coves.feed.vote.create", http.MethodPost, required, index.VoteCollection, s.voteCreate},
		{"social.coves.feed.vote.delete", http.MethodPost, required, index.VoteCollection, s.voteDelete},
		{"social.coves.actor.updateProfile", http.MethodPost, required, index.PersonCollection, s.updateProfile},
		{uploadImageMethod, http.MethodPost, required, "", s.uploadImage},
	}
}

// Mount adds all methods to mux, and answers for everything else below Prefix.
func (s *Server) Mount(mux *http.ServeMux) {
	for _, m := range s.methods {
		mux.Handle(m.verb+" "+Prefix+m.nsid.String(), s.handler(m))
	}
	mux.Handle(Prefix, httpserver.Handler(s.RenderFault, s.unknown))
	me := method{verb: http.MethodGet, auth: required, handle: s.me}
	mux.Handle("GET /api/me", s.handler(me))
	if s.cfg.Standings != nil {
		mux.Handle("GET /api/me/standing", s.handler(method{verb: http.MethodGet, auth: required, handle: s.meStanding}))
	}
	if s.cfg.Apps != nil {
		mux.Handle("POST /oauth/refresh", httpserver.Handler(s.RenderFault, s.appRefresh))
	}
}

// handler finds out who asks before a method is called.
func (s *Server) handler(m method) http.Handler {
	return httpserver.Handler(s.RenderFault, func(w http.ResponseWriter, r *http.Request) error {
		allowAnyOrigin(w, r)
		who, err := s.authenticate(w, r, m)
		if err != nil {
			return err
		}
		if BodyLimit(r) > maxBody {
			stay := s.cfg.Intake.Enter(who.account.DID.String())
			defer stay.Leave()
			r.Body = counted{stay.Reader(r.Body), r.Body}
		}
		return m.handle(w, r, who)
	})
}

// counted is a body that counts as what comes in.
type counted struct {
	io.Reader
	io.Closer
}

// errNotImplemented marks a well-formed method that this server does not have.
var errNotImplemented = errors.New("method is not implemented")

// unknown answers what no method takes: preflights of browsers, known methods
// asked for in the wrong way, and the rest (AT Protocol HTTP API, errors).
func (s *Server) unknown(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return nil
	}
	nsid, err := syntax.ParseNSID(strings.TrimPrefix(r.URL.Path, Prefix))
	if err != nil {
		return fault.New(fault.NotFound, "There is no such method.")
	}
	m, known := s.methods[nsid]
	if !known {
		return fault.Wrap(fault.NotFound, errNotImplemented, "This server does not have this method.").
			WithCode("MethodNotImplemented")
	}
	w.Header().Set("Allow", m.verb+", OPTIONS")
	return fault.Wrap(fault.Invalid, httpserver.ErrMethodNotAllowed, "This method is called with "+m.verb+".").
		WithCode("InvalidRequest")
}

// allowAnyOrigin lets scripts of any site read answers, without cookies: the
// header that would allow those is never sent.
func allowAnyOrigin(w http.ResponseWriter, r *http.Request) {
	if !strings.HasPrefix(r.URL.Path, Prefix) {
		return
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After, WWW-Authenticate, X-Request-Id")
}

// preflight answers a browser that asks before it sends a script's request.
func preflight(w http.ResponseWriter, r *http.Request) {
	allowAnyOrigin(w, r)
	h := w.Header()
	h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, DPoP, Atproto-Accept-Labelers, Atproto-Proxy")
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}
