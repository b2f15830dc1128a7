package web

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
)

//go:embed templates
var templateFiles embed.FS

// sharedTemplates are parsed into every page; each other file is one page.
var sharedTemplates = []string{"templates/layout.html", "templates/parts.html", "templates/post.html", "templates/feed.html", "templates/comment.html"}

// page is what the layout shows around the data of one page.
type page struct {
	Title  string  // goes before the name of the program
	Path   string  // of the request; marks the place in the navigation
	Back   string  // where signing in from here leads in the end
	Viewer *person // the active account; nil when nobody is signed in
	Quiet  bool    // no button for signing in: the form is here, or who is there is unknown
	Notice string  // neutral news on top of the page
	Data   any     // what the page's own template shows
}

// SignInURL leads to the sign-in page and back to here.
func (p page) SignInURL() string { return signInURL(p.Back) }

func signInURL(returnTo string) string {
	if returnTo == "" || returnTo == "/" {
		return "/sign-in"
	}
	return "/sign-in?" + url.Values{"return_to": {returnTo}}.Encode()
}

// person is an account as pages name it.
type person struct {
	DID    string
	Handle string // without '@'; empty when none can be confirmed
}

// Name is the handle with '@', or the DID.
func (p person) Name() string {
	if p.Handle == "" {
		return p.DID
	}
	return "@" + p.Handle
}

// ShortName is the first part of the handle, or the DID.
func (p person) ShortName() string {
	first, _, _ := strings.Cut(p.Handle, ".")
	if first == "" {
		return p.DID
	}
	return first
}

// Letter stands for the avatar.
func (p person) Letter() string {
	if p.Handle == "" {
		return "?"
	}
	return strings.ToUpper(p.Handle[:1])
}

// renderer holds the parsed pages by name of their file without ending.
type renderer map[string]*template.Template

func newRenderer(files assets) (renderer, error) {
	base, err := template.New("").Funcs(template.FuncMap{"asset": files.url}).ParseFS(templateFiles, sharedTemplates...)
	if err != nil {
		return nil, fmt.Errorf("parse shared templates: %w", err)
	}
	names, err := fs.Glob(templateFiles, "templates/*_*.html")
	if err != nil {
		return nil, fmt.Errorf("list templates: %w", err)
	}
	out := make(renderer, len(names))
	for _, file := range names {
		own, err := base.Clone()
		if err == nil {
			own, err = own.ParseFS(templateFiles, file)
		}
		if err != nil {
			return nil, fmt.Errorf("parse template %s: %w", file, err)
		}
		out[strings.TrimSuffix(strings.TrimPrefix(file, "templates/"), ".html")] = own
	}
	return out, nil
}

// write renders the page called name and only then answers, so that a
// mistake in a template never leaves half a page.
func (t renderer) write(w http.ResponseWriter, status int, name string, p page) error {
	var body bytes.Buffer
	tmpl, ok := t[name]
	if !ok {
		return fmt.Errorf("no template %s", name)
	}
	if err := tmpl.ExecuteTemplate(&body, "layout", p); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private, no-cache")
	}
	h.Add("Vary", "Cookie")
	w.WriteHeader(status)
	_, err := w.Write(body.Bytes())
	return err
}
