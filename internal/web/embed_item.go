package web

import (
	"encoding/json"
	"net/url"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/markup"
)

// embedItem is what a post or comment carries besides its text; at most one of
// the fields is set.
type embedItem struct {
	Images []imageItem
	Link   *linkItem
	Quote  *quoteItem
	Other  string // says what is there and cannot be shown
}

type imageItem struct {
	Preview, Full string // addresses
	Alt           string
	Width, Height int // of the preview; 0 when unknown
}

// linkItem is the card of a link, as the record describes it.
type linkItem struct {
	URL, Title, Description, Host string
	Picture                       string
}

// quoteItem is a quoted post. Gone says why there is none to be seen.
type quoteItem struct {
	URL, Title, Text string
	Author           party
	Gone             string
}

// wireBlob is a file as records name it.
type wireBlob struct {
	Ref struct {
		Link syntax.CID `json:"$link"`
	} `json:"ref"`
	MIME string `json:"mimeType"`
}

// newEmbed reads the embed of a record of did.
func newEmbed(raw json.RawMessage, did syntax.DID, q quotes) embedItem {
	var kind struct {
		Type string `json:"$type"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &kind) != nil {
		return embedItem{}
	}
	switch kind.Type {
	case "social.coves.embed.images":
		return embedItem{Images: imagesOf(raw, did)}
	case "social.coves.embed.external":
		return embedItem{Link: linkOf(raw, did)}
	case "social.coves.embed.post":
		return embedItem{Quote: quoteOf(quotedBy(raw), q)}
	case "social.coves.embed.video":
		return embedItem{Other: "There is a video here, which this server does not show."}
	}
	return embedItem{Other: "There is something here that this server does not know how to show."}
}

// previewWidth is that of the preset content_preview.
const previewWidth = 800

func imagesOf(raw json.RawMessage, did syntax.DID) []imageItem {
	var embed struct {
		Images []struct {
			Image wireBlob `json:"image"`
			Alt   string   `json:"alt"`
			Ratio struct {
				Width  int `json:"width"`
				Height int `json:"height"`
			} `json:"aspectRatio"`
		} `json:"images"`
	}
	if json.Unmarshal(raw, &embed) != nil {
		return nil
	}
	var out []imageItem
	for _, i := range embed.Images {
		if _, err := syntax.ParseCID(i.Image.Ref.Link.String()); err != nil {
			continue
		}
		item := imageItem{
			Preview: imageURL("content_preview", did, i.Image.Ref.Link),
			Full:    imageURL("content_full", did, i.Image.Ref.Link),
			Alt:     i.Alt,
		}
		if w, h := i.Ratio.Width, i.Ratio.Height; w > 0 && h > 0 && w < 1<<16 && h < 1<<16 {
			item.Width, item.Height = min(w, previewWidth), max(1, h*min(w, previewWidth)/w)
		}
		out = append(out, item)
	}
	return out
}

func linkOf(raw json.RawMessage, did syntax.DID) *linkItem {
	var embed struct {
		External struct {
			URI         string    `json:"uri"`
			Title       string    `json:"title"`
			Description string    `json:"description"`
			Thumb       *wireBlob `json:"thumb"`
		} `json:"external"`
	}
	if json.Unmarshal(raw, &embed) != nil {
		return nil
	}
	address, ok := markup.WebAddress(embed.External.URI)
	if !ok {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	item := &linkItem{
		URL: address, Host: u.Hostname(),
		Title: strings.TrimSpace(embed.External.Title), Description: strings.TrimSpace(embed.External.Description),
	}
	if item.Title == "" {
		item.Title = address
	}
	if thumb := embed.External.Thumb; thumb != nil {
		if _, err := syntax.ParseCID(thumb.Ref.Link.String()); err == nil {
			item.Picture = imageURL("embed_thumbnail", did, thumb.Ref.Link)
		}
	}
	return item
}

// quoteText is how much of a quoted text is shown, in characters.
const quoteText = 200

func quoteOf(uri syntax.ATURI, q quotes) *quoteItem {
	quoted, ok := q[uri]
	switch {
	case ok && quoted.Blocked:
		return &quoteItem{Gone: "It quotes a post of somebody whom you block."}
	case !ok && strings.Contains(uri.String(), "/app.bsky.feed.post/"):
		return &quoteItem{Gone: "It quotes a post of Bluesky, which is not kept here."}
	case !ok:
		return &quoteItem{Gone: "The quoted post is not to be seen here."}
	}
	var record postText
	if json.Unmarshal(quoted.Record, &record) != nil {
		return &quoteItem{Gone: "The quoted post cannot be read."}
	}
	item := &quoteItem{URL: postURL(quoted.Author.DID, quoted.RKey), Title: record.Title, Text: record.Content, Author: authorOf(quoted.Author)}
	if runes := []rune(item.Text); len(runes) > quoteText {
		item.Text = string(runes[:quoteText]) + "…"
	}
	if item.Title == "" {
		item.Title, item.Text = item.Text, ""
	}
	return item
}
