package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// documentLife is how long others may keep a published document, in seconds.
// A new key is published long before it is the only one.
const documentLife = 300

// clientMetadata answers GET /oauth-client-metadata.json: who this instance is
// as an OAuth client, from the object that signs (S1, S3).
func (s *Server) clientMetadata(w http.ResponseWriter, r *http.Request) error {
	s.cfg.Client.ServeMetadata(w, r)
	return nil
}

// clientKeys answers GET /oauth/jwks.json: the public keys of the OAuth client,
// from the object that signs (S2, S3).
func (s *Server) clientKeys(w http.ResponseWriter, r *http.Request) error {
	s.cfg.Client.ServeJWKS(w, r)
	return nil
}

// instanceKeys answers GET /.well-known/jwks.json: the instance's own keys,
// which share nothing with those of the OAuth client and sign app tokens (N5).
func (s *Server) instanceKeys(w http.ResponseWriter, _ *http.Request) error {
	set := json.RawMessage(`{"keys":[]}`)
	if s.cfg.InstanceKeys != nil {
		set = s.cfg.InstanceKeys()
	}
	return publish(w, http.StatusOK, set)
}

// instanceDocument answers GET /.well-known/did.json: the instance's did:web
// (H9). Without a public address there is none to publish.
func (s *Server) instanceDocument(w http.ResponseWriter, _ *http.Request) error {
	if s.cfg.Document == nil {
		return publish(w, http.StatusNotFound, struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}{"NotFound", "This instance has no DID: its setting public_url is empty."})
	}
	return publish(w, http.StatusOK, s.cfg.Document)
}

// publish writes a document that anybody may read from anywhere.
func publish(w http.ResponseWriter, status int, document any) error {
	body, err := json.Marshal(document)
	if err != nil {
		return fmt.Errorf("write document: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", documentLife))
	if status != http.StatusOK {
		h.Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, err = w.Write(body)
	return err
}

// robots keeps crawlers off what is of one member only.
const robots = "User-agent: *\nDisallow: /account\nDisallow: /app/\nDisallow: /oauth/\nDisallow: /posts/new\nDisallow: /sign-in\n"

// robotsShow answers GET /robots.txt.
func (s *Server) robotsShow(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "public, max-age=86400")
	http.ServeContent(w, r, "robots.txt", time.Time{}, bytes.NewReader([]byte(robots)))
	return nil
}

// faviconShow answers GET /favicon.ico, which browsers ask for unbidden.
func (s *Server) faviconShow(w http.ResponseWriter, r *http.Request) error {
	r.SetPathValue("name", "favicon.ico")
	return s.assets.serve(w, r)
}
