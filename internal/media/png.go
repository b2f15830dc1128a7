package media

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

const pngHead = "\x89PNG\r\n\x1a\n"

// maxProfile bounds what a colour profile may grow to when it is unpacked.
const maxProfile = 4 << 20

// pngFile is a PNG file that is being read (W3C PNG, third edition).
type pngFile struct {
	out    bytes.Buffer
	pic    picture
	header []byte
	frames int // as announced by acTL; 0 for none
	seen   int // frame controls
	// now is the compressed data of what is being painted, width and height
	// how large it is to be.
	now           []io.Reader
	width, height int
	painted       bool // the picture itself came by
}

// stripPNG keeps what the pixels, their colours and their order need. Nothing
// may follow the last chunk.
func stripPNG(file []byte) (picture, error) {
	f := &pngFile{}
	f.out.Grow(len(file))
	f.out.WriteString(pngHead)
	in := file[len(pngHead):]
	for {
		if len(in) < 12 {
			return picture{}, errCut
		}
		n, kind := binary.BigEndian.Uint32(in), string(in[4:8])
		if uint64(n)+12 > uint64(len(in)) {
			return picture{}, errCut
		}
		chunk, data := in[:n+12], in[8:8+n]
		if crc32.ChecksumIEEE(chunk[4:8+n]) != binary.BigEndian.Uint32(chunk[8+n:]) {
			return picture{}, fmt.Errorf("%w: checksum of %q", errBroken, kind)
		}
		in = in[n+12:]
		if (kind == "IHDR") != (f.header == nil) {
			return picture{}, fmt.Errorf("%w: %q out of place", errBroken, kind)
		}
		if err := f.chunk(kind, data, chunk); err != nil {
			return picture{}, err
		}
		if kind == "IEND" {
			return f.end(in)
		}
	}
}

// chunk judges one chunk and keeps it, or not.
func (f *pngFile) chunk(kind string, data, whole []byte) error {
	var err error
	switch kind {
	case "IHDR":
		err = f.start(data)
	case "acTL":
		err = f.animation(data)
	case "fcTL":
		err = f.frame(data)
	case "IDAT":
		f.painted = true
		f.now = append(f.now, bytes.NewReader(data))
	case "fdAT":
		if len(data) < 4 {
			return fmt.Errorf("%w: fdAT", errBroken)
		}
		f.now = append(f.now, bytes.NewReader(data[4:]))
	case "iCCP":
		err = checkProfile(data)
	case "eXIf":
		if f.pic.orientation = orientation(data); f.pic.orientation > 1 {
			f.write(kind, turned(f.pic.orientation))
		}
		return nil
	case "IEND":
		err = f.inflate()
	case "PLTE", "tRNS", "gAMA", "cHRM", "sRGB", "cICP", "mDCV", "cLLI", "sBIT", "bKGD", "hIST", "pHYs":
	default:
		if kind[0]&0x20 == 0 { // must be understood
			return fmt.Errorf("%w: chunk %q", errExotic, kind)
		}
		return nil
	}
	f.out.Write(whole)
	return err
}

func (f *pngFile) write(kind string, data []byte) {
	chunk := append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), kind...)
	chunk = append(chunk, data...)
	f.out.Write(binary.BigEndian.AppendUint32(chunk, crc32.ChecksumIEEE(chunk[4:])))
}

func (f *pngFile) start(data []byte) error {
	if len(data) != 13 {
		return fmt.Errorf("%w: IHDR", errBroken)
	}
	f.header = data
	width, height := binary.BigEndian.Uint32(data), binary.BigEndian.Uint32(data[4:])
	if width > MaxSide || height > MaxSide {
		return fmt.Errorf("%w: %d×%d", errPixels, width, height)
	}
	f.pic.width, f.pic.height, f.pic.frames = int(width), int(height), 1
	f.width, f.height = f.pic.width, f.pic.height
	if f.bits() == 0 || data[10] != 0 || data[11] != 0 || data[12] > 1 {
		return fmt.Errorf("%w: IHDR", errBroken)
	}
	return budget(f.pic.width, f.pic.height, 1)
}

