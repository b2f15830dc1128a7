package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/port"
	"github.com/atoll-social/atoll/test/server"
	"github.com/atoll-social/atoll/test/usage"
)

// settle is how long a server that is ready is left alone before its memory is read: feeds are loaded by then.
const settle = 3 * time.Second

// instance is the program on one database.
type instance struct {
	options
	network  *network.Network
	dir      string
	postgres string // URL; empty for SQLite
	listen   string
	library  *library
}

func (i *instance) origin() string { return "http://" + i.listen }

// measure starts the program twice: on nothing, which also makes its key and its tables, and on a full index.
func (i *instance) measure(ctx context.Context) (*table, error) {
	if err := i.configure(ctx); err != nil {
		return nil, err
	}
	t := &table{posts: i.posts, connections: i.connections}
	err := i.serving(ctx, func(s *server.Server, _ time.Duration) (err error) {
		t.idle, err = usage.Memory(s.PID(), usage.Resident)
		return err
	})
	if err != nil {
		return nil, err
	}
	member, err := i.network.CreateAccount(ctx, 0, network.Name("reader"))
	if err != nil {
		return nil, err
	}
	if err := i.furnish(ctx, syntax.DID(member.DID)); err != nil {
		return nil, err
	}
	return t, i.serving(ctx, func(s *server.Server, ready time.Duration) error {
		t.ready = ready
		return i.measureFull(ctx, s, member, t)
	})
}

func (i *instance) measureFull(ctx context.Context, s *server.Server, member network.Account, t *table) (err error) {
	if t.full, err = usage.Memory(s.PID(), usage.Resident); err != nil {
		return err
	}
	targets, err := i.targets(ctx, member)
	if err != nil {
		return err
	}
	script := filepath.Join(i.dir, "report.lua")
	if err := os.WriteFile(script, []byte(reportScript), 0o600); err != nil {
		return err
	}
	for _, target := range targets {
		if err := target.check(ctx, i.origin()); err != nil {
			return err
		}
		if !strings.Contains(target.name, i.only) {
			continue
		}
		before := usage.CPU("atoll", "postgres")
		f, err := target.wrk(ctx, i.origin(), script, i.connections, i.lasting)
		if err != nil {
			return err
		}
		t.rows = append(t.rows, row{target: target, figures: f, cpu: usage.CPU("atoll", "postgres") - before})
		if err := target.check(ctx, i.origin()); err != nil {
			return fmt.Errorf("after the load: %w", err)
		}
	}
	t.peak, err = usage.Memory(s.PID(), usage.Peak)
	return err
}

// configure writes the settings. All of them are an operator's, but that one address may ask as often as it likes.
func (i *instance) configure(ctx context.Context) error {
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return err
	}
	var err error
	if i.listen, err = port.FreeAddress(); err != nil {
		return err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "listen = %q\ndata_dir = %q\ndev = true\nplc_url = %q\n", i.listen, i.dir, i.network.PLC)
	home := i.network.PDS[0]
	fmt.Fprintf(&b, "dev_handles = { %q = %q }\n", home.HandleDomain, home.URL)
	if i.postgres != "" {
		for name, secret := range map[string]func(context.Context) ([]byte, error){
			"database_url": func(context.Context) ([]byte, error) { return []byte(i.postgres), nil },
			"secret_key":   i.newKey,
		} {
			text, err := secret(ctx)
			if err != nil {
				return err
			}
			file := filepath.Join(i.dir, name)
			if err := os.WriteFile(file, text, 0o600); err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s_file = %q\n", name, file)
		}
	}
	fmt.Fprintf(&b, "\n[limits]\nrequests_per_minute = 1000000000\n")
	return os.WriteFile(i.config(), b.Bytes(), 0o600)
}

func (i *instance) config() string { return filepath.Join(i.dir, "atoll.toml") }

func (i *instance) newKey(ctx context.Context) ([]byte, error) {
	return exec.CommandContext(ctx, i.binary, "keys", "generate", "secret").Output()
}

