package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/keyring"
)

// keyLine is a key list's line that is the same in every run.
func keyLine(n byte) string {
	key := make([]byte, keyring.KeySize)
	for i := range key {
		key[i] = n + byte(i)
	}
	return base64.StdEncoding.EncodeToString(key)
}

func mustParse(t testing.TB, lines ...string) *keyring.Ring {
	t.Helper()
	r, err := keyring.Parse(strings.Join(lines, "\n"))
	if err != nil {
		t.Fatalf("parse a good key list: %v", err)
	}
	return r
}

func TestParseTakesCommentsBlankLinesAndLineEnds(t *testing.T) {
	t.Parallel()
	text := "\ufeff# keys of this instance\r\n\r\n  " + keyLine(1) + "  # newest\r\n\n\t" + keyLine(2) + "\n# the end"
	r, err := keyring.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	want := mustParse(t, keyLine(1), keyLine(2)).IDs()
	if diff := cmp.Diff(want, r.IDs()); diff != "" {
		t.Errorf("ids (-want +got):\n%s", diff)
	}
	if r.CurrentID() != want[0] || !r.Has(want[1]) || r.Has("0000000000000000") {
		t.Errorf("CurrentID or Has is wrong for %v", r.IDs())
	}
}

func TestParseSaysWhichLineIsWrongAndHow(t *testing.T) {
	t.Parallel()
	good := keyLine(1)
	tests := []struct{ name, text, want string }{
		{"empty", "", "holds no key"},
		{"comments only", "# nothing\n\n", "holds no key"},
		{"not base64", good + "\nthis is no key!", "line 2: not base64"},
		{"hexadecimal", strings.Repeat("0a", 32), "line 1: a key of 48 bytes, want 32"},
		{"cut off", good[:40], "line 1: a key of 30 bytes, want 32"},
		{"too long", base64.StdEncoding.EncodeToString(make([]byte, 64)), "line 1: a key of 64 bytes, want 32"},
		{"no padding", strings.TrimRight(good, "="), "line 1: not base64"},
		{"two on a line", good + " " + keyLine(2), "line 1: not base64"},
		{"carriage return inside", good[:8] + "\r" + good[8:], "line 1: not base64"},
		{"twice", "# x\n" + good + "\n" + keyLine(2) + "\n" + good, "line 4: the same key as line 2"},
		{"zeros", base64.StdEncoding.EncodeToString(make([]byte, 32)), "line 1: one byte repeated"},
		{"stray bits", good[:42] + "9=", "line 1: not base64"},
		{"quoted", `"` + good + `"`, "line 1: not base64"},
		{"huge", strings.Repeat("# x\n", 1<<15), "not a key list"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := keyring.Parse(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("Parse = %v, want an error with %q", err, tt.want)
			}
			for _, word := range strings.Fields(tt.text) {
				if len(word) > 8 && strings.Contains(err.Error(), word) {
					t.Errorf("the error quotes the list: %v", err)
				}
			}
		})
	}
	if _, err := keyring.Parse(" \n"); !errors.Is(err, keyring.ErrNoKeys) {
		t.Errorf("Parse of nothing = %v, want ErrNoKeys", err)
	}
}

func TestGenerateMakesDifferentKeysThatParse(t *testing.T) {
	t.Parallel()
	a, err1 := keyring.Generate()
	b, err2 := keyring.Generate()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	if ids := mustParse(t, a, b).IDs(); a == b || ids[0] == ids[1] {
		t.Errorf("two generated keys are equal")
	}
}

func TestDeriveSeparatesPurposesAndKeys(t *testing.T) {
	t.Parallel()
	r := mustParse(t, keyLine(1), keyLine(2))
	seen := map[string]string{}
	for name, out := range map[string][]byte{
		"cursor":           r.Derive("cursor", 32),
		"another label":    r.Derive("cursors", 32),
		"empty label":      r.Derive("", 32),
		"another key":      mustParse(t, keyLine(2)).Derive("cursor", 32),
		"the key itself":   []byte(strings.Repeat("\x00", 32)),
		"with older below": nil,
	} {
		if out == nil {
			continue
		}
		if other, twice := seen[string(out)]; twice {
			t.Errorf("%s and %s are equal", name, other)
		}
		seen[string(out)] = name
	}
	if !bytes.Equal(r.Derive("cursor", 32), mustParse(t, keyLine(1)).Derive("cursor", 32)) {
		t.Error("an older key below changes what is derived")
	}
	if got := len(r.Derive("x", 100)); got != 100 {
		t.Errorf("Derive(x, 100) has %d bytes", got)
	}
}

var here = keyring.Place{Table: "oauth_session", Column: "refresh_token", Key: "1"}

func TestSealedOpensAtItsPlaceOnly(t *testing.T) {
	t.Parallel()
	r := mustParse(t, keyLine(1))
	for _, plain := range []string{"", "token", strings.Repeat("x", 100_000)} {
		sealed, err := r.Seal([]byte(plain), here)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plain)+keyring.Overhead || len(plain) > 0 && bytes.Contains(sealed, []byte(plain)) {
			t.Errorf("sealed %d bytes into %d, or left them readable", len(plain), len(sealed))
		}
		got, err := r.Open(sealed, here)
		if err != nil || string(got) != plain {
			t.Errorf("Open at its place = %d bytes, %v; want %d bytes", len(got), err, len(plain))
		}
		for name, place := range map[string]keyring.Place{
			"another row":    {"oauth_session", "refresh_token", "2"},
			"another column": {"oauth_session", "access_token", "1"},
			"another table":  {"signing_key", "refresh_token", "1"},
			"shifted parts":  {"oauth_session", "refresh_token1", ""},
			"swapped parts":  {"refresh_token", "oauth_session", "1"},
		} {
			if got, err := r.Open(sealed, place); !errors.Is(err, keyring.ErrTampered) || got != nil {
				t.Errorf("Open at %s = %q, %v; want ErrTampered", name, got, err)
			}
		}
	}
}

