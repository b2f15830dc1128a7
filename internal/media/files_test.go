package media

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/color/palette"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
)

// canary is what must not be in a file after stripping it.
const canary = "51.4778,-0.0014 alice@example.com 2024-05-01"

// canvas is a picture that is not all of one colour.
func canvas(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.Set(x, y, color.RGBA{uint8(x * 7), uint8(y * 5), uint8(x * y), 255})
		}
	}
	return m
}

// exif is an Exif block of the given orientation with a place in it, in either
// order of bytes.
func exif(order binary.AppendByteOrder, o int) []byte {
	b := []byte("MM")
	if order.String() == binary.LittleEndian.String() {
		b = []byte("II")
	}
	b = order.AppendUint16(b, 42)
	b = order.AppendUint32(b, 8)
	b = order.AppendUint16(b, 2)
	entry := func(tag, kind uint16, n uint32) {
		b = order.AppendUint32(order.AppendUint16(order.AppendUint16(b, tag), kind), n)
	}
	entry(0x010f, 2, uint32(len(canary))) // Make, somewhere else
	b = order.AppendUint32(b, 38)
	entry(0x0112, 3, 1)
	b = order.AppendUint16(order.AppendUint16(b, uint16(o)), 0)
	b = order.AppendUint32(b, 0)
	return append(b, canary...)
}

func jpegSegment(marker byte, data string) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, marker}, uint16(len(data)+2)), data...)
}

// jpegFileOf is a photo as a telephone makes it.
func jpegFileOf(t testing.TB, w, h, o int) []byte {
	t.Helper()
	var plain bytes.Buffer
	if err := jpeg.Encode(&plain, canvas(w, h), nil); err != nil {
		t.Fatal(err)
	}
	out := []byte("\xff\xd8")
	out = append(out, jpegSegment(0xe0, "JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x01\x01"+canary[:3])...)
	out = append(out, jpegSegment(0xe1, "Exif\x00\x00"+string(exif(binary.BigEndian, o)))...)
	out = append(out, jpegSegment(0xe1, "http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta>"+canary)...)
	out = append(out, jpegSegment(0xe2, "ICC_PROFILE\x00\x01\x01colours")...)
	out = append(out, jpegSegment(0xe2, "MPF\x00"+canary)...)
	out = append(out, jpegSegment(0xed, "Photoshop 3.0\x008BIM\x04\x04"+canary)...)
	out = append(out, jpegSegment(0xfe, canary)...)
	return append(append(out, plain.Bytes()[2:]...), "\x00\x00ftypmp4 a film, "+canary...)
}

func pngChunk(kind string, data []byte) []byte {
	out := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), kind...)
	out = append(out, data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

func pngFileOf(t testing.TB, m image.Image, o int) []byte {
	t.Helper()
	var plain bytes.Buffer
	if err := png.Encode(&plain, m); err != nil {
		t.Fatal(err)
	}
	const head = 8 + 12 + 13
	out := bytes.Clone(plain.Bytes()[:head])
	out = append(out, pngChunk("pHYs", []byte("\x00\x00\x0b\x13\x00\x00\x0b\x13\x01"))...)
	out = append(out, pngChunk("eXIf", exif(binary.LittleEndian, o))...)
	out = append(out, pngChunk("tEXt", []byte("Comment\x00"+canary))...)
	out = append(out, pngChunk("iTXt", []byte("XML:com.adobe.xmp\x00\x00\x00\x00\x00"+canary))...)
	out = append(out, pngChunk("tIME", []byte("\x07\xe8\x05\x01\x0c\x00\x00"))...)
	out = append(out, pngChunk("prVt", []byte(canary))...)
	return append(out, plain.Bytes()[head:]...)
}

// apngFileOf has the same frame several times.
func apngFileOf(t testing.TB, w, h, frames int) []byte {
	t.Helper()
	still := pngFileOf(t, canvas(w, h), 1)
	at := bytes.Index(still, []byte("IDAT")) - 4
	n := int(binary.BigEndian.Uint32(still[at:]))
	pixels := still[at+8 : at+8+n]
	out := append(bytes.Clone(still[:at]), pngChunk("acTL", binary.BigEndian.AppendUint64(nil, uint64(frames)<<32))...)
	for i := range frames {
		control := binary.BigEndian.AppendUint32(nil, uint32(2*i))
		control = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(control, uint32(w)), uint32(h))
		out = append(out, pngChunk("fcTL", append(control, make([]byte, 14)...))...)
		if i == 0 {
			out = append(out, pngChunk("IDAT", pixels)...)
			continue
		}
		out = append(out, pngChunk("fdAT", append(binary.BigEndian.AppendUint32(nil, uint32(2*i-1)), pixels...))...)
	}
	return append(out, pngChunk("IEND", nil)...)
}

func gifFileOf(t testing.TB, w, h, frames int) []byte {
	t.Helper()
	g := &gif.GIF{LoopCount: 3}
	for range frames {
		m := image.NewPaletted(image.Rect(0, 0, w, h), palette.Plan9)
		draw.Draw(m, m.Bounds(), canvas(w, h), image.Point{}, draw.Src)
		g.Image, g.Delay = append(g.Image, m), append(g.Delay, 7)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(b.Bytes()[:b.Len()-1])
	block := func(label byte, text string) {
		out = append(append(out, 0x21, label), text...)
		out = append(append(append(out, byte(len(canary))), canary...), 0)
	}
	block(0xfe, "")
	block(0xff, "\x0bXMP DataXMP")
	return append(out, 0x3b)
}

// vp8l is a lossless picture of one colour: five prefix codes of one symbol
// each, and then no bit for any pixel (RFC 9649, section 3.7).
func vp8l(w, h int) []byte {
	bits, n := uint64(0), 0
	put := func(v uint64, size int) { bits, n = bits|v<<n, n+size }
	put(uint64(w-1), 14)
	put(uint64(h-1), 14)
	put(0, 4) // no alpha, version 0
	put(0, 3) // no transform, no cache, no meta codes
	for range 5 {
		put(1, 4) // simple, one symbol, of one bit: 0
	}
	return append([]byte{0x2f}, binary.LittleEndian.AppendUint64(nil, bits)...)
}

func webpFileOf(w, h, o int) []byte {
	head := append([]byte{webpExif | webpXMP, 0, 0, 0}, byte(w-1), byte((w-1)>>8), 0, byte(h-1), byte((h-1)>>8), 0)
	return container([]riff{{"VP8X", head}, {"VP8L", vp8l(w, h)}, {"EXIF", exif(binary.BigEndian, o)},
		{"XMP ", []byte("<x:xmpmeta>" + canary)}, {"spam", []byte(canary)}})
}

func webpAnimationOf(w, h, frames int) []byte {
	size := []byte{byte(w - 1), byte((w - 1) >> 8), 0, byte(h - 1), byte((h - 1) >> 8), 0}
	chunks := []riff{{"VP8X", append([]byte{webpAnimation, 0, 0, 0}, size...)}, {"ANIM", make([]byte, 6)}}
	for range frames {
		data := append(append(make([]byte, 6), size...), 40, 0, 0, 0)
		chunks = append(chunks, riff{"ANMF", appendRiff(data, riff{"VP8L", vp8l(w, h)})})
	}
	return container(chunks)
}
