package xrpc

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// embed is what a record carries besides its text, as far as it is shown.
type embed struct {
	Type   string          `json:"$type"`
	Raw    json.RawMessage `json:"-"`
	Images []struct {
		Image       blob            `json:"image"`
		Alt         string          `json:"alt"`
		AspectRatio json.RawMessage `json:"aspectRatio"`
	} `json:"images"`
	External struct {
		Thumb blob `json:"thumb"`
	} `json:"external"`
	Thumbnail blob      `json:"thumbnail"`
	Post      strongRef `json:"post"`
}

type strongRef struct {
	URI syntax.ATURI `json:"uri"`
	CID syntax.CID   `json:"cid"`
}

type blob struct {
	Ref struct {
		Link syntax.CID `json:"$link"`
	} `json:"ref"`
}

// The embeds.
const (
	embedImages   = "social.coves.embed.images"
	embedVideo    = "social.coves.embed.video"
	embedExternal = "social.coves.embed.external"
	embedPost     = "social.coves.embed.post"
)

// readEmbed reads the embed of a record. Unknown ones are left out: a client
// finds them in the record.
func readEmbed(record json.RawMessage) embed {
	var r struct {
		Embed json.RawMessage `json:"embed"`
	}
	var e embed
	if !bytes.Contains(record, []byte(`"embed"`)) {
		return e // most have none, and need not be read for that
	}
	if json.Unmarshal(record, &r) != nil || r.Embed == nil || json.Unmarshal(r.Embed, &e) != nil {
		return embed{}
	}
	e.Raw = r.Embed
	if e.Type != embedPost {
		e.Post = strongRef{}
	}
	return e
}

type imagesView struct {
	Type   string      `json:"$type"`
	Images []imageView `json:"images"`
}

type imageView struct {
	Image       string          `json:"image"`
	Thumb       string          `json:"thumb"`
	Fullsize    string          `json:"fullsize"`
	Alt         string          `json:"alt"`
	AspectRatio json.RawMessage `json:"aspectRatio,omitempty"`
}

type quoteView struct {
	Type     string    `json:"$type"`
	Post     strongRef `json:"post"`
	Resolved any       `json:"resolved"`
}

// embedView shows an embed of somebody's record; nil for none.
func (s *Server) embedView(author syntax.DID, e embed, quoted map[syntax.ATURI]any) any {
	switch e.Type {
	case embedImages:
		view := imagesView{embedImages + "#view", make([]imageView, 0, len(e.Images))}
		for _, i := range e.Images {
			full := s.image("content_full", author, i.Image.Ref.Link)
			view.Images = append(view.Images, imageView{full, s.image("content_preview", author, i.Image.Ref.Link), full, i.Alt, i.AspectRatio})
		}
		return view
	case embedPost:
		return quoteView{embedPost + "#view", e.Post, quoted[e.Post.URI]}
	case embedExternal:
		return withThumb(e.Raw, s.image("embed_thumbnail", author, e.External.Thumb.Ref.Link))
	case embedVideo:
		return withThumb(e.Raw, s.image("embed_thumbnail", author, e.Thumbnail.Ref.Link))
	}
	return nil
}

// withThumb adds to an embed, which is shown as it is, where its picture is.
func withThumb(raw json.RawMessage, thumb string) any {
	fields := map[string]json.RawMessage{}
	if thumb == "" || json.Unmarshal(raw, &fields) != nil {
		return raw
	}
	fields["thumb"], _ = json.Marshal(thumb) // a string
	return fields
}

// unseen stands for a post that is not shown.
type unseen struct {
	URI      syntax.ATURI `json:"uri"`
	NotFound bool         `json:"notFound,omitempty"`
	Blocked  bool         `json:"blocked,omitempty"`
}

// quotes shows what posts quote, without what that quotes in turn.
func (s *Server) quotes(ctx context.Context, who caller, uris []syntax.ATURI) (map[syntax.ATURI]any, error) {
	if len(uris) == 0 {
		return nil, nil //nolint:nilnil // nothing is quoted
	}
	v, err := s.cfg.Index.Viewer(ctx, who.account.DID)
	if err != nil {
		return nil, err
	}
	found, err := s.cfg.Index.PostsByURI(ctx, v, uris)
	if err != nil {
		return nil, err
	}
	out := map[syntax.ATURI]any{}
	for _, uri := range uris {
		f, ok := found[uri]
		switch {
		case !ok:
			out[uri] = unseen{URI: uri, NotFound: true}
		case f.Blocked:
			out[uri] = unseen{URI: uri, Blocked: true}
		default:
			view := s.postView(f.Post)
			if e := readEmbed(f.Record); e.Type != embedPost {
				view.Embed = s.embedView(f.Author.DID, e, nil)
			}
			out[uri] = view
		}
	}
	return out, nil
}
