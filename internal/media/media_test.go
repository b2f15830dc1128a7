package media

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/image/webp"

	"github.com/atoll-social/atoll/internal/fault"
)

// lossy is a WebP file of one pixel.
func lossy() []byte {
	b, err := base64.StdEncoding.DecodeString("UklGRiIAAABXRUJQVlA4IBYAAAAwAQCdASoBAAEADsD+JaQAA3AAAAAA")
	if err != nil {
		panic(err)
	}
	return b
}

// decode shows a file as a browser would, but for its orientation.
func decode(t *testing.T, mime string, body []byte) image.Image {
	t.Helper()
	m, err := map[string]func() (image.Image, error){
		PNG:  func() (image.Image, error) { return png.Decode(bytes.NewReader(body)) },
		JPEG: func() (image.Image, error) { return jpeg.Decode(bytes.NewReader(body)) },
		GIF:  func() (image.Image, error) { return gif.Decode(bytes.NewReader(body)) },
		WebP: func() (image.Image, error) { return webp.Decode(bytes.NewReader(body)) },
	}[mime]()
	if err != nil {
		t.Fatalf("what is left of %s cannot be shown: %v", mime, err)
	}
	return m
}

// TestStripped holds M4's promise about places: nothing that says where, when
// or by whom is left, and every pixel is.
func TestStripped(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name          string
		file          []byte
		mime          string
		width, height int
		frames        int
	}{
		{"JPEG", jpegFileOf(t, 40, 30, 1), JPEG, 40, 30, 1},
		{"JPEG on its side", jpegFileOf(t, 40, 30, 6), JPEG, 30, 40, 1},
		{"PNG", pngFileOf(t, canvas(40, 30), 1), PNG, 40, 30, 1},
		{"PNG on its side", pngFileOf(t, canvas(40, 30), 8), PNG, 30, 40, 1},
		{"PNG of grey", pngFileOf(t, image.NewGray16(image.Rect(0, 0, 17, 3)), 3), PNG, 17, 3, 1},
		{"PNG with a palette of two", pngFileOf(t, image.NewPaletted(image.Rect(0, 0, 17, 3), color.Palette{color.Black, color.White}), 1), PNG, 17, 3, 1},
		{"PNG that moves", apngFileOf(t, 9, 5, 3), PNG, 9, 5, 3},
		{"GIF", gifFileOf(t, 20, 10, 1), GIF, 20, 10, 1},
		{"GIF that moves", gifFileOf(t, 20, 10, 4), GIF, 20, 10, 4},
		{"WebP, lossy", lossy(), WebP, 1, 1, 1},
		{"WebP, lossless", container([]riff{{"VP8L", vp8l(33, 7)}}), WebP, 33, 7, 1},
		{"WebP", webpFileOf(300, 20, 1), WebP, 300, 20, 1},
		{"WebP on its side", webpFileOf(300, 20, 6), WebP, 20, 300, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Check(Embed, tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(got.Body, []byte(canary[:8])) || bytes.Contains(got.Body, []byte("xmp")) {
				t.Errorf("left: %q", got.Body)
			}
			if got.MIME != tt.mime || got.Width != tt.width || got.Height != tt.height || got.Frames != tt.frames {
				t.Errorf("%s %d×%d, %d frames; want %s %d×%d, %d", got.MIME, got.Width, got.Height, got.Frames,
					tt.mime, tt.width, tt.height, tt.frames)
			}
			if diff := cmp.Diff(decode(t, tt.mime, tt.file), decode(t, tt.mime, got.Body)); diff != "" {
				t.Error("the pixels are others")
			}
			again, err := Check(Embed, got.Body)
			if err != nil || !bytes.Equal(again.Body, got.Body) {
				t.Errorf("stripping twice: %v, or not the same", err)
			}
		})
	}
}

// TestAnimatedWebP holds that animations keep their frames; the decoder at
// hand reads none.
func TestAnimatedWebP(t *testing.T) {
	t.Parallel()
	file := webpAnimationOf(30, 20, 5)
	got, err := Check(Embed, file)
	if err != nil || got.Frames != 5 || !bytes.Equal(got.Body, file) {
		t.Errorf("%d frames, %v", got.Frames, err)
	}
}

