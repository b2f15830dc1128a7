package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Flags of VP8X (RFC 9649, section 2.7.1).
const (
	webpAnimation = 0x02
	webpXMP       = 0x04
	webpExif      = 0x08
)

// riff is one chunk.
type riff struct {
	kind string
	data []byte
}

// stripWebP keeps pixels, colours and animation. Nothing may follow what the
// header announces.
func stripWebP(file []byte) (picture, error) {
	size := uint64(binary.LittleEndian.Uint32(file[4:])) + 8
	switch {
	case size > uint64(len(file)):
		return picture{}, errCut
	case size < 12:
		return picture{}, fmt.Errorf("%w: a size of %d", errBroken, size)
	case !isPadding(file[size:]):
		return picture{}, errTrailer
	}
	chunks, err := riffs(file[12:size])
	if err != nil {
		return picture{}, err
	}
	if len(chunks) == 0 {
		return picture{}, fmt.Errorf("%w: no pixels", errBroken)
	}
	var pic picture
	kept := chunks[:1:1]
	if chunks[0].kind == "VP8X" {
		pic, kept, err = extended(chunks)
	} else {
		pic.frames = 1
		pic.width, pic.height, err = bitstream(chunks[0])
	}
	if err == nil {
		err = budget(pic.width, pic.height, pic.frames)
	}
	if err != nil {
		return picture{}, err
	}
	pic.body = container(kept)
	return pic, nil
}

// riffs cuts chunks apart (RFC 9649, section 2.3).
func riffs(in []byte) ([]riff, error) {
	var out []riff
	for len(in) > 0 {
		if len(in) < 8 {
			return nil, errCut
		}
		n := uint64(binary.LittleEndian.Uint32(in[4:]))
		padded := n + n%2
		if padded > uint64(len(in)-8) {
			return nil, errCut
		}
		out = append(out, riff{string(in[:4]), in[8 : 8+n]})
		in = in[8+padded:]
	}
	return out, nil
}

func appendRiff(out []byte, c riff) []byte {
	out = append(out, c.kind...)
	out = binary.LittleEndian.AppendUint32(out, uint32(len(c.data)))
	out = append(out, c.data...)
	if len(c.data)%2 == 1 {
		out = append(out, 0)
	}
	return out
}

func container(chunks []riff) []byte {
	out := []byte("RIFF\x00\x00\x00\x00WEBP")
	for _, c := range chunks {
		out = appendRiff(out, c)
	}
	binary.LittleEndian.PutUint32(out[4:], uint32(len(out)-8))
	return out
}

// bitstream reads the size of coded pixels: VP8 (RFC 6386, section 9.1) or
// VP8L (RFC 9649, section 3.4).
func bitstream(c riff) (width, height int, err error) {
	d := c.data
	switch {
	case c.kind == "VP8 " && len(d) > 10 && d[0]&1 == 0 && string(d[3:6]) == "\x9d\x01\x2a":
		first := int(d[0])>>5 | int(d[1])<<3 | int(d[2])<<11
		if first+10 > len(d) {
			return 0, 0, errCut
		}
		return int(binary.LittleEndian.Uint16(d[6:]) & 0x3fff), int(binary.LittleEndian.Uint16(d[8:]) & 0x3fff), nil
	case c.kind == "VP8L" && len(d) > 5 && d[0] == 0x2f && d[4]>>5 == 0:
		bits := binary.LittleEndian.Uint32(d[1:])
		return int(bits&0x3fff) + 1, int(bits>>14&0x3fff) + 1, nil
	}
	return 0, 0, fmt.Errorf("%w: chunk %q", errBroken, c.kind)
}

// extended reads a file with more than pixels and returns what may stay of it.
func extended(chunks []riff) (pic picture, kept []riff, err error) {
	head := bytes.Clone(chunks[0].data)
	if len(head) != 10 {
		return pic, nil, fmt.Errorf("%w: VP8X", errBroken)
	}
	pic.width, pic.height = uint24(head[4:])+1, uint24(head[7:])+1
	if err := budget(pic.width, pic.height, 1); err != nil {
		return pic, nil, err
	}
	head[0] &^= webpExif | webpXMP
	kept = []riff{{"VP8X", head}}
	for _, c := range chunks[1:] {
		switch c.kind {
		case "ICCP", "ANIM":
		case "VP8 ", "VP8L", "ALPH", "ANMF":
			if err := pic.paint(c, head[0]&webpAnimation != 0); err != nil {
				return pic, nil, err
			}
		case "EXIF":
			tiff := bytes.TrimPrefix(c.data, []byte("Exif\x00\x00"))
			if pic.orientation = orientation(tiff); pic.orientation > 1 {
				head[0] |= webpExif
			}
			continue
		default:
			continue
		}
		kept = append(kept, c)
	}
	if pic.frames == 0 {
		return pic, nil, fmt.Errorf("%w: no pixels", errBroken)
	}
	if pic.orientation > 1 {
		kept = append(kept, riff{"EXIF", turned(pic.orientation)})
	}
	return pic, kept, nil
}

// paint counts what a chunk of pixels puts on the canvas.
func (p *picture) paint(c riff, animated bool) error {
	switch {
	case c.kind == "ALPH":
		return nil
	case (c.kind == "ANMF") != animated || !animated && p.frames > 0:
		return fmt.Errorf("%w: %q out of place", errBroken, c.kind)
	}
	p.frames++
	if err := budget(p.width, p.height, p.frames); err != nil {
		return err
	}
	if animated {
		return p.frame(c.data)
	}
	w, h, err := bitstream(c)
	if err == nil && (w != p.width || h != p.height) {
		err = fmt.Errorf("%w: %d×%d on a canvas of %d×%d", errBroken, w, h, p.width, p.height)
	}
	return err
}

// frame checks one frame of an animation (RFC 9649, section 2.7.1.1), which has
// chunks of its own: nothing but pixels.
func (p *picture) frame(data []byte) error {
	if len(data) < 16 {
		return fmt.Errorf("%w: ANMF", errBroken)
	}
	x, y, w, h := 2*uint24(data), 2*uint24(data[3:]), uint24(data[6:])+1, uint24(data[9:])+1
	if x+w > p.width || y+h > p.height {
		return fmt.Errorf("%w: a frame outside of the picture", errBroken)
	}
	chunks, err := riffs(data[16:])
	if err != nil {
		return err
	}
	if len(chunks) == 2 && chunks[0].kind == "ALPH" {
		chunks = chunks[1:]
	}
	if len(chunks) != 1 {
		return fmt.Errorf("%w: %d chunks in a frame", errBroken, len(chunks))
	}
	fw, fh, err := bitstream(chunks[0])
	if err == nil && (fw != w || fh != h) {
		err = fmt.Errorf("%w: a frame of another size", errBroken)
	}
	return err
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }
