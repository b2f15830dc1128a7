package web

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/media"
)

// Bounds of forms with files, in bytes: eight pictures of an ordinary camera,
// and one for a member or a community.
const (
	pictureForm  = 32 << 20
	portraitForm = 4 << 20
)

// maxPictures is the lexicon's limit (social.coves.embed.images).
const maxPictures = 8

// isFileField tells whether a form of ours has files under this name.
func isFileField(name string) bool { return name == "pictures" || name == "avatar" || name == "banner" }

// fieldTakes is about what one more field takes in memory, in bytes.
const fieldTakes = 512

// BodyLimit is how large the body of a request for a page may be; 0 leaves it to
// the caller.
func BodyLimit(r *http.Request) int64 {
	switch {
	case r.Method != http.MethodPost:
		return 0
	case r.URL.Path == "/posts" || r.URL.Path == "/posts/preview":
		return pictureForm
	case r.URL.Path == "/account/profile" || strings.HasPrefix(r.URL.Path, "/c/") || r.URL.Path == "/communities":
		return portraitForm
	}
	return 0
}

// upload is a form with files, by the name of their field. Whoever reads one
// calls leave when the files are not needed any more.
type upload struct {
	url.Values
	files map[string][][]byte
	// chosen are the fields with files, also where those were passed over.
	chosen []string
	// crowded is why files were passed over for which there is no room just now.
	crowded error
	leave   func()
}

// readUpload parses a form with files, of at most limit bytes, under the rules of
// readForm. Files are kept of members only, within the bound of what comes in at
// once; what others send is cut to the size of a form without. The text is kept
// where the files are not, so that it can be shown again.
func (s *Server) readUpload(w http.ResponseWriter, r *http.Request, v visitor, limit int64) (upload, error) {
	viewer := v.viewer()
	if viewer == nil {
		return readParts(w, r, min(limit, postLimit), nil)
	}
	stay := s.cfg.Intake.Enter(viewer.DID)
	form, err := readParts(w, r, limit, stay)
	if err != nil {
		stay.Leave()
		return upload{}, err
	}
	form.leave = stay.Leave
	return form, nil
}

// readParts is readUpload with the files counted by stay; without it they are
// passed over.
func readParts(w http.ResponseWriter, r *http.Request, limit int64, stay *httpserver.Stay) (upload, error) {
	out := upload{Values: url.Values{}, files: map[string][][]byte{}, leave: func() {}}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		out.Values, err = readForm(w, r, min(limit, postLimit))
		return out, err
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	parts, err := r.MultipartReader()
	if err != nil {
		return upload{}, formFault(err)
	}
	room := int64(postLimit)
	for {
		part, err := parts.NextPart()
		switch {
		case errors.Is(err, io.EOF):
			r.PostForm = out.Values
			return out, nil
		case err != nil:
		case part.FileName() != "" || isFileField(part.FormName()):
			err = out.addFile(part, stay)
		default:
			err = out.addText(part, &room)
		}
		var said *fault.Error
		if errors.As(err, &said) {
			return upload{}, err
		}
		if err != nil {
			return upload{}, formFault(err)
		}
	}
}

// addFile reads a file. A field that was left empty is none, and one that no form
// of ours has is passed over.
func (u *upload) addFile(part *multipart.Part, stay *httpserver.Stay) error {
	var body []byte
	var err error
	if stay != nil && u.crowded == nil && isFileField(part.FormName()) {
		body, err = io.ReadAll(stay.Reader(part))
	}
	if errors.Is(err, httpserver.ErrCrowded) {
		u.crowded, u.files, body, err = err, nil, nil, nil
		stay.Leave()
	}
	passed := int64(0)
	if err == nil && body == nil {
		passed, err = io.Copy(io.Discard, part)
	}
	name := part.FormName()
	if passed > 0 || len(body) > 0 {
		u.chosen = append(u.chosen, name)
	}
	if err != nil || len(body) == 0 {
		return err
	}
	u.files[name] = append(u.files[name], body)
	if len(u.files[name]) > maxPictures {
		return fault.New(fault.Invalid, "A post holds at most 8 pictures.").WithCode("InvalidRequest")
	}
	return nil
}

// addText reads a field of text, of which there is room for so many bytes in a
// form, with their names and what keeping a field takes.
func (u *upload) addText(part *multipart.Part, room *int64) error {
	body, err := io.ReadAll(io.LimitReader(part, *room+1))
	if err != nil {
		return err
	}
	name := part.FormName()
	if *room -= int64(len(body) + len(name) + fieldTakes); *room < 0 {
		return &http.MaxBytesError{Limit: postLimit}
	}
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	if u.Has(name) || !cleanText(name) || !cleanText(text) {
		return fault.New(fault.Invalid, "The form holds something that is not readable text, so nothing was done. Open the page again and type it anew.")
	}
	u.Set(name, text)
	return nil
}

// all are the files of a field.
func (u *upload) all(name string) ([][]byte, error) {
	if u.crowded != nil {
		return nil, fault.Wrap(fault.Unavailable, u.crowded,
			"Too many pictures are coming in just now. What you typed is here still; please choose the pictures again and send it in a moment.").
			After(fault.From(u.crowded).RetryAfter)
	}
	return u.files[name], nil
}

// portrait is the one picture of a field, checked for its use; ok is false when
// none was chosen.
func (u *upload) portrait(name string, use media.Use) (img media.Image, ok bool, err error) {
	files, err := u.all(name)
	if err != nil || len(files) == 0 {
		return media.Image{}, false, err
	}
	img, err = media.Check(use, files[0])
	return img, err == nil, err
}
