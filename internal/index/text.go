package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/atdata"
)

// maxDepth is how deep a record may nest: the data model's own limit, which
// also bounds the recursion here.
const maxDepth = atdata.MAX_CBOR_NESTED_LEVELS

// errText names what no text of a record may hold: PostgreSQL cannot store
// U+0000, and both engines are to hold the same.
var errText = errors.New("U+0000 or bad UTF-8")

// checkText walks a record and refuses text that cannot be stored.
func checkText(v any, depth int) error {
	if depth > maxDepth {
		return errors.New("nested too deep")
	}
	switch v := v.(type) {
	case string:
		return checkString(v)
	case atdata.Blob:
		return checkString(v.MimeType)
	case []any:
		for _, e := range v {
			if err := checkText(e, depth+1); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, e := range v {
			if err := errors.Join(checkString(key), checkText(e, depth+1)); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkString(s string) error {
	if strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) {
		return errText
	}
	return nil
}

// encode writes a record as the JSON of the data model: keys sorted, nothing
// escaped that JSON does not demand. The same record gives the same bytes,
// whether it came as CBOR from a stream or as JSON from a member.
func encode(record map[string]any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(record); err != nil {
		return nil, fmt.Errorf("encode record: %w", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
