package plain_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/plain"
)

func TestObject(t *testing.T) {
	t.Parallel()
	type read struct {
		Text string
		N    int64
		Any  string
	}
	for _, tt := range []struct {
		name, data string
		want       read
		ok         bool
	}{
		{"everything", ` { "text" : "did:plc:x" , "n" : -12 , "any" : {"a":[1,2.5e-3,"é\u00e9\n",null,true]} } `,
			read{"did:plc:x", -12, `{"a":[1,2.5e-3,"é\u00e9\n",null,true]}`}, true},
		{"nothing", `{}`, read{}, true},
		{"an unknown key", `{"other":1}`, read{}, false},
		{"text with an escape", `{"text":"a\u0062"}`, read{}, false},
		{"text that is not ASCII", `{"text":"é"}`, read{}, false},
		{"text that does not end", `{"text":"a`, read{}, false},
		{"a number with a fraction", `{"n":1.0}`, read{}, false},
		{"a number with an exponent", `{"n":1E2}`, read{}, false},
		{"a number with a zero in front", `{"n":01}`, read{}, false},
		{"a number that is too long", `{"n":1234567890123456789}`, read{}, false},
		{"no number", `{"n":-}`, read{}, false},
		{"a comma at the end", `{"n":1,}`, read{}, false},
		{"something after it", `{"n":1} x`, read{}, false},
		{"a list", `[]`, read{}, false},
		{"too deep", `{"any":` + strings.Repeat("[", 65) + strings.Repeat("]", 65) + `}`, read{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var got read
			s := plain.New([]byte(tt.data))
			ok := s.Object(func(key []byte) (ok bool) {
				var text []byte
				switch string(key) {
				case "text":
					text, ok = s.Text()
					got.Text = string(text)
				case "n":
					got.N, ok = s.Integer()
				case "any":
					text, ok = s.Value()
					got.Any = string(text)
				}
				return ok
			}) && s.End()
			if ok != tt.ok {
				t.Fatalf("accepted: %v, want %v", ok, tt.ok)
			}
			if diff := cmp.Diff(tt.want, got); ok && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzValue holds that what is accepted is JSON, and that only depth keeps
// JSON from being accepted.
func FuzzValue(f *testing.F) {
	for _, seed := range []string{`{"a":[1,-0.5e+3,"\ud83d\\",{}],"b":null}`, `[1,]`, `"\x"`, `-`, `01`, `1.`, `.5`, `1e`, "\"\x01\"", `{"a" 1}`, `nul`, `tru`, ` [ ] `, `""x`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if !utf8.Valid(data) || strings.Count(string(data), "[")+strings.Count(string(data), "{") > 60 {
			return
		}
		s := plain.New(data)
		_, ok := s.Value()
		if ok = ok && s.End(); ok != json.Valid(data) {
			t.Errorf("%q: accepted: %v, JSON: %v", data, ok, json.Valid(data))
		}
	})
}

// FuzzInteger holds that numbers are what encoding/json reads.
func FuzzInteger(f *testing.F) {
	for _, seed := range []string{"0", "-1", "-0", "1e3", "00", "99999999999999999999", " 7 "} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		s := plain.New([]byte(data))
		n, ok := s.Integer()
		var want int64
		if ok && s.End() && (json.Unmarshal([]byte(data), &want) != nil || n != want) {
			t.Errorf("%q is %d, want %d", data, n, want)
		}
	})
}
