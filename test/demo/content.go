package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/atoll-social/atoll/test/network"
)

// password of every demo account. Nobody but this machine reaches them.
const password = "driftwood"

const (
	communityProfile = "social.coves.community.profile"
	communityPost    = "social.coves.community.postv2"
)

// person is a demo account and what it wrote before anyone came.
type person struct {
	name  string
	pds   int
	posts []post
}

type post struct {
	title, content string
	age            time.Duration // when it is written for the first time
}

// commons is the community that everybody posts to.
var commons = person{name: "commons", pds: 0}

// members are made up, and so is all they say.
var members = []person{
	{name: "heron", pds: 0, posts: []post{
		{"Low water at six", "The sandbar is out until about nine. I counted eleven of us on it this morning, all standing on one leg and pretending not to look at each other.", 26 * time.Hour},
		{"Who left the lantern on the jetty?", "It burned all night. Pretty, but the moths had a meeting about it.", 3 * time.Hour},
	}},
	{name: "plover", pds: 0, posts: []post{
		{"A map of the north beach, drawn by walking", "I ran along the whole tideline and back, twice. It is four hundred and twelve small runs long, with a pause after each.", 9 * time.Hour},
	}},
	{name: "tern", pds: 1, posts: []post{
		{"Back from the south", "Eleven weeks, two storms, one very kind fishing boat. Is the good ledge still free?", 20 * time.Hour},
		{"Tide tables for the week", "High water moves by fifty minutes a day, so the reading group at the tide pool moves with it. Bring something dry to sit on.", 50 * time.Minute},
	}},
	{name: "curlew", pds: 1, posts: []post{
		{"Evening song on the salt meadow", "Everybody is welcome, no matter how long the beak. We start when the light turns orange.", 6 * time.Hour},
	}},
}

// populate makes what is missing of the accounts and their records and returns the members' accounts.
func populate(ctx context.Context, n *network.Network) ([]network.Account, error) {
	community, err := account(ctx, n, commons)
	if err != nil {
		return nil, err
	}
	var accounts []network.Account
	var sessions []*network.Session
	for _, member := range members {
		s, err := account(ctx, n, member)
		if err != nil {
			return nil, err
		}
		sessions, accounts = append(sessions, s), append(accounts, s.Account)
	}
	if err := describe(ctx, n, community, accounts[0].DID); err != nil {
		return nil, err
	}
	for i, s := range sessions {
		if err := write(ctx, s, members[i].posts, community.Account.DID); err != nil {
			return nil, err
		}
	}
	return accounts, nil
}

// account signs in, and makes the account first when its PDS doesn't know it.
func account(ctx context.Context, n *network.Network, p person) (*network.Session, error) {
	a := network.Account{Handle: p.name + n.PDS[p.pds].HandleDomain, Password: password, PDS: p.pds}
	s, err := n.SignInWithPassword(ctx, a)
	var refused *network.StatusError
	if !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		return s, err
	}
	if a, err = n.CreateAccountWithPassword(ctx, p.pds, p.name, password); err != nil {
		return nil, fmt.Errorf("make demo account %s: %w", p.name, err)
	}
	return n.SignInWithPassword(ctx, a)
}

// describe writes the community's profile. Its host is the PDS: an Atoll without a public address has no DID to name.
func describe(ctx context.Context, n *network.Network, community *network.Session, founder string) error {
	written, err := hasRecords(ctx, community, communityProfile)
	if err != nil || written {
		return err
	}
	_, err = community.PutRecord(ctx, communityProfile, "self", map[string]any{
		"name":        commons.name,
		"displayName": "The Commons",
		"description": "Where everybody on the two islands meets: news of the tide, found things, small talk.",
		"createdAt":   timestamp(48 * time.Hour),
		"createdBy":   founder,
		"hostedBy":    n.PDS[commons.pds].DID,
	})
	return err
}

// write posts what a member said so far, unless there is a post of theirs already.
func write(ctx context.Context, s *network.Session, posts []post, community string) error {
	written, err := hasRecords(ctx, s, communityPost)
	if err != nil || written {
		return err
	}
	for _, p := range posts {
		_, err := s.CreateRecord(ctx, communityPost, "", map[string]any{
			"community": community, "title": p.title, "content": p.content, "createdAt": timestamp(p.age), "langs": []string{"en"},
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func hasRecords(ctx context.Context, s *network.Session, collection string) (bool, error) {
	var out struct{ Records []struct{ URI string } }
	params := url.Values{"repo": {s.Account.DID}, "collection": {collection}, "limit": {"1"}}
	err := s.Query(ctx, "com.atproto.repo.listRecords", params, &out)
	return len(out.Records) > 0, err
}

func timestamp(age time.Duration) string {
	return time.Now().Add(-age).UTC().Format("2006-01-02T15:04:05.000Z")
}