// TestColoursStay holds that what the pixels mean is kept.
func TestColoursStay(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]byte{
		"ICC_PROFILE\x00\x01\x01colours": jpegFileOf(t, 8, 8, 1),
		"pHYs":                           pngFileOf(t, canvas(8, 8), 1),
		"NETSCAPE2.0\x03\x01\x03":        gifFileOf(t, 8, 8, 2),
	} {
		if got, err := Check(Embed, want); err != nil || !bytes.Contains(got.Body, []byte(name)) {
			t.Errorf("%q is lost, %v", name, err)
		}
	}
}

// TestPadding holds that empty bytes behind a picture, which some programs
// leave, do no harm.
func TestPadding(t *testing.T) {
	t.Parallel()
	for _, file := range [][]byte{pngFileOf(t, canvas(8, 8), 1), gifFileOf(t, 8, 8, 1), webpFileOf(8, 8, 1), jpegFileOf(t, 8, 8, 1)} {
		want, err := Check(Embed, file)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Check(Embed, append(bytes.Clone(file), 0, 0, 0)); err != nil || !bytes.Equal(got.Body, want.Body) {
			t.Errorf("%s: %v, or another picture", want.MIME, err)
		}
	}
}

// TestOrientation holds that a picture keeps how it is turned, whatever else
// its Exif block said, and in whichever order of bytes.
func TestOrientation(t *testing.T) {
	t.Parallel()
	for o := range 10 {
		want := o
		if o > 8 {
			want = 0
		}
		for _, order := range []binary.AppendByteOrder{binary.BigEndian, binary.LittleEndian} {
			if got := orientation(exif(order, o)); got != want {
				t.Errorf("%s: %d, want %d", order, got, want)
			}
		}
		if want > 1 {
			if got := orientation(turned(o)); got != o {
				t.Errorf("written as %d, read as %d", o, got)
			}
		}
	}
	for _, bad := range []string{"", "MM\x00*", "MM\x00*\xff\xff\xff\xff", "MM\x00*\x00\x00\x00\x08\xff\xff", "XX\x00*\x00\x00\x00\x08\x00\x01"} {
		if got := orientation([]byte(bad)); got != 0 {
			t.Errorf("%q: %d", bad, got)
		}
	}
}

// TestRefused holds that what is no whole picture, or more than one, is refused
// in words that help.
func TestRefused(t *testing.T) {
	t.Parallel()
	photo, drawing, film := jpegFileOf(t, 40, 30, 1), pngFileOf(t, canvas(40, 30), 1), gifFileOf(t, 20, 10, 2)
	shrunk := webpFileOf(30, 20, 1)
	binary.LittleEndian.PutUint32(shrunk[4:], uint32(len(shrunk)-9))
	tests := []struct {
		name, words string
		use         Use
		file        []byte
	}{
		{"nothing", "empty", Embed, nil},
		{"a page", "not a picture", Embed, []byte("<!doctype html><script>alert(1)</script>")},
		{"SVG", "not a picture", Embed, []byte("<svg xmlns='http://www.w3.org/2000/svg'/>")},
		{"HEIC", "HEIC", Embed, []byte("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00")},
		{"a GIF as an avatar", "PNG, JPEG or WebP", Avatar, film},
		{"half a JPEG", "ends early", Embed, photo[:len(photo)/2]},
		{"a JPEG without pixels", "damaged", Embed, []byte("\xff\xd8\xff\xd9")},
		{"a JPEG's head", "ends early", Embed, []byte("\xff\xd8\xff")},
		{"half a PNG", "ends early", Embed, drawing[:len(drawing)/2]},
		{"a PNG with a page behind", "more than a picture", Embed, append(bytes.Clone(drawing), "<script>"...)},
		{"a PNG with a flipped bit", "damaged", Embed, flip(drawing, bytes.Index(drawing, []byte("IDAT"))+20)},
		{"half a GIF", "ends early", Embed, film[:len(film)/2]},
		{"a GIF with an archive behind", "more than a picture", Embed, append(bytes.Clone(film), "PK\x03\x04"...)},
		{"a GIF's head", "ends early", Embed, []byte("GIF89a")},
		{"half a WebP", "ends early", Embed, webpFileOf(30, 20, 1)[:60]},
		{"a WebP that is longer than it says", "more than a picture", Embed, shrunk},
		{"a WebP of nothing", "damaged", Embed, container(nil)},
		{"two WebP pictures in one", "damaged", Embed, container([]riff{{"VP8X", make([]byte, 10)}, {"VP8L", vp8l(1, 1)}, {"VP8L", vp8l(1, 1)}})},
		{"a WebP larger than its canvas", "damaged", Embed, container([]riff{{"VP8X", make([]byte, 10)}, {"VP8L", vp8l(500, 500)}})},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := Check(tt.use, tt.file)
			var f *fault.Error
			if !errors.As(err, &f) || f.Kind != fault.Invalid || f.Code != "InvalidRequest" || !strings.Contains(f.Public, tt.words) || got.Body != nil {
				t.Errorf("got %v, want words about %q", err, tt.words)
			}
		})
	}
}

