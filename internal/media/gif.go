package media

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// gifFile is a GIF file that is being read (GIF89a).
type gifFile struct {
	in  []byte // what is left
	out bytes.Buffer
	pic picture
}

// stripGIF keeps frames, their times and how often they are repeated; comments
// and what programs have added are left out. Nothing may follow the end.
func stripGIF(file []byte) (picture, error) {
	f := &gifFile{in: file}
	f.out.Grow(len(file))
	head, err := f.take(13)
	if err != nil {
		return picture{}, err
	}
	f.out.Write(head)
	f.pic.width, f.pic.height = int(binary.LittleEndian.Uint16(head[6:])), int(binary.LittleEndian.Uint16(head[8:]))
	if err := budget(f.pic.width, f.pic.height, 1); err != nil {
		return picture{}, err
	}
	if err := f.colours(head[10]); err != nil {
		return picture{}, err
	}
	for {
		kind, err := f.take(1)
		if err != nil {
			return picture{}, err
		}
		switch kind[0] {
		case 0x21:
			err = f.extension()
		case 0x2c:
			err = f.frame()
		case 0x3b:
			return f.end()
		default:
			err = fmt.Errorf("%w: block %#x", errBroken, kind[0])
		}
		if err != nil {
			return picture{}, err
		}
	}
}

func (f *gifFile) take(n int) ([]byte, error) {
	if n > len(f.in) {
		return nil, errCut
	}
	b := f.in[:n]
	f.in = f.in[n:]
	return b, nil
}

// colours copies the table that flags announce.
func (f *gifFile) colours(flags byte) error {
	if flags&0x80 == 0 {
		return nil
	}
	table, err := f.take(3 << (flags&7 + 1))
	f.out.Write(table)
	return err
}

// blocks reads data up to the empty block that ends it.
func (f *gifFile) blocks() ([]byte, error) {
	for at := 0; ; {
		if at >= len(f.in) {
			return nil, errCut
		}
		n := int(f.in[at])
		if at += 1 + n; n == 0 {
			return f.take(at)
		}
	}
}

func (f *gifFile) extension() error {
	label, err := f.take(1)
	if err != nil {
		return err
	}
	data, err := f.blocks()
	if err != nil {
		return err
	}
	loops := bytes.HasPrefix(data, []byte("\x0bNETSCAPE2.0")) || bytes.HasPrefix(data, []byte("\x0bANIMEXTS1.0"))
	switch {
	case label[0] == 0xf9 && len(data) == 6 && data[0] == 4: // how long the next frame stays
	case label[0] == 0xff && loops && len(data) == 17 && data[12] == 3:
	default:
		return nil
	}
	f.out.Write([]byte{0x21, label[0]})
	f.out.Write(data)
	return nil
}

func (f *gifFile) frame() error {
	f.pic.frames++
	if err := budget(f.pic.width, f.pic.height, f.pic.frames); err != nil {
		return err
	}
	head, err := f.take(9)
	if err != nil {
		return err
	}
	at := func(i int) int { return int(binary.LittleEndian.Uint16(head[i:])) }
	if at(4) == 0 || at(6) == 0 || at(0)+at(4) > f.pic.width || at(2)+at(6) > f.pic.height {
		return fmt.Errorf("%w: a frame outside of the picture", errBroken)
	}
	f.out.WriteByte(0x2c)
	f.out.Write(head)
	if err := f.colours(head[8]); err != nil {
		return err
	}
	width, err := f.take(1)
	if err != nil {
		return err
	}
	data, err := f.blocks()
	switch {
	case err != nil:
		return err
	case width[0] < 2 || width[0] > 8 || len(data) == 1:
		return fmt.Errorf("%w: no pixels", errBroken)
	}
	f.out.WriteByte(width[0])
	f.out.Write(data)
	return nil
}

func (f *gifFile) end() (picture, error) {
	switch {
	case !isPadding(f.in):
		return picture{}, errTrailer
	case f.pic.frames == 0:
		return picture{}, fmt.Errorf("%w: no pixels", errBroken)
	}
	f.out.WriteByte(0x3b)
	f.pic.body = f.out.Bytes()
	return f.pic, nil
}
