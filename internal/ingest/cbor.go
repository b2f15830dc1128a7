package ingest

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
)

// maxNesting bounds recursion. The data model allows 32 levels of containers;
// a link adds one for its tag.
const maxNesting = atdata.MAX_CBOR_NESTED_LEVELS + 1

// newDecMode makes the decoder for everything a stream sends. It refuses what
// DAG-CBOR has no room for: indefinite lengths, keys that come twice or are no
// text, integers beyond 64 bits, undefined.
func newDecMode() (cbor.DecMode, error) {
	simple, err := cbor.NewSimpleValueRegistryFromDefaults(cbor.WithRejectedSimpleValue(cbor.SimpleValue(23)))
	if err != nil {
		return nil, fmt.Errorf("CBOR simple values: %w", err)
	}
	mode, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		MaxNestedLevels:   maxNesting,
		IntDec:            cbor.IntDecConvertSignedOrFail,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		UTF8:              cbor.UTF8DecodeInvalid, // index refuses it by name
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		TimeTag:           cbor.DecTagIgnored,
		TimeTagToAny:      cbor.TimeTagToRFC3339Nano,
		BignumTag:         cbor.BignumTagForbidden,
		SimpleValues:      simple,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("CBOR decoder: %w", err)
	}
	return mode, nil
}

// link is a CID in DAG-CBOR: tag 42 around a zero byte and the binary CID.
type link struct{ cid cid.Cid }

// linkTag is the CBOR tag of a CID (DAG-CBOR specification, Links).
const linkTag = 42

// UnmarshalCBOR implements cbor.Unmarshaler.
func (l *link) UnmarshalCBOR(data []byte) error {
	var tag cbor.RawTag
	if err := cbor.Unmarshal(data, &tag); err != nil {
		return err
	}
	var raw []byte
	if err := cbor.Unmarshal(tag.Content, &raw); err != nil {
		return err
	}
	c, err := toLink(tag.Number, raw)
	l.cid = c
	return err
}

func toLink(tag uint64, content any) (cid.Cid, error) {
	raw, ok := content.([]byte)
	if tag != linkTag || !ok || len(raw) < 2 || raw[0] != 0 || len(raw) > atdata.MAX_CID_BYTES {
		return cid.Undef, errors.New("not a link")
	}
	c, err := cid.Cast(raw[1:])
	if err != nil {
		return cid.Undef, fmt.Errorf("not a link: %w", err)
	}
	return c, nil
}

// decodeRecord reads one record's DAG-CBOR as the types of atdata.
func decodeRecord(mode cbor.DecMode, data []byte) (map[string]any, error) {
	if len(data) > atdata.MAX_CBOR_RECORD_SIZE {
		return nil, errors.New("record is too large")
	}
	var raw map[string]any
	if err := mode.Unmarshal(data, &raw); err != nil {
		return nil, err
	}
	if raw == nil {
		return nil, errors.New("record is null")
	}
	v, err := toData(raw)
	if err != nil {
		return nil, err
	}
	record, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("record is a blob")
	}
	return record, nil
}

// toData converts what the decoder makes to the types of the data model.
func toData(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, string, int64:
		return v, nil
	case []byte:
		return atdata.Bytes(v), nil
	case cbor.Tag:
		c, err := toLink(v.Number, v.Content)
		return atdata.CIDLink(c), err
	case []any:
		for i, e := range v {
			d, err := toData(e)
			if err != nil {
				return nil, err
			}
			v[i] = d
		}
		return v, nil
	case map[string]any:
		return toObject(v)
	}
	return nil, fmt.Errorf("%T has no place in a record", v) // floats above all
}

func toObject(m map[string]any) (any, error) {
	for key, e := range m {
		if len(key) > atdata.MAX_OBJECT_KEY_LEN {
			return nil, errors.New("key is too long")
		}
		d, err := toData(e)
		if err != nil {
			return nil, err
		}
		m[key] = d
	}
	if m["$type"] == "blob" {
		return toBlob(m)
	}
	return m, nil
}

func toBlob(m map[string]any) (any, error) {
	ref, isLink := m["ref"].(atdata.CIDLink)
	mime, isText := m["mimeType"].(string)
	size, isInt := m["size"].(int64)
	if len(m) != 4 || !isLink || !isText || !isInt || size < 0 || size > math.MaxInt32 {
		return nil, errors.New("malformed blob")
	}
	return atdata.Blob{Ref: ref, MimeType: mime, Size: size}, nil
}
