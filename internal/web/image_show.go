package web

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/media"
)

// Pictures serves pictures of records. It is media.Gallery.
type Pictures interface {
	Get(ctx context.Context, preset media.Preset, did syntax.DID, cid syntax.CID) (media.Served, error)
}

// imageShow answers GET /img/{preset}/plain/{did}/{cid}. The address names the
// content, but the account may be hidden tomorrow.
func (s *Server) imageShow(w http.ResponseWriter, r *http.Request) error {
	text, err := url.PathUnescape(r.PathValue("did"))
	if err != nil {
		return errNoPage
	}
	did, err := syntax.ParseDID(text)
	if err != nil {
		return errNoPage
	}
	preset, cid := r.PathValue("preset"), r.PathValue("cid")
	p, err := s.cfg.Pictures.Get(r.Context(), media.Preset(preset), did, syntax.CID(cid))
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("ETag", `"`+preset+"-"+cid+`"`)
	h.Set("Cache-Control", "public, max-age=86400")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if httpserver.Unchanged(r, h.Get("ETag")) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", p.MIME)
	h.Set("Content-Length", strconv.Itoa(len(p.Body)))
	_, err = w.Write(p.Body)
	return err
}
