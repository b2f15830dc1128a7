// Package web is the pages of an instance: server-rendered, working without
// scripts, one file per action. It parses a request, authorizes it, calls one
// capability and renders; it holds no rule of the domain and no SQL.
package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/atoll-social/atoll/internal/feed"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/login"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/oauth/client"
)

// Config is what the pages work with.
type Config struct {
	Sessions *session.Manager
	Cookies  session.Cookies
	SignIn   SignIn
	// Apps signs apps in, and AppSessions are those that are; nil: there are none
	// here.
	Apps        Apps
	AppSessions AppSessions

	Posts Posts
	Index *index.Index
	Feeds *feed.Feeds
	// Cursors seals where lists of communities go on.
	Cursors     *index.Cursors
	Communities Communities
	Names       Names
	Pictures    Pictures
	// Client is the OAuth client, which publishes what it is (S1–S3).
	Client *client.Client
	// InstanceKeys is the JWK set of the instance's own keys; nil: it has none.
	InstanceKeys func() []byte
	// Origin is where browsers reach this instance, without a slash at its end.
	Origin string
	// Origins tells requests of our own pages from those of others.
	Origins *httpserver.Origins
	// Document is the instance's DID document; nil without a public address.
	Document *identity.InstanceDocument
	// Listening says that a source is configured; Discover tells whoever runs
	// an instance without one how to add it.
	Listening bool
	// Standings and Passwords are for the page about how Atoll writes for a
	// member; nil: there is none.
	Standings Standings
	Passwords Passwords
	// Writes limits how much each account writes, by its DID; nil means no
	// limit. Share it with the other surfaces.
	Writes *httpserver.Limiter
	// LookUps bounds what others are asked because of requests; nil means no limit.
	// Share it with the other surfaces.
	LookUps *httpserver.LookUps
	// Intake bounds the files that come in at once; nil means no limit. Share it
	// with the other surfaces.
	Intake *httpserver.Intake
	// Now is the clock of relative times; nil means time.Now.
	Now func() time.Time
}

// SignIn proves who somebody is, through their own server. It is login.Service;
// tests of pages stand in for the members' servers here.
type SignIn interface {
	Start(ctx context.Context, in login.Start) (login.Started, error)
	Callback(ctx context.Context, in login.Callback) (login.Outcome, error)
	Upgrade(ctx context.Context, in login.Upgrade) (login.Started, error)
}

// Server renders the pages of one instance. It is safe for concurrent use.
type Server struct {
	cfg    Config
	pages  renderer
	assets assets
	now    func() time.Time
}

// New checks cfg and parses the templates. It does no I/O.
func New(cfg Config) (*Server, error) {
	if cfg.Sessions == nil || cfg.SignIn == nil || cfg.Posts == nil || cfg.Client == nil ||
		cfg.Index == nil || cfg.Feeds == nil || cfg.Cursors == nil || cfg.Communities == nil || cfg.Names == nil || cfg.Pictures == nil ||
		cfg.Origins == nil || cfg.Origin == "" {
		return nil, errors.New("web: Sessions, SignIn, Posts, Client, Index, Feeds, Cursors, Communities, Names, Pictures, Origin and Origins are required")
	}
	files, err := loadAssets()
	if err != nil {
		return nil, err
	}
	pages, err := newRenderer(files)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, pages: pages, assets: files, now: cfg.Now}
	if s.now == nil {
		s.now = time.Now
	}
	return s, nil
}

// Mount adds every page, form and document to mux. Serve mux through
// httpserver.Routes with RenderFault, which answers for all other addresses.
func (s *Server) Mount(mux *http.ServeMux) {
	for pattern, handler := range s.appRoutes() {
		mux.Handle(pattern, httpserver.Handler(s.RenderFault, s.guard(handler)))
	}
	for pattern, handler := range s.delegationRoutes() {
		mux.Handle(pattern, httpserver.Handler(s.RenderFault, s.guard(handler)))
	}
	for _, routes := range []map[string]httpserver.HandlerFunc{s.readingRoutes(), s.writingRoutes(), s.memberRoutes(), s.documentRoutes()} {
		for pattern, handler := range routes {
			mux.Handle(pattern, httpserver.Handler(s.RenderFault, s.guard(handler)))
		}
	}
}

// readingRoutes are the pages that everybody reads.
func (s *Server) readingRoutes() map[string]httpserver.HandlerFunc {
	return map[string]httpserver.HandlerFunc{
		"GET /{$}":                             s.homeShow,
		"GET /discover":                        s.discoverShow,
		"GET /all":                             s.allShow,
		"GET /communities":                     s.communityList,
		"GET /c/{community}":                   s.communityShow,
		"GET /u/{member}":                      s.memberPosts,
		"GET /u/{member}/comments":             s.memberComments,
		"GET /p/{did}/{rkey}":                  s.postShow,
		"GET /p/{did}/{rkey}/c/{author}/{key}": s.commentShow,
		"GET /img/{preset}/plain/{did}/{cid}":  s.imageShow,
	}
}

