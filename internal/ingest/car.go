package ingest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/ipfs/go-cid"
)

// cidHead begins every CID that a repository uses for records: version 1,
// DAG-CBOR, SHA-256, 32 bytes of digest (AT Protocol data model).
const cidHead = "\x01\x71\x12\x20"

const cidSize = len(cidHead) + sha256.Size

var errCAR = errors.New("malformed CAR")

// block finds the data of one block in a CAR (version 1) and checks it against
// its CID. It reads in place: nothing that a length field claims is allocated.
// ok is false when the block is missing or is not what its CID says.
func block(car []byte, want cid.Cid) (data []byte, ok bool, err error) {
	key := want.Bytes()
	if len(key) != cidSize || !bytes.HasPrefix(key, []byte(cidHead)) {
		return nil, false, nil
	}
	_, rest, err := section(car) // the header names the roots, which are not needed here
	if err != nil {
		return nil, false, err
	}
	for len(rest) > 0 {
		var s []byte
		if s, rest, err = section(rest); err != nil {
			return nil, false, err
		}
		if bytes.HasPrefix(s, key) {
			data = s[len(key):]
			sum := sha256.Sum256(data)
			return data, bytes.Equal(sum[:], key[len(cidHead):]), nil
		}
	}
	return nil, false, nil
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
