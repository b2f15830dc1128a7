package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/atoll-social/atoll/internal/fault"
)

func TestReadFormRefusesWhatNobodyTypes(t *testing.T) {
	t.Parallel()
	const good = "application/x-www-form-urlencoded"
	tests := []struct{ name, kind, body, want string }{
		{"plain", good, "a=b%20c", "b c"},
		{"charset", good + "; charset=utf-8", "a=%C3%BC", "ü"},
		{"lines", good, "a=one%0D%0Atwo%0Athree%09.", "one\ntwo\nthree\t."},
		{"json", "application/json", `{"a":"b"}`, ""},
		{"multipart", "multipart/form-data; boundary=x", "--x--", ""},
		{"no type", "", "a=b", ""},
		{"bad escape", good, "a=%zz", ""},
		{"not UTF-8", good, "a=%ff%fe", ""},
		{"overlong UTF-8", good, "a=%c0%af", ""},
		{"zero byte", good, "a=x%00y", ""},
		{"escape character", good, "a=%1b%5b31m", ""},
		{"lone return", good, "a=x%0Dy", ""},
		{"delete", good, "a=%7f", ""},
		{"C1 control", good, "a=%C2%85", ""},
		{"control in a name", good, "a=b&%00=c", ""},
		{"twice", good, "a=b&a=c", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/x?a=query", strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.kind)
			form, err := readForm(httptest.NewRecorder(), r, 1000)
			if tt.want == "" {
				if err == nil || fault.KindOf(err) != fault.Invalid {
					t.Errorf("readForm(%q) = %v, %v; want an invalid fault", tt.body, form, err)
				}
				return
			}
			if err != nil || form.Get("a") != tt.want {
				t.Errorf("readForm(%q) = %q, %v; want %q", tt.body, form.Get("a"), err, tt.want)
			}
		})
	}
}

func TestReadFormStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/x", strings.NewReader("a="+strings.Repeat("x", 100)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	_, err := readForm(httptest.NewRecorder(), r, 50)
	var tooLarge *http.MaxBytesError
	if !errors.As(err, &tooLarge) {
		t.Errorf("readForm(102 bytes, limit 50) = %v, want MaxBytesError", err)
	}
}