// serving runs the program while it is measured; ready is how long it took to become so.
func (i *instance) serving(ctx context.Context, measure func(s *server.Server, ready time.Duration) error) (err error) {
	begun := time.Now()
	s, err := server.Start(i.binary, i.config(), filepath.Join(i.dir, "atoll.log"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := s.AwaitReady(ctx, i.origin()); err != nil {
		return err
	}
	ready := time.Since(begun)
	select {
	case <-time.After(settle):
	case <-s.Exited():
		return s.Unexpected()
	case <-ctx.Done():
		return ctx.Err()
	}
	return measure(s, ready)
}

// furnish fills the index while nobody serves it.
func (i *instance) furnish(ctx context.Context, member syntax.DID) (err error) {
	db, err := store.Open(ctx, store.Config{Path: filepath.Join(i.dir, "atoll.db"), URL: i.postgres})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	i.library = newLibrary(i.posts, member)
	return i.library.fill(ctx, db)
}

// styleSheet is how a page names the largest file that every page needs.
var styleSheet = regexp.MustCompile(`href="(/static/style\.css\?v=[^"]+)"`)

// targets are everything that is asked for.
func (i *instance) targets(ctx context.Context, account network.Account) ([]target, error) {
	m, err := server.SignIn(ctx, i.network, i.origin(), account)
	if err != nil {
		return nil, err
	}
	origin, err := url.Parse(i.origin())
	if err != nil {
		return nil, err
	}
	var cookies []string
	for _, c := range m.Client.Jar.Cookies(origin) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	style, err := i.styleSheet(ctx)
	if err != nil {
		return nil, err
	}
	all := []target{
		{name: "health (the floor)", paths: []string{"/healthz"}},
		{name: "static file", paths: []string{style}, says: "{"},
	}
	for _, cookie := range []string{"", strings.Join(cookies, "; ")} {
		all = append(all, i.library.pages(cookie)...)
		all = append(all, i.library.methods(cookie)...)
	}
	return all, nil
}

func (i *instance) styleSheet(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.origin()+"/discover", nil)
	if err != nil {
		return "", err
	}
	resp, err := (&http.Client{Timeout: time.Minute}).Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	var page bytes.Buffer
	if _, err := page.ReadFrom(resp.Body); err != nil {
		return "", err
	}
	found := styleSheet.FindSubmatch(page.Bytes())
	if found == nil {
		return "", errors.New("no style sheet on the page Discover")
	}
	return string(found[1]), nil
}

// pages are what a browser asks for.
func (l *library) pages(cookie string) []target {
	all := []target{
		{name: "page Discover", paths: []string{"/discover"}, says: `<article`},
		{name: "page of a community", paths: sample(l.communities, func(n int) string { return "/c/" + l.community(n).String() }), says: `<article`},
		{name: "page of a thread", paths: sample(l.posts, l.thread), says: `<article`},
		{name: "page of the largest thread", paths: []string{l.thread(l.largest())}, says: `<article`},
		{name: "page of a person", paths: sample(l.people, func(n int) string { return "/u/" + l.person(n).String() }), says: "<h1"},
	}
	if cookie != "" {
		all = append([]target{{name: "page Home", paths: []string{"/"}, says: `<article`}}, all...)
	}
	return as(cookie, all)
}

// thread is the page of a post, or of one before it that the member may read.
func (l *library) thread(n int) string {
	n = l.readable(n)
	return "/p/" + l.author(n).String() + "/" + l.key(n).String()
}

// methods are what other clients ask for.
func (l *library) methods(cookie string) []target {
	const prefix = "/xrpc/social.coves."
	all := []target{
		{name: "feed.getDiscover", paths: []string{prefix + "feed.getDiscover"}, says: `"post":`},
		{name: "communityFeed.getCommunity", paths: sample(l.communities, func(n int) string {
			return prefix + "communityFeed.getCommunity?community=" + l.community(n).String()
		}), says: `"post":`},
		{name: "comment.getComments", paths: sample(l.posts, func(n int) string {
			return prefix + "community.comment.getComments?post=" + url.QueryEscape(l.uri(l.readable(n)).String())
		}), says: `"comments":`},
		{name: "comment.getComments, largest", paths: []string{
			prefix + "community.comment.getComments?post=" + url.QueryEscape(l.uri(l.largest()).String())}, says: `"comments":`},
		{name: "community.get", paths: sample(l.communities, func(n int) string {
			return prefix + "community.get?community=" + l.community(n).String()
		}), says: `"did":`},
		{name: "actor.getProfile", paths: sample(l.people, func(n int) string {
			return prefix + "actor.getProfile?actor=" + l.person(n).String()
		}), says: `"did":`},
	}
	if cookie != "" {
		all = append([]target{{name: "feed.getTimeline", paths: []string{prefix + "feed.getTimeline"}, says: `"post":`}}, all...)
	}
	return as(cookie, all)
}

func as(cookie string, all []target) []target {
	for n := range all {
		all[n].cookie = cookie
	}
	return all
}

// sample spreads over the second half of something, of which the member blocks the beginning.
func sample(n int, address func(int) string) []string {
	out := make([]string, 0, sampleSize)
	for i := range min(sampleSize, n) {
		out = append(out, address(n-1-i*n/(2*sampleSize)))
	}
	return out
}