// writingRoutes are forms of members, and where they go.
func (s *Server) writingRoutes() map[string]httpserver.HandlerFunc {
	const post, comment = "/p/{did}/{rkey}", "/p/{did}/{rkey}/c/{author}/{key}"
	return map[string]httpserver.HandlerFunc{
		"GET /posts/new":              s.postNew,
		"POST /posts":                 s.postCreate,
		"POST /posts/preview":         s.postPreview,
		"GET " + post + "/edit":       s.postEdit,
		"POST " + post + "/edit":      s.postSave,
		"GET " + post + "/delete":     s.postLeave,
		"POST " + post + "/delete":    s.postDelete,
		"POST /comments":              s.commentCreate,
		"GET " + comment + "/edit":    s.commentEdit,
		"POST " + comment + "/edit":   s.commentSave,
		"GET " + comment + "/delete":  s.commentLeave,
		"POST " + comment + "/delete": s.commentDelete,
		"POST /votes":                 s.voteCast,
		"POST /subscriptions":         s.followSet,
		"GET /communities/new":        s.communityNew,
		"POST /communities":           s.communityCreate,
		"GET /c/{community}/edit":     s.communityEdit,
		"POST /c/{community}/edit":    s.communityUpdate,
		"GET /c/{community}/review":   s.communityReview,
		"POST /c/{community}/review":  s.communityDecide,
		"POST /c/{community}/policy":  s.communityRule,
		"POST /blocks":                s.blockSet,
	}
}

// memberRoutes are about signing in and the member's own account.
func (s *Server) memberRoutes() map[string]httpserver.HandlerFunc {
	return map[string]httpserver.HandlerFunc{
		"GET /sign-in":        s.signInShow,
		"GET /oauth/login":    s.signInStart,
		"POST /oauth/login":   s.signInStart,
		"GET /oauth/callback": s.signInFinish,
		"POST /oauth/upgrade": s.signInUpgrade,

		"GET /account":                      s.accountShow,
		"GET /account/profile":              s.profileEdit,
		"POST /account/profile":             s.profileSave,
		"GET /account/blocks":               s.blockList,
		"POST /account/switch":              s.accountSwitch,
		"POST /account/sign-out-device":     s.accountSignOutDevice,
		"POST /account/sign-out-app":        s.accountSignOutApp,
		"POST /account/sign-out-everywhere": s.accountSignOutEverywhere,
		"POST /oauth/logout":                s.accountSignOut,
	}
}

// documentRoutes are what programs read.
func (s *Server) documentRoutes() map[string]httpserver.HandlerFunc {
	return map[string]httpserver.HandlerFunc{
		"GET /oauth-client-metadata.json": s.clientMetadata,
		"GET /oauth/jwks.json":            s.clientKeys,
		"GET /.well-known/jwks.json":      s.instanceKeys,
		"GET /.well-known/did.json":       s.instanceDocument,

		"GET /static/{name}": s.assets.serve,
		"GET /favicon.ico":   s.faviconShow,
		"GET /robots.txt":    s.robotsShow,
	}
}

// guard refuses what other sites make a member's browser send (S25).
func (s *Server) guard(next httpserver.HandlerFunc) httpserver.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := s.cfg.Origins.Check(r); err != nil {
			return err
		}
		return next(w, r)
	}
}

// show renders a page for a visitor.
func (s *Server) show(w http.ResponseWriter, r *http.Request, v visitor, status int, name, title string, data any) error {
	return s.pages.write(w, status, name, s.pageFor(r, v, title, data))
}

func (s *Server) pageFor(r *http.Request, v visitor, title string, data any) page {
	return page{Title: title, Path: r.URL.Path, Back: s.back(r), Viewer: v.viewer(), Notice: noticeOf(r), Data: data}
}

// back is where somebody who signs in from the page r asks for wants to be
// afterwards: there, unless it is the answer to a form.
func (s *Server) back(r *http.Request) string {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return "/"
	}
	return login.ReturnTo(withoutNotice(r.URL), s.cfg.Origin)
}

// goBack leads back to the page that a form was on, and to the element in it
// that the form belongs to.
func (s *Server) goBack(w http.ResponseWriter, r *http.Request, form url.Values) {
	to := s.returnTo(form)
	if _, anchor, ok := strings.Cut(form.Get("return_to"), "#"); ok && to != "/" && !strings.ContainsFunc(anchor, notInAnchor) {
		to += "#" + anchor
	}
	redirect(w, r, to)
}

// notInAnchor tells what is in no DID and no record key, of which our anchors are
// made.
func notInAnchor(c rune) bool {
	letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	return !letter && !strings.ContainsRune("-._:~/%", c)
}

// redirect leads on to another page, which is asked for with GET.
func redirect(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}
