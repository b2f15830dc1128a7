// Package media checks pictures that people hand in: what they are by their
// content, that they are whole, and that showing them costs no more than they
// look. What says where, when and with what a picture was taken is left out;
// the pixels are not touched.
package media

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"

	"github.com/atoll-social/atoll/internal/fault"
)

// Use is what a picture is for: a field of a record.
type Use uint8

// The uses, with the limits that the lexicons set: PNG, JPEG and WebP of at
// most so many bytes.
const (
	Avatar Use = iota + 1 // 1,000,000 bytes
	Banner                // 2,000,000 bytes
	Thumb                 // 6,000,000 bytes; GIF, too
	Embed                 // 10,000,000 bytes; GIF, too
)

// MaxBytes is how large the file of a use may be. Zero for no use.
func (u Use) MaxBytes() int {
	switch u {
	case Avatar:
		return 1_000_000
	case Banner:
		return 2_000_000
	case Thumb:
		return 6_000_000
	case Embed:
		return 10_000_000
	}
	return 0
}

// Takes reports whether files of this type may have the use.
func (u Use) Takes(mime string) bool {
	switch mime {
	case PNG, JPEG, WebP:
		return u.MaxBytes() > 0
	case GIF:
		return u == Thumb || u == Embed
	}
	return false
}

// The types of pictures.
const (
	PNG  = "image/png"
	JPEG = "image/jpeg"
	WebP = "image/webp"
	GIF  = "image/gif"
)

// How much there may be to show. A photo of a telephone has up to 50 million
// pixels; every frame of an animation has to be painted, too.
const (
	MaxSide        = 16_384
	MaxPixels      = 50_000_000
	MaxFrames      = 1_000
	MaxTotalPixels = 4 * MaxPixels // of all frames together
)

// Image is a picture that has been checked.
type Image struct {
	// MIME is the type by content.
	MIME string
	// Body is the file, without what it said about place, time and devices.
	Body []byte
	// Width and Height are in pixels, as it is shown: turned, if it says so.
	Width, Height int
	// Frames is 1, more for animations.
	Frames int
}

// picture is what reading a file finds.
type picture struct {
	body          []byte
	width, height int // as stored
	frames        int
	orientation   int // of Exif: 1 to 8, 0 for unknown
}

// formats tell the types by how files begin.
var formats = [...]struct {
	mime  string
	is    func(b []byte) bool
	strip func(b []byte) (picture, error)
}{
	{PNG, func(b []byte) bool { return bytes.HasPrefix(b, []byte(pngHead)) }, stripPNG},
	{JPEG, func(b []byte) bool { return bytes.HasPrefix(b, []byte("\xff\xd8\xff")) }, stripJPEG},
	{GIF, func(b []byte) bool {
		return bytes.HasPrefix(b, []byte("GIF87a")) || bytes.HasPrefix(b, []byte("GIF89a"))
	}, stripGIF},
	{WebP, func(b []byte) bool { return len(b) >= 12 && string(b[:4]) == "RIFF" && string(b[8:12]) == "WEBP" }, stripWebP},
}

// Check reads a file that is to have a use and strips it. The file may be
// larger than the use allows as long as what is left is not. Errors are
// fault.Error, Invalid, with the code InvalidRequest or, from TooLarge,
// RequestTooLarge.
func Check(use Use, file []byte) (Image, error) {
	for _, f := range formats {
		if !f.is(file) {
			continue
		}
		if !use.Takes(f.mime) {
			return Image{}, invalid(nil, "A picture here must be PNG, JPEG or WebP.")
		}
		p, err := f.strip(file)
		if err != nil {
			return Image{}, explain(f.mime, err)
		}
		if len(p.body) > use.MaxBytes() {
			return Image{}, TooLarge(use)
		}
		return p.image(f.mime), nil
	}
	return Image{}, unknown(file)
}

func (p picture) image(mime string) Image {
	out := Image{MIME: mime, Body: p.body, Width: p.width, Height: p.height, Frames: p.frames}
	if p.orientation >= 5 { // lies on its side (Exif 2.32, Orientation)
		out.Width, out.Height = p.height, p.width
	}
	return out
}

// Reasons why a file cannot be used.
var (
	errCut     = errors.New("ends early")
	errBroken  = errors.New("is broken")
	errTrailer = errors.New("goes on after its end")
	errExotic  = errors.New("is of a kind that browsers do not show")
	errPixels  = errors.New("has too many pixels")
)

func explain(mime string, err error) error {
	cause := fmt.Errorf("%s %w", mime, err)
	switch {
	case errors.Is(err, errPixels):
		return invalid(cause, fmt.Sprintf("The picture is too large: up to %d million pixels are allowed, and for animations %d million over at most %d frames.",
			MaxPixels/1_000_000, MaxTotalPixels/1_000_000, MaxFrames))
	case errors.Is(err, errCut):
		return invalid(cause, "The picture is not complete: the file ends early. Send it again.")
	case errors.Is(err, errTrailer):
		return invalid(cause, "The file holds more than a picture. Save the picture anew and send that.")
	case errors.Is(err, errExotic):
		return invalid(cause, "This kind of picture cannot be shown in browsers. Save it as PNG or JPEG and send that.")
	}
	return invalid(cause, "The picture is damaged. Save it anew and send that.")
}

// unknown says what a file could have been.
func unknown(file []byte) error {
	switch {
	case len(file) == 0:
		return invalid(nil, "The picture is empty.")
	case len(file) >= 12 && string(file[4:8]) == "ftyp":
		return invalid(nil, "HEIC and AVIF pictures cannot be shown everywhere. Save it as JPEG and send that.")
	}
	return invalid(nil, "This is not a picture that can be shown: PNG, JPEG, WebP and GIF are.")
}

// budget refuses what would cost too much to show, before anything is decoded.
func budget(width, height, frames int) error {
	pixels := int64(width) * int64(height)
	switch {
	case width < 1 || height < 1:
		return fmt.Errorf("%w: %d×%d pixels", errBroken, width, height)
	case width > MaxSide, height > MaxSide, pixels > MaxPixels, frames > MaxFrames, pixels*int64(frames) > MaxTotalPixels:
		return fmt.Errorf("%w: %d frames of %d×%d", errPixels, frames, width, height)
	}
	return nil
}

// isPadding reports that what follows a picture says nothing.
func isPadding(rest []byte) bool { return len(bytes.TrimLeft(rest, "\x00")) == 0 }

func invalid(cause error, sentence string) error {
	return fault.Wrap(fault.Invalid, cause, sentence).WithCode("InvalidRequest")
}

// TooLarge says that a file has more bytes than its use allows: a fault.Error,
// Invalid, with the code RequestTooLarge, which is status 413.
func TooLarge(use Use) error {
	return fault.Wrap(fault.Invalid, &http.MaxBytesError{Limit: int64(use.MaxBytes())},
		fmt.Sprintf("The picture is too large: %d MB are allowed.", use.MaxBytes()/1_000_000)).WithCode("RequestTooLarge")
}
