package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"golang.org/x/sync/errgroup"

	"github.com/atoll-social/atoll/test/network"
)

// password of every demo account. Nobody but this machine reaches them.
const password = "driftwood"

// atOnce bounds how many accounts are worked on at a time.
const atOnce = 4

// arrive signs everybody in at their server, and makes accounts that are missing.
func arrive(ctx context.Context, n *network.Network, members []member) (map[string]*network.Session, error) {
	var mu sync.Mutex
	sessions := make(map[string]*network.Session, len(members))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for _, m := range members {
		group.Go(func() error {
			s, err := account(ctx, n, m)
			if err != nil {
				return fmt.Errorf("demo account %s: %w", m.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			sessions[m.Name] = s
			return nil
		})
	}
	return sessions, group.Wait()
}

// account signs in, and makes the account first when its PDS doesn't know it.
func account(ctx context.Context, n *network.Network, m member) (*network.Session, error) {
	a := network.Account{Handle: m.Name + n.PDS[m.PDS].HandleDomain, Password: password, PDS: m.PDS}
	s, err := n.SignInWithPassword(ctx, a)
	var refused *network.StatusError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		return s, err
	}
	if a, err = n.CreateAccountWithPassword(ctx, m.PDS, m.Name, password); err != nil {
		return nil, err
	}
	return n.SignInWithPassword(ctx, a)
}

// found lets founders make their communities through Atoll, as anybody would. Those that exist stay as they are.
func found(ctx context.Context, n *network.Network, atoll string, c *content, people map[string]*network.Session) (map[string]syntax.DID, error) {
	dids := make(map[string]syntax.DID, len(c.Communities))
	for _, community := range c.Communities {
		did, err := existing(ctx, people[c.Members[0].Name], community.Name+n.PDS[0].HandleDomain)
		if err == nil && did == "" {
			did, err = create(ctx, n, atoll, community, people[community.Founder].Account)
		}
		if err != nil {
			return nil, fmt.Errorf("community %s: %w", community.Name, err)
		}
		dids[community.Name] = did
	}
	return dids, nil
}

// existing asks the server of s whose handle this is; nobody's is empty.
func existing(ctx context.Context, s *network.Session, handle string) (syntax.DID, error) {
	var out struct{ DID syntax.DID }
	err := s.Query(ctx, "com.atproto.identity.resolveHandle", url.Values{"handle": {handle}}, &out)
	var refused *network.StatusError
	if errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
		return "", nil
	}
	return out.DID, err
}

func create(ctx context.Context, n *network.Network, atoll string, c community, founder network.Account) (syntax.DID, error) {
	v, err := signIn(ctx, n, atoll, founder)
	if err != nil {
		return "", err
	}
	banner, err := paint("crest of "+c.Name, 320, 320)
	if err != nil {
		return "", err
	}
	var out struct{ DID syntax.DID }
	err = v.call(ctx, "social.coves.community.create", "demo "+c.Name, map[string]any{
		"name": c.Name, "displayName": c.DisplayName, "description": c.About,
		"avatarBlob": base64.StdEncoding.EncodeToString(banner), "avatarMimeType": "image/png",
	}, &out)
	return out.DID, err
}