func flip(file []byte, at int) []byte {
	out := bytes.Clone(file)
	out[at] ^= 1
	return out
}

// TestBombs holds that small files which grow when they are shown are refused
// before anything is painted.
func TestBombs(t *testing.T) {
	t.Parallel()
	head := func(w, h uint32) []byte {
		b := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
		return append([]byte(pngHead), pngChunk("IHDR", append(b, 8, 6, 0, 0, 0))...)
	}
	photo := jpegFileOf(t, 8, 8, 1)
	wide := bytes.Clone(photo)
	binary.BigEndian.PutUint16(wide[bytes.Index(wide, []byte{0xff, 0xc0})+5:], 60_000)
	scan := bytes.LastIndex(photo, []byte{0xff, 0xda})
	end := bytes.LastIndex(photo, []byte{0xff, 0xd9})
	scans := append(bytes.Clone(photo[:scan]), bytes.Repeat(photo[scan:end], maxScans+1)...)
	overfull := pngFileOf(t, canvas(8, 8), 1)
	binary.BigEndian.PutUint32(overfull[20:], 4) // half the lines
	copy(overfull[8:], pngChunk("IHDR", overfull[16:29]))
	var profile bytes.Buffer
	if err := png.Encode(&profile, image.NewGray(image.Rect(0, 0, 8000, 8000))); err != nil {
		t.Fatal(err)
	}
	zeros := profile.Bytes()[bytes.Index(profile.Bytes(), []byte("IDAT"))+4:]
	tests := map[string][]byte{
		"a PNG of 4 billion lines":           head(1, 1<<32-1),
		"a PNG of 50,001,000 pixels":         head(16_667, 3_000),
		"a JPEG of 60,000 lines":             wide,
		"a JPEG painted over 101 times":      append(scans, 0xff, 0xd9),
		"a GIF of 65,535²":                   []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00;"),
		"a GIF of 1,001 frames":              gifFileOf(t, 1, 1, MaxFrames+1),
		"a WebP of 16,384² pixels":           container([]riff{{"VP8L", vp8l(16_384, 16_384)}}),
		"a canvas of 16,777,216²":            container([]riff{{"VP8X", append(make([]byte, 4), bytes.Repeat([]byte{255}, 6)...)}}),
		"a WebP of 1,001 frames":             webpAnimationOf(1, 1, MaxFrames+1),
		"frames of 201 million pixels":       webpAnimationOf(1000, 1000, 201),
		"an APNG of 4 billion frames":        append(head(9, 9), pngChunk("acTL", bytes.Repeat([]byte{255}, 8))...),
		"a colour profile of 64 MB":          append(head(9, 9), pngChunk("iCCP", append([]byte("x\x00\x00"), zeros...))...),
		"a PNG with more pixels than it has": overfull,
	}
	for name, file := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if len(file) > 1<<20 {
				t.Fatalf("a bomb of %d bytes is none", len(file))
			}
			_, err := Check(Embed, file)
			if f := fault.From(err); err == nil || f.Kind != fault.Invalid || !strings.Contains(f.Public, "too large") && name != "a PNG with more pixels than it has" {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestTooManyBytes holds each use's limit, which counts what is left.
func TestTooManyBytes(t *testing.T) {
	t.Parallel()
	for _, use := range []Use{Avatar, Banner, Thumb, Embed} {
		photo := jpegFileOf(t, 8, 8, 1)
		at := bytes.LastIndex(photo, []byte{0xff, 0xd9})
		fat := func(marker byte) []byte {
			out := bytes.Clone(photo[:2])
			for len(out) < use.MaxBytes() {
				out = append(out, jpegSegment(marker, "ICC_PROFILE\x00"+strings.Repeat("x", 60_000))...)
			}
			return append(out, photo[2:at+2]...)
		}
		_, err := Check(use, fat(jpegICC))
		var limit *http.MaxBytesError
		if !errors.As(err, &limit) || fault.From(err).Code != "RequestTooLarge" {
			t.Errorf("use %d: %v", use, err)
		}
		if got, err := Check(use, fat(0xfe)); err != nil || len(got.Body) > 10_000 {
			t.Errorf("use %d: what is left out counts: %d bytes, %v", use, len(got.Body), err)
		}
	}
	if _, err := Check(0, lossy()); err == nil {
		t.Error("a use that there is not")
	}
}

// TestBase64 holds that a picture in a JSON field is judged by its content.
func TestBase64(t *testing.T) {
	t.Parallel()
	text := base64.StdEncoding.EncodeToString(jpegFileOf(t, 8, 8, 1))
	for _, declared := range []string{"", JPEG, PNG} {
		if got, err := CheckBase64(Avatar, text, declared); err != nil || got.MIME != JPEG {
			t.Errorf("as %q: %s, %v", declared, got.MIME, err)
		}
	}
	if _, err := CheckBase64(Avatar, strings.TrimRight(text, "="), ""); err != nil {
		t.Errorf("without padding: %v", err)
	}
	tests := []struct{ name, text, declared, code string }{
		{"not base64", "pixels!", "", "InvalidRequest"},
		{"a data URL", "data:image/png;base64," + text, "", "InvalidRequest"},
		{"nothing", "", "", "InvalidRequest"},
		{"a page", text, "text/html", "InvalidRequest"},
		{"a GIF", base64.StdEncoding.EncodeToString(gifFileOf(t, 2, 2, 1)), JPEG, "InvalidRequest"},
		{"three megabytes", strings.Repeat("A", 4_000_000), "", "RequestTooLarge"},
	}
	for _, tt := range tests {
		if _, err := CheckBase64(Avatar, tt.text, tt.declared); err == nil || fault.From(err).Code != tt.code {
			t.Errorf("%s: %v, want %s", tt.name, err, tt.code)
		}
	}
}

// TestInterlaced holds that the size of interlaced pixels is known.
func TestInterlaced(t *testing.T) {
	t.Parallel()
	for w := 1; w < 20; w++ {
		for h := 1; h < 20; h++ {
			f := &pngFile{width: w, height: h, header: []byte{0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1}}
			pixels, lines := 0, map[string]bool{}
			for y := range h {
				for x := range w {
					pixels++
					lines[fmt.Sprint(adam7[y%8][x%8], " ", y)] = true
				}
			}
			if got := f.size(); got != int64(pixels+len(lines)) {
				t.Errorf("%d×%d: %d bytes, want %d", w, h, got, pixels+len(lines))
			}
		}
	}
}

// adam7 is the pass of each pixel (W3C PNG, figure 8.1).
var adam7 = [8]string{"16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"}

// FuzzCheck holds that no file breaks the reader, and that what it lets through
// is a picture which it would let through unchanged.
func FuzzCheck(f *testing.F) {
	for _, seed := range [][]byte{
		jpegFileOf(f, 9, 7, 6), pngFileOf(f, canvas(9, 7), 6), apngFileOf(f, 5, 5, 2), gifFileOf(f, 9, 7, 2),
		webpFileOf(9, 7, 6), webpAnimationOf(9, 7, 2), lossy(),
	} {
		f.Add(seed)
		f.Add(seed[:len(seed)/2])
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		got, err := Check(Embed, file)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Fatalf("not a fault for people: %v", err)
			}
			return
		}
		if got.Width < 1 || got.Height < 1 || got.Frames < 1 || len(got.Body) > len(file)+64 {
			t.Fatalf("%d×%d, %d frames, %d bytes of %d", got.Width, got.Height, got.Frames, len(got.Body), len(file))
		}
		again, err := Check(Embed, got.Body)
		if err != nil || !bytes.Equal(again.Body, got.Body) || again.Width != got.Width || again.Height != got.Height {
			t.Fatalf("a second time: %v, or not the same", err)
		}
		for _, said := range []string{"Photoshop 3.0", "http://ns.adobe.com/xap"} {
			if got.MIME == JPEG && bytes.Contains(got.Body, []byte("\xff\xe1"+said)) {
				t.Fatalf("left %q", said)
			}
		}
	})
}
