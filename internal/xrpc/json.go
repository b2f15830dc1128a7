package xrpc

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"unicode/utf8"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
)

// write answers with v as JSON.
func write(w http.ResponseWriter, v any) error {
	body, err := encode(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // whoever went away needs no answer
	return nil
}

// sharedFor is for how many seconds what everybody sees may be kept.
const sharedFor = 2

// writeShared is write for what can be kept for a moment where nobody in
// particular asked.
func (s *Server) writeShared(w http.ResponseWriter, r *http.Request, who caller, v any) error {
	if who.account.DID != "" {
		return write(w, v)
	}
	body, err := encode(v)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	tag := `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`
	h := w.Header()
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", sharedFor))
	h.Set("ETag", tag)
	h.Add("Vary", "Authorization, Cookie")
	if httpserver.Unchanged(r, tag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", "application/json")
	_, _ = w.Write(body) // whoever went away needs no answer
	return nil
}

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, fmt.Errorf("encode answer: %w", err)
	}
	return buf.Bytes(), nil
}

// read parses the input of a procedure. Fields that it does not know are
// passed over, as lexicons ask; none of them can change who acts.
func read(w http.ResponseWriter, r *http.Request, in any) error {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		return invalid(err, "The input must be JSON, with content type application/json.")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, BodyLimit(r)))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge), errors.Is(err, httpserver.ErrCrowded):
		return err // httpserver knows how to say it
	case err != nil:
		return invalid(err, "The input ended early.")
	case !utf8.Valid(body):
		return invalid(nil, "The input is not UTF-8.")
	}
	var wrong *json.UnmarshalTypeError
	switch err := json.Unmarshal(body, in); {
	case errors.As(err, &wrong) && wrong.Field != "":
		return invalid(err, fmt.Sprintf("The field %.50s has the wrong type.", wrong.Field))
	case err != nil:
		return invalid(err, "The input is not the JSON object that this method takes.")
	case len(body) == 0 || bytes.TrimSpace(body)[0] != '{':
		return invalid(nil, "The input is not the JSON object that this method takes.")
	}
	return nil
}

func invalid(cause error, sentence string) error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}

// names are the error names of kinds that come without one (see the lexicons).
var names = map[fault.Kind]string{
	fault.Internal:        "InternalServerError",
	fault.Invalid:         "InvalidRequest",
	fault.Unauthenticated: "AuthRequired",
	fault.Forbidden:       "Forbidden",
	fault.NotFound:        "NotFound",
	fault.Conflict:        "Conflict",
	fault.Limited:         "RateLimitExceeded",
	fault.Unavailable:     "ServiceUnavailable",
}

// RenderFault answers an error as every method does: {"error", "message"}. It
// is the httpserver.Renderer for paths below Prefix.
func (s *Server) RenderFault(w http.ResponseWriter, r *http.Request, err error) {
	f := fault.From(err)
	status, name := httpserver.Status(err), f.Code
	switch {
	case errors.Is(err, errNotImplemented):
		status = http.StatusNotImplemented
	case status == http.StatusRequestEntityTooLarge:
		name = "RequestTooLarge"
	case name == "":
		name = names[f.Kind]
	}
	allowAnyOrigin(w, r)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": name, "message": f.Public})
}
