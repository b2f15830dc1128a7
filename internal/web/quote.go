package web

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/index"
)

// quotes are the posts that others quote, by the URI that they are quoted by.
type quotes map[syntax.ATURI]index.Found

// quotesIn reads what records quote, all of it in one go.
func (s *Server) quotesIn(ctx context.Context, viewer syntax.DID, records []json.RawMessage) (quotes, error) {
	var uris []syntax.ATURI
	for _, raw := range records {
		if !bytes.Contains(raw, []byte(`"social.coves.embed.post"`)) {
			continue // most quote nothing, and need not be read for that
		}
		var record postText
		if json.Unmarshal(raw, &record) != nil {
			continue // showing it tells
		}
		if uri := quotedBy(record.Embed); uri != "" {
			uris = append(uris, uri)
		}
	}
	if len(uris) == 0 {
		return quotes{}, nil
	}
	v, err := s.cfg.Index.Viewer(ctx, viewer)
	if err != nil {
		return nil, err
	}
	return s.cfg.Index.PostsByURI(ctx, v, uris)
}

// quotedBy is the post that an embed quotes, empty when it quotes none.
func quotedBy(embed json.RawMessage) syntax.ATURI {
	var quote struct {
		Type string `json:"$type"`
		Post struct {
			URI syntax.ATURI `json:"uri"`
		} `json:"post"`
	}
	if len(embed) == 0 || json.Unmarshal(embed, &quote) != nil || quote.Type != "social.coves.embed.post" {
		return ""
	}
	return quote.Post.URI
}