func TestSealingTwiceGivesDifferentBytes(t *testing.T) {
	t.Parallel()
	r := mustParse(t, keyLine(1))
	a, _ := r.Seal([]byte("token"), here)
	b, _ := r.Seal([]byte("token"), here)
	if bytes.Equal(a, b) {
		t.Error("the same text sealed twice is equal; a nonce was used twice")
	}
}

func TestEveryChangedBitIsNoticed(t *testing.T) {
	t.Parallel()
	r := mustParse(t, keyLine(1))
	sealed, err := r.Seal([]byte("token"), here)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(sealed) * 8 {
		altered := slices.Clone(sealed)
		altered[i/8] ^= 1 << (i % 8)
		if _, err := r.Open(altered, here); err == nil {
			t.Errorf("bit %d was changed, and it opened", i)
		}
	}
	for n := range sealed {
		if _, err := r.Open(sealed[:n], here); !errors.Is(err, keyring.ErrTampered) && !errors.Is(err, keyring.ErrUnknownKey) {
			t.Errorf("cut off after %d bytes: %v", n, err)
		}
	}
}

func TestRotationKeepsOldValuesReadable(t *testing.T) {
	t.Parallel()
	old := mustParse(t, keyLine(1))
	sealed, err := old.Seal([]byte("token"), here)
	if err != nil {
		t.Fatal(err)
	}
	both := mustParse(t, keyLine(2), keyLine(1))
	if got, err := both.Open(sealed, here); err != nil || string(got) != "token" {
		t.Errorf("the old value with the new key above = %q, %v", got, err)
	}
	resealed, err := both.Seal([]byte("token"), here)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]struct {
		sealed []byte
		id     string
	}{"old": {sealed, old.CurrentID()}, "resealed": {resealed, both.CurrentID()}} {
		if id, err := keyring.SealedWith(v.sealed); err != nil || id != v.id {
			t.Errorf("SealedWith(%s) = %s, %v; want %s", name, id, err, v.id)
		}
	}
	_, err = mustParse(t, keyLine(2)).Open(sealed, here)
	var unknown *keyring.UnknownKeyError
	if !errors.As(err, &unknown) || unknown.ID != old.CurrentID() || !errors.Is(err, keyring.ErrUnknownKey) {
		t.Errorf("without the old key: %v, want ErrUnknownKey with %s", err, old.CurrentID())
	}
}

// stored is a value that version 1 sealed under keyLine(1) at here.
const (
	stored      = "AT/sBsCxfTta4MrTqZv1rPjbJBfg1AJ8U8Z/93dKsNJxt/AMNTVoHmhXDUtmMn2j3sforVnzfmZlGnTWh4GlNj01B3uo"
	storedPlain = "written by version 1"
)

// The id of a key and what it opens must stay as they are: they are in databases.
func TestTheFormatIsKept(t *testing.T) {
	t.Parallel()
	r := mustParse(t, keyLine(1))
	const wantID = "3fec06c0b17d3b5a"
	if got := r.CurrentID(); got != wantID {
		t.Errorf("id of the test's key = %s, want %s", got, wantID)
	}
	sealed, err := base64.StdEncoding.DecodeString(stored)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Open(sealed, here); err != nil || string(got) != storedPlain {
		t.Errorf("Open of a stored value = %q, %v", got, err)
	}
	if got, want := fmt.Sprintf("%x", r.Derive("cursor", 8)), "e638818f9c32dae6"; got != want {
		t.Errorf("Derive(cursor, 8) = %s, want %s", got, want)
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range []string{"", keyLine(1), "# x\n" + keyLine(1) + "\r\n" + keyLine(2), keyLine(1)[:43], "\ufeff", "\x00"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := keyring.Parse(text)
		if err != nil {
			return
		}
		sealed, err := r.Seal([]byte("x"), here)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := r.Open(sealed, here); err != nil || string(got) != "x" {
			t.Errorf("a ring that parsed does not open what it sealed: %q, %v", got, err)
		}
	})
}

func FuzzOpen(f *testing.F) {
	r := mustParse(f, keyLine(1), keyLine(2))
	sealed, err := base64.StdEncoding.DecodeString(stored)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, "oauth_session", "refresh_token", "1")
	f.Add(sealed[:40], "", "", "")
	f.Add([]byte{1}, "a", "b", "c")
	f.Fuzz(func(t *testing.T, data []byte, table, column, key string) {
		at := keyring.Place{Table: table, Column: column, Key: key}
		got, err := r.Open(data, at)
		if err != nil {
			if !errors.Is(err, keyring.ErrTampered) && !errors.Is(err, keyring.ErrUnknownKey) {
				t.Errorf("Open: an error of neither sort: %v", err)
			}
			return
		}
		if at != here || !bytes.Equal(data, sealed) || string(got) != storedPlain {
			t.Errorf("Open(%x, %v) = %q; only what was sealed may open", data, at, got)
		}
	})
}
