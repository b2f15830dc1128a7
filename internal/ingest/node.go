package ingest

import (
	"encoding/binary"
	"fmt"
)

// node is one block of a repository's tree.
type node struct {
	left    *digest
	entries []nodeEntry
}

// nodeEntry is a key, less what it shares with the key before, and what
// follows it.
type nodeEntry struct {
	prefix int
	suffix []byte
	value  digest
	right  *digest
}

// Major types of CBOR (RFC 8949, section 3.1).
const (
	majorUint  = 0
	majorBytes = 2
	majorText  = 3
	majorArray = 4
	majorMap   = 5
	cborNull   = 0xf6
)

// linkHead begins a CID in DAG-CBOR: tag 42, 37 bytes, the zero byte, cidHead.
const linkHead = "\xd8\x2a\x58\x25\x00" + cidHead

// cborReader reads the little of DAG-CBOR that tree nodes consist of. The
// first mistake sticks.
type cborReader struct {
	rest []byte
	bad  bool
}

// head reads a type and its number, which must be in the shortest form.
func (r *cborReader) head(major byte) int {
	if r.bad || len(r.rest) == 0 || r.rest[0]>>5 != major {
		r.bad = true
		return 0
	}
	info := r.rest[0] & 31
	r.rest = r.rest[1:]
	switch {
	case info < 24:
		return int(info)
	case info == 24 && len(r.rest) >= 1 && r.rest[0] >= 24:
		n := int(r.rest[0])
		r.rest = r.rest[1:]
		return n
	case info == 25 && len(r.rest) >= 2 && r.rest[0] > 0:
		n := int(binary.BigEndian.Uint16(r.rest))
		r.rest = r.rest[2:]
		return n
	case info == 26 && len(r.rest) >= 4 && binary.BigEndian.Uint16(r.rest) > 0:
		n := int(binary.BigEndian.Uint32(r.rest))
		r.rest = r.rest[4:]
		return n
	}
	r.bad = true
	return 0
}

// take cuts n bytes off.
func (r *cborReader) take(n int) []byte {
	if r.bad || n > len(r.rest) {
		r.bad = true
		return nil
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

// name demands a key of one letter.
func (r *cborReader) name(letter byte) {
	if r.head(majorText) != 1 {
		r.bad = true
	}
	if b := r.take(1); r.bad || b[0] != letter {
		r.bad = true
	}
}

func (r *cborReader) link() (d digest) {
	if string(r.take(len(linkHead))) != linkHead {
		r.bad = true
	}
	copy(d[:], r.take(len(d)))
	return d
}

func (r *cborReader) linkOrNull() *digest {
	if len(r.rest) > 0 && r.rest[0] == cborNull {
		r.rest = r.rest[1:]
		return nil
	}
	d := r.link()
	return &d
}

// isNode guesses whether a block may be a tree node.
func isNode(raw []byte) bool { return len(raw) > 3 && string(raw[:3]) == "\xa2\x61e" }

// parseNode reads a tree node. Only the one encoding that the specification
// allows is accepted, so that what is read can be written again.
func parseNode(raw []byte) (node, error) {
	r := &cborReader{rest: raw}
	if r.head(majorMap) != 2 {
		r.bad = true
	}
	r.name('e')
	var n node
	for count := r.head(majorArray); count > 0 && !r.bad; count-- {
		if r.head(majorMap) != 4 {
			r.bad = true
		}
		var e nodeEntry
		r.name('k')
		e.suffix = r.take(r.head(majorBytes))
		r.name('p')
		e.prefix = r.head(majorUint)
		r.name('t')
		e.right = r.linkOrNull()
		r.name('v')
		e.value = r.link()
		n.entries = append(n.entries, e)
	}
	r.name('l')
	n.left = r.linkOrNull()
	if r.bad || len(r.rest) > 0 {
		return node{}, fmt.Errorf("%w: not a node", errTree)
	}
	return n, nil
}

// appendNode writes a tree node.
func appendNode(out []byte, n node) []byte {
	out = append(out, "\xa2\x61e"...)
	out = appendHead(out, majorArray, len(n.entries))
	for _, e := range n.entries {
		out = append(out, "\xa4\x61k"...)
		out = append(appendHead(out, majorBytes, len(e.suffix)), e.suffix...)
		out = append(out, "\x61p"...)
		out = appendHead(out, majorUint, e.prefix)
		out = append(out, "\x61t"...)
		out = appendLink(out, e.right)
		out = append(out, "\x61v"...)
		out = appendLink(out, &e.value)
	}
	return appendLink(append(out, "\x61l"...), n.left)
}

func appendHead(out []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(out, major<<5|byte(n))
	case n < 1<<8:
		return append(out, major<<5|24, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(out, major<<5|25), uint16(n))
	}
	return binary.BigEndian.AppendUint32(append(out, major<<5|26), uint32(n))
}

func appendText(out []byte, s string) []byte {
	return append(appendHead(out, majorText, len(s)), s...)
}

func appendLink(out []byte, d *digest) []byte {
	if d == nil {
		return append(out, cborNull)
	}
	return append(append(out, linkHead...), d[:]...)
}
