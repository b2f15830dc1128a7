package web

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/post"
)

// voteCast answers POST /votes: votes up or down, and withdraws a vote that is
// cast again. A script gets the new score as JSON; a page is led back.
func (s *Server) voteCast(w http.ResponseWriter, r *http.Request) error {
	form, err := readForm(w, r, smallForm)
	if err != nil {
		return err
	}
	actor, err := s.writer(w, r, form)
	if err != nil {
		return err
	}
	direction := form.Get("direction")
	if direction != "up" && direction != "down" {
		return invalid(nil, "A vote goes up or down.")
	}
	subject := post.Ref{URI: form.Get("uri"), CID: form.Get("cid")}
	voted, err := s.cfg.Posts.Vote(r.Context(), actor, post.VoteInput{Subject: subject, Up: direction == "up"})
	if err != nil {
		return err
	}
	if !wantsJSON(r) {
		s.goBack(w, r, form)
		return nil
	}
	if voted.URI == "" {
		direction = "" // it was taken back
	}
	score, err := s.cfg.Index.Score(r.Context(), syntax.ATURI(form.Get("uri")))
	if err != nil {
		return err
	}
	return writeJSON(w, map[string]any{"score": score, "vote": direction})
}

// wantsJSON tells a script of ours from a browser that sends a form.
func wantsJSON(r *http.Request) bool {
	return strings.Contains(r.Header.Get("Accept"), "application/json")
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	_, err = w.Write(body)
	return err
}
