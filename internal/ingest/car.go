package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
)

// cidHead begins every CID that a repository uses: version 1, DAG-CBOR,
// SHA-256, 32 bytes of digest (AT Protocol data model).
const cidHead = "\x01\x71\x12\x20"

const cidSize = len(cidHead) + sha256.Size

var errCAR = errors.New("malformed CAR")

// digest names a block: what a CID says beyond cidHead.
type digest [sha256.Size]byte

// digestOf reads a CID. ok is false for kinds that repositories do not use.
func digestOf(c cid.Cid) (d digest, ok bool) {
	raw := c.KeyString()
	if len(raw) != cidSize || raw[:len(cidHead)] != cidHead {
		return digest{}, false
	}
	return digest([]byte(raw[len(cidHead):])), true
}

// cid is the CID of the block.
func (d digest) cid() cid.Cid {
	c, err := cid.Cast(append([]byte(cidHead), d[:]...))
	if err != nil {
		panic(err) // the head is a constant
	}
	return c
}

// blocks are the blocks of a CAR, not yet checked against their CIDs.
type blocks map[digest][]byte

// get returns a block that is what its CID says.
func (b blocks) get(d digest) (data []byte, ok bool) {
	data, ok = b[d]
	return data, ok && sha256.Sum256(data) == d
}

// readCAR lists the blocks of a CAR (version 1). It reads in place: nothing
// that a length field claims is allocated.
func readCAR(car []byte) (blocks, error) {
	_, rest, err := section(car) // the header names the roots, which a commit's event names itself
	if err != nil {
		return nil, err
	}
	out := blocks{}
	for len(rest) > 0 {
		var s []byte
		if s, rest, err = section(rest); err != nil {
			return nil, err
		}
		if d, data, ok := cutCID(s); ok {
			out[d] = data
		}
	}
	return out, nil
}

// cutCID splits a section into the CID and the block. ok is false for CIDs
// that repositories do not use.
func cutCID(s []byte) (d digest, data []byte, ok bool) {
	if len(s) < cidSize || !bytes.HasPrefix(s, []byte(cidHead)) {
		return digest{}, nil, false
	}
	return digest(s[len(cidHead):cidSize]), s[cidSize:], true
}

// section cuts the next length-prefixed section off.
func section(car []byte) (s, rest []byte, err error) {
	n, used := binary.Uvarint(car)
	if used <= 0 || n == 0 || n > uint64(len(car)-used) {
		return nil, nil, errCAR
	}
	end := used + int(n)
	return car[used:end], car[end:], nil
}

// carRoot reads the root that a CAR's header names.
func carRoot(mode cbor.DecMode, header []byte) (digest, error) {
	var head struct {
		Version int64  `cbor:"version"`
		Roots   []link `cbor:"roots"`
	}
	if err := mode.Unmarshal(header, &head); err != nil || head.Version != 1 || len(head.Roots) == 0 {
		return digest{}, errCAR
	}
	d, ok := digestOf(head.Roots[0].cid)
	if !ok {
		return digest{}, errCAR
	}
	return d, nil
}