// bits is how many bits a pixel has; 0 for what must not be.
func (f *pngFile) bits() int {
	depth := int(f.header[8])
	switch channels := map[byte]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[f.header[9]]; depth {
	case 1, 2, 4:
		if channels == 1 {
			return depth
		}
	case 8:
		return depth * channels
	case 16:
		if f.header[9] != 3 {
			return depth * channels
		}
	}
	return 0
}

func (f *pngFile) animation(data []byte) error {
	if len(data) != 8 || f.frames != 0 || f.painted {
		return fmt.Errorf("%w: acTL", errBroken)
	}
	n := binary.BigEndian.Uint32(data)
	if n == 0 {
		return fmt.Errorf("%w: no frames", errBroken)
	}
	f.frames = int(min(n, MaxFrames+1))
	f.pic.frames = f.frames
	return budget(f.pic.width, f.pic.height, f.frames)
}

// frame begins another frame.
func (f *pngFile) frame(data []byte) error {
	if len(data) != 26 || f.seen == f.frames {
		return fmt.Errorf("%w: fcTL", errBroken)
	}
	f.seen++
	if err := f.inflate(); err != nil {
		return err
	}
	var n [4]uint64 // width, height, x, y
	for i := range n {
		n[i] = uint64(binary.BigEndian.Uint32(data[4+4*i:]))
	}
	if n[0] == 0 || n[1] == 0 || n[0]+n[2] > uint64(f.pic.width) || n[1]+n[3] > uint64(f.pic.height) {
		return fmt.Errorf("%w: a frame outside of the picture", errBroken)
	}
	f.width, f.height = int(n[0]), int(n[1])
	return nil
}

// inflate unpacks what is being painted and counts: neither less nor more than
// there are pixels may come out.
func (f *pngFile) inflate() error {
	if len(f.now) == 0 {
		return nil
	}
	z, err := zlib.NewReader(io.MultiReader(f.now...))
	f.now = nil
	if err != nil {
		return packed(err)
	}
	want := f.size()
	got, err := io.Copy(io.Discard, io.LimitReader(z, want+1))
	switch {
	case err != nil:
		return packed(err)
	case got != want:
		return fmt.Errorf("%w: %d bytes of pixels instead of %d", errBroken, got, want)
	}
	return nil
}

func packed(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return errCut
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// size is how many bytes the pixels have when unpacked, each line with one for
// its filter; interlaced ones come in seven passes (section 8.1).
func (f *pngFile) size() int64 {
	pass := func(x, y, dx, dy int) int64 {
		w, h := (f.width-x+dx-1)/dx, (f.height-y+dy-1)/dy
		if w <= 0 || h <= 0 {
			return 0
		}
		return int64(h) * int64(1+(w*f.bits()+7)/8)
	}
	if f.header[12] == 0 {
		return pass(0, 0, 1, 1)
	}
	return pass(0, 0, 8, 8) + pass(4, 0, 8, 8) + pass(0, 4, 4, 8) + pass(2, 0, 4, 4) + pass(0, 2, 2, 4) + pass(1, 0, 2, 2) + pass(0, 1, 1, 2)
}

// checkProfile makes sure that a colour profile is no bomb.
func checkProfile(data []byte) error {
	name := bytes.IndexByte(data, 0)
	if name < 1 || name > 79 || name+2 > len(data) {
		return fmt.Errorf("%w: iCCP", errBroken)
	}
	z, err := zlib.NewReader(bytes.NewReader(data[name+2:]))
	if err != nil {
		return packed(err)
	}
	n, err := io.Copy(io.Discard, io.LimitReader(z, maxProfile+1))
	switch {
	case err != nil:
		return packed(err)
	case n > maxProfile:
		return fmt.Errorf("%w: a colour profile of more than %d bytes", errPixels, maxProfile)
	}
	return nil
}

func (f *pngFile) end(rest []byte) (picture, error) {
	switch {
	case !isPadding(rest):
		return picture{}, errTrailer
	case !f.painted:
		return picture{}, fmt.Errorf("%w: no pixels", errBroken)
	case f.seen != f.frames:
		return picture{}, fmt.Errorf("%w: %d frames instead of %d", errBroken, f.seen, f.frames)
	}
	f.pic.body = f.out.Bytes()
	return f.pic, nil
}
