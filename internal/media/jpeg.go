package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Markers of JPEG (ITU-T T.81, table B.1).
const (
	jpegSOF0 = 0xc0 // baseline; 1 extended, 2 progressive
	jpegSOF2 = 0xc2
	jpegDHT  = 0xc4
	jpegSOFF = 0xcf // the last of the other ways to code
	jpegRST0 = 0xd0
	jpegRST7 = 0xd7
	jpegEOI  = 0xd9
	jpegSOS  = 0xda
	jpegDQT  = 0xdb
	jpegDRI  = 0xdd
	jpegAPP0 = 0xe0
	jpegExif = 0xe1
	jpegICC  = 0xe2
	jpegAdob = 0xee
)

// maxScans bounds how often a progressive picture is painted over: a decoder
// goes through all pixels for each.
const maxScans = 100

// jpegFile is a JPEG file that is being read.
type jpegFile struct {
	in    []byte // what is left
	out   bytes.Buffer
	pic   picture
	scans int
}

// stripJPEG keeps what the pixels and their colours need. What follows the
// picture is left out: telephones put films and depth maps there.
func stripJPEG(file []byte) (picture, error) {
	f := jpegFile{in: file[2:]}
	f.out.Grow(len(file))
	f.out.Write(file[:2])
	for {
		marker, err := f.marker()
		if err != nil {
			return picture{}, err
		}
		if marker == jpegEOI {
			return f.end()
		}
		segment, err := f.segment()
		if err != nil {
			return picture{}, err
		}
		if err := f.keep(marker, segment); err != nil {
			return picture{}, err
		}
	}
}

// marker reads the next marker, before which there may be any number of 0xff.
func (f *jpegFile) marker() (byte, error) {
	if len(f.in) > 0 && f.in[0] != 0xff {
		return 0, fmt.Errorf("%w: no marker where one must be", errBroken)
	}
	for i, b := range f.in {
		if b != 0xff {
			f.in = f.in[i+1:]
			return b, nil
		}
	}
	return 0, errCut
}

// segment reads what belongs to a marker.
func (f *jpegFile) segment() ([]byte, error) {
	if len(f.in) < 2 {
		return nil, errCut
	}
	n := int(binary.BigEndian.Uint16(f.in))
	switch {
	case n < 2:
		return nil, fmt.Errorf("%w: a segment of %d bytes", errBroken, n)
	case n > len(f.in):
		return nil, errCut
	}
	segment := f.in[2:n]
	f.in = f.in[n:]
	return segment, nil
}

func (f *jpegFile) write(marker byte, segment []byte) {
	f.out.Write([]byte{0xff, marker})
	f.out.Write(binary.BigEndian.AppendUint16(nil, uint16(len(segment)+2)))
	f.out.Write(segment)
}

// keep writes what may stay of a segment.
func (f *jpegFile) keep(marker byte, segment []byte) error {
	switch {
	case marker == jpegDHT, marker == jpegDQT, marker == jpegDRI:
		f.write(marker, segment)
	case marker == jpegSOS:
		f.write(marker, segment)
		return f.scan()
	case marker >= jpegSOF0 && marker <= jpegSOF2:
		f.write(marker, segment)
		return f.frame(segment)
	case marker > jpegSOF2 && marker <= jpegSOFF:
		return fmt.Errorf("%w: coding %#x", errExotic, marker)
	case marker >= jpegAPP0 && marker < 0xf0:
		f.application(marker, segment)
	case marker == 0xfe: // a comment
	default:
		return fmt.Errorf("%w: marker %#x", errBroken, marker)
	}
	return nil
}

// frame reads the size (T.81, B.2.2).
func (f *jpegFile) frame(segment []byte) error {
	if len(segment) < 6 || len(segment) != 6+3*int(segment[5]) || f.pic.width != 0 {
		return fmt.Errorf("%w: frame header", errBroken)
	}
	if n := segment[5]; segment[0] != 8 || n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%w: %d components of %d bits", errExotic, n, segment[0])
	}
	f.pic.height = int(binary.BigEndian.Uint16(segment[1:]))
	f.pic.width = int(binary.BigEndian.Uint16(segment[3:]))
	return budget(f.pic.width, f.pic.height, 1)
}

// scan copies coded pixels up to the next marker that is none of theirs.
func (f *jpegFile) scan() error {
	f.scans++
	switch {
	case f.pic.width == 0:
		return fmt.Errorf("%w: pixels before their size", errBroken)
	case f.scans > maxScans:
		return fmt.Errorf("%w: more than %d scans", errPixels, maxScans)
	}
	for at := 0; ; {
		i := bytes.IndexByte(f.in[at:], 0xff)
		if i < 0 || at+i+1 >= len(f.in) {
			return errCut
		}
		at += i
		next := f.in[at+1]
		switch {
		case next == 0 || next >= jpegRST0 && next <= jpegRST7:
			at += 2
		case next == 0xff:
			at++
		default:
			f.out.Write(f.in[:at])
			f.in = f.in[at:]
			return nil
		}
	}
}

// application keeps of what programs have added the colours and how the camera
// was held.
func (f *jpegFile) application(marker byte, segment []byte) {
	tiff, isExif := bytes.CutPrefix(segment, []byte("Exif\x00\x00"))
	switch {
	case marker == jpegAPP0 && len(segment) >= 14 && bytes.HasPrefix(segment, []byte("JFIF\x00")):
		f.write(marker, append(bytes.Clone(segment[:12]), 0, 0)) // without the small picture inside
	case marker == jpegICC && bytes.HasPrefix(segment, []byte("ICC_PROFILE\x00")):
		f.write(marker, segment)
	case marker == jpegAdob && len(segment) >= 12 && bytes.HasPrefix(segment, []byte("Adobe")):
		f.write(marker, segment[:12])
	case marker == jpegExif && isExif && f.pic.orientation == 0:
		if f.pic.orientation = orientation(tiff); f.pic.orientation > 1 {
			f.write(marker, append([]byte("Exif\x00\x00"), turned(f.pic.orientation)...))
		}
	}
}

func (f *jpegFile) end() (picture, error) {
	if f.scans == 0 {
		return picture{}, fmt.Errorf("%w: no pixels", errBroken)
	}
	f.out.Write([]byte{0xff, jpegEOI})
	f.pic.body, f.pic.frames = f.out.Bytes(), 1
	return f.pic, nil
}
