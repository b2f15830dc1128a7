package web

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// party is a member or a community as pages name and link it.
type party struct {
	DID    string
	Label  string // what it calls itself, else its handle, else its DID
	Called string // handle with its mark, or the DID
	URL    string
	Avatar string // address of its picture; empty without one
}

// Letter stands for a picture.
func (p party) Letter() string {
	first, _ := utf8.DecodeRuneInString(strings.TrimLeft(p.Label, "@!"))
	return strings.ToUpper(string(first))
}

// handle is how forms name it: by its handle, else its DID.
func (p party) handle() string { return p.URL[strings.LastIndexByte(p.URL, '/')+1:] }

// authorOf names somebody by the handle: a display name is no identity.
func authorOf(p index.Person) party {
	out := partyOf("/u/", "@", p.Account, "", p.Avatar)
	out.Label = out.Called
	return out
}

func memberOf(p index.Person) party { return partyOf("/u/", "@", p.Account, p.DisplayName, p.Avatar) }

func communityOf(c index.Place) party {
	name := c.DisplayName
	if name == "" {
		name = c.Name
	}
	return partyOf("/c/", "", c.Account, name, c.Avatar)
}

func partyOf(path, mark string, a index.Account, name string, avatar syntax.CID) party {
	p := party{DID: a.DID.String(), Label: name, Called: a.DID.String(), URL: path + a.DID.String()}
	if handle := shownHandle(a.Handle); handle != "" {
		p.Called, p.URL = mark+handle, path+handle
	}
	if p.Label == "" {
		p.Label = p.Called
	}
	if avatar != "" {
		p.Avatar = imageURL("avatar_small", a.DID, avatar)
	}
	return p
}

// imageURL is where this instance serves a picture of somebody's repository, in
// one of its sizes.
func imageURL(preset string, did syntax.DID, cid syntax.CID) string {
	return "/img/" + preset + "/plain/" + url.PathEscape(did.String()) + "/" + cid.String()
}

// postURL is the page of a post.
func postURL(author syntax.DID, rkey syntax.RecordKey) string {
	return "/p/" + author.String() + "/" + rkey.String()
}
