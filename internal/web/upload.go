package web

import (
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/atoll-social/atoll/internal/fault"
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

// upload is a form with files, by the name of their field.
type upload struct {
	url.Values
	files map[string][][]byte
}

// readUpload parses a form with files, of at most limit bytes, under the rules of
// readForm. Files are read for members only: what others send is cut to the
// size of a form without, so that nobody unknown fills the memory.
func readUpload(w http.ResponseWriter, r *http.Request, v visitor, limit int64) (upload, error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		form, err := readForm(w, r, min(limit, postLimit))
		return upload{Values: form}, err
	}
	if v.viewer() == nil {
		limit = min(limit, postLimit)
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	parts, err := r.MultipartReader()
	if err != nil {
		return upload{}, formFault(err)
	}
	out := upload{Values: url.Values{}, files: map[string][][]byte{}}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			r.PostForm = out.Values
			return out, nil
		}
		if err == nil {
			err = out.add(part)
		}
		if err != nil {
			return upload{}, formFault(err)
		}
	}
}

// add reads one field. A file field that was left empty is none.
func (u *upload) add(part *multipart.Part) error {
	body, err := io.ReadAll(part)
	if err != nil {
		return err
	}
	name := part.FormName()
	if part.FileName() != "" || slices.Contains([]string{"pictures", "avatar", "banner"}, name) {
		if len(body) > 0 {
			u.files[name] = append(u.files[name], body)
		}
		if len(u.files[name]) > maxPictures {
			return fault.New(fault.Invalid, "A post holds at most 8 pictures.").WithCode("InvalidRequest")
		}
		return nil
	}
	text := strings.ReplaceAll(string(body), "\r\n", "\n")
	if u.Has(name) || !cleanText(name) || !cleanText(text) || len(body) > postLimit {
		return fault.New(fault.Invalid, "The form holds something that is not readable text, so nothing was done. Open the page again and type it anew.")
	}
	u.Set(name, text)
	return nil
}

// portrait is the one picture of a field, checked for its use; ok is false when
// none was chosen.
func (u *upload) portrait(name string, use media.Use) (img media.Image, ok bool, err error) {
	files := u.files[name]
	if len(files) == 0 {
		return media.Image{}, false, nil
	}
	img, err = media.Check(use, files[0])
	return img, err == nil, err
}
