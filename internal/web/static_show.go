package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"
)

//go:embed static
var staticFiles embed.FS

// assetTypes are the kinds of files that are served, by ending.
var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
	".ico": "image/x-icon",
}

// asset is one static file, kept in memory.
type asset struct {
	body    []byte
	kind    string // Content-Type
	version string // from the content; part of the address
}

// assets holds the static files by name.
type assets map[string]asset

func loadAssets() (assets, error) {
	entries, err := fs.ReadDir(staticFiles, "static")
	if err != nil {
		return nil, fmt.Errorf("list static files: %w", err)
	}
	out := make(assets, len(entries))
	for _, e := range entries {
		body, err := fs.ReadFile(staticFiles, "static/"+e.Name())
		if err != nil {
			return nil, fmt.Errorf("read static file %s: %w", e.Name(), err)
		}
		kind, ok := assetTypes[path.Ext(e.Name())]
		if !ok {
			return nil, fmt.Errorf("static file %s: no content type for its ending", e.Name())
		}
		sum := sha256.Sum256(body)
		out[e.Name()] = asset{body: body, kind: kind, version: hex.EncodeToString(sum[:8])}
	}
	return out, nil
}

// url returns the address of a static file. It names the content, so that
// caches may keep the answer for ever.
func (a assets) url(name string) (string, error) {
	file, ok := a[name]
	if !ok {
		return "", fmt.Errorf("no static file %s", name)
	}
	return "/static/" + name + "?v=" + file.version, nil
}

// serve answers GET /static/{name}. Without the right version in the address
// the answer is checked again each time.
func (a assets) serve(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	file, ok := a[name]
	if !ok {
		return errNoPage
	}
	h := w.Header()
	h.Set("Content-Type", file.kind)
	h.Set("ETag", `"`+file.version+`"`)
	if r.URL.Query().Get("v") == file.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.body))
	return nil
}
