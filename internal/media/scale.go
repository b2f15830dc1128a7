package media

import (
	"bytes"
	"fmt"
	"image"
	_ "image/gif" // decoders of what records may hold
	"image/jpeg"
	"image/png"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

// Preset is a size in which pictures are served (records.md, views).
type Preset string

// The presets. Those with two sides are filled, and what hangs over is cut off;
// the others keep their proportions. Nothing is made larger than it is.
const (
	AvatarLarge    Preset = "avatar"          // 1000 × 1000
	AvatarSmall    Preset = "avatar_small"    // 360 × 360
	BannerWide     Preset = "banner"          // 640 × 300
	ContentPreview Preset = "content_preview" // 800 wide
	ContentFull    Preset = "content_full"    // 1600 wide
	EmbedThumbnail Preset = "embed_thumbnail" // 720 × 360
)

// box is a preset's size; a height of zero keeps the proportions.
type box struct{ width, height int }

var boxes = map[Preset]box{
	AvatarLarge: {1000, 1000}, AvatarSmall: {360, 360}, BannerWide: {640, 300},
	ContentPreview: {800, 0}, ContentFull: {1600, 0}, EmbedThumbnail: {720, 360},
}

// maxTall is how much higher than wide a picture may be served.
const maxTall = 4

// quality is that of JPEG files.
const quality = 84

// scale makes a picture of a preset's size from a checked file: JPEG, or PNG
// where something is transparent. Of an animation it is the first frame.
func scale(p Preset, file []byte, orientation int) (body []byte, mime string, err error) {
	src, _, err := image.Decode(bytes.NewReader(file))
	if err != nil {
		return nil, "", fmt.Errorf("decode picture: %w", err)
	}
	crop, size := fit(src.Bounds(), boxes[p], orientation >= 5)
	out := image.NewRGBA(image.Rectangle{Max: size})
	draw.BiLinear.Scale(out, out.Bounds(), src, crop, draw.Src, nil)
	out = turn(out, orientation)
	var encoded bytes.Buffer
	if out.Opaque() {
		err = jpeg.Encode(&encoded, out, &jpeg.Options{Quality: quality})
		return encoded.Bytes(), JPEG, err
	}
	err = png.Encode(&encoded, out)
	return encoded.Bytes(), PNG, err
}

// fit finds which part of a picture is shown and how large, both as it is
// stored: lying says that it is turned by a quarter when it is shown.
func fit(bounds image.Rectangle, b box, lying bool) (crop image.Rectangle, size image.Point) {
	width, height := bounds.Dx(), bounds.Dy()
	if lying {
		width, height = height, width
	}
	part := image.Pt(width, min(height, maxTall*width))
	if b.height > 0 {
		part = image.Pt(min(width, height*b.width/b.height), min(height, width*b.height/b.width))
		part = image.Pt(max(part.X, 1), max(part.Y, 1))
	}
	size = part
	if part.X > b.width {
		size = image.Pt(b.width, max(1, part.Y*b.width/part.X))
		if b.height > 0 {
			size.Y = b.height
		}
	}
	if lying {
		part, size = image.Pt(part.Y, part.X), image.Pt(size.Y, size.X)
	}
	corner := bounds.Min.Add(image.Pt((bounds.Dx()-part.X)/2, (bounds.Dy()-part.Y)/2))
	return image.Rectangle{Min: corner, Max: corner.Add(part)}, size
}

// turn shows a picture as its camera was held (Exif 2.32, Orientation).
func turn(src *image.RGBA, orientation int) *image.RGBA {
	if orientation < 2 {
		return src
	}
	w, h := src.Bounds().Dx(), src.Bounds().Dy()
	size := image.Rect(0, 0, w, h)
	if orientation >= 5 {
		size = image.Rect(0, 0, h, w)
	}
	out := image.NewRGBA(size)
	for y := range h {
		for x := range w {
			to := place(orientation, x, y, w, h)
			out.SetRGBA(to.X, to.Y, src.RGBAAt(x, y))
		}
	}
	return out
}

// place is where a pixel of a stored picture of w × h pixels is shown.
func place(orientation, x, y, w, h int) image.Point {
	switch orientation {
	case 2:
		return image.Pt(w-1-x, y)
	case 3:
		return image.Pt(w-1-x, h-1-y)
	case 4:
		return image.Pt(x, h-1-y)
	case 5:
		return image.Pt(y, x)
	case 6:
		return image.Pt(h-1-y, x)
	case 7:
		return image.Pt(h-1-y, w-1-x)
	case 8:
		return image.Pt(y, w-1-x)
	}
	return image.Pt(x, y)
}
