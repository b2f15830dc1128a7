package media

import (
	"context"
	"net/url"
	"slices"
	"sync"

	"golang.org/x/net/publicsuffix"
)

// How many pictures are fetched at once, and of those from one server and from
// all servers of one domain, of which its owner can have any number.
const (
	fetches          = 64
	fetchesPerDomain = 16
	fetchesPerServer = 4
)

// gates count the pictures that are worked on, by where they come from.
type gates struct {
	mu   sync.Mutex
	open map[string]*gate // by what it counts; only those in use
}

type gate struct {
	places chan struct{}
	users  int // inside or waiting; guarded by gates.mu
}

// enter waits for a place for a picture of the server at origin until ctx ends.
// Who waits for a server holds up nobody else: the place among all comes last.
func (g *gates) enter(ctx context.Context, origin string) (leave func(), err error) {
	var entered []func()
	leave = func() {
		for _, f := range slices.Backward(entered) {
			f()
		}
	}
	for _, b := range []struct {
		key  string
		most int
	}{{"server " + origin, fetchesPerServer}, {"domain " + domainOf(origin), fetchesPerDomain}, {"", fetches}} {
		f, err := g.pass(ctx, b.key, b.most)
		if err != nil {
			leave()
			return nil, err
		}
		entered = append(entered, f)
	}
	return leave, nil
}

func (g *gates) pass(ctx context.Context, key string, most int) (leave func(), err error) {
	at := g.use(key, most)
	select {
	case at.places <- struct{}{}:
		return func() {
			<-at.places
			g.leave(key, at)
		}, nil
	case <-ctx.Done():
		g.leave(key, at)
		return nil, ctx.Err()
	}
}

func (g *gates) use(key string, most int) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	at, ok := g.open[key]
	if !ok {
		at = &gate{places: make(chan struct{}, most)}
		g.open[key] = at
	}
	at.users++
	return at
}

func (g *gates) leave(key string, at *gate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.users--; at.users == 0 {
		delete(g.open, key)
	}
}

// domainOf is what somebody has registered to have the host of origin; the host
// itself where that cannot be said.
func domainOf(origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return origin
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(u.Hostname())
	if err != nil {
		return u.Hostname()
	}
	return domain
}
