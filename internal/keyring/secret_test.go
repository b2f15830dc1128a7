package keyring_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/atoll-social/atoll/internal/keyring"
)

const canary = "canary-5f2c91"

// holder has a Secret wherever one may be, unexported fields included: fmt
// cannot call methods of those.
type holder struct {
	Public  keyring.Secret
	private keyring.Secret
	Pointer *keyring.Secret
	List    []keyring.Secret
	Map     map[string]keyring.Secret
	Any     any
}

func newHolder() holder {
	s := keyring.NewSecret(canary)
	return holder{s, s, &s, []keyring.Secret{s}, map[string]keyring.Secret{"k": s}, s}
}

func TestSecretIsRedactedInEveryWayOfPrinting(t *testing.T) {
	t.Parallel()
	values := map[string]any{
		"secret": keyring.NewSecret(canary), "pointer": newHolder().Pointer, "struct": newHolder(), "struct pointer": pointer(newHolder()),
	}
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T %v", "%p", "%10.3s", "%!"} {
			if got := fmt.Sprintf(strings.ReplaceAll(verb, "%T ", "%[1]T %[1]"), v); strings.Contains(got, canary) || strings.Contains(got, fmt.Sprintf("%x", canary)) {
				t.Errorf("%s with %s prints the secret: %s", name, verb, got)
			}
		}
		for _, got := range []string{fmt.Sprint(v), fmt.Sprintln(v), fmt.Errorf("x: %v", v).Error()} {
			if strings.Contains(got, canary) {
				t.Errorf("%s prints the secret: %s", name, got)
			}
		}
		for format, got := range encodings(t, v) {
			if strings.Contains(got, canary) {
				t.Errorf("%s as %s holds the secret: %s", name, format, got)
			}
		}
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if got := fmt.Sprintf(verb, keyring.NewSecret(canary)); got != keyring.Redacted {
			t.Errorf("%s prints %q, want %q", verb, got, keyring.Redacted)
		}
	}
}

// encodings is v in every format that the program writes.
func encodings(t *testing.T, v any) map[string]string {
	t.Helper()
	out := map[string]string{}
	for name, handler := range map[string]func(*bytes.Buffer) slog.Handler{
		"slog text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"slog JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	} {
		var b bytes.Buffer
		slog.New(handler(&b)).Info("x", "key", v, slog.Group("group", "key", v))
		out[name] = b.String()
	}
	for name, marshal := range map[string]func(any) ([]byte, error){
		"JSON": json.Marshal, "TOML": toml.Marshal, "XML": xml.Marshal,
	} {
		text, err := marshal(map[string]any{"key": v})
		if err != nil && name == "JSON" {
			t.Errorf("marshal as JSON: %v", err)
		}
		out[name] = string(text)
	}
	return out
}

func TestSecretInJSONAndTOMLIsReplacedNotLeftOut(t *testing.T) {
	t.Parallel()
	v := struct{ Password keyring.Secret }{keyring.NewSecret(canary)}
	asJSON, err := json.Marshal(v)
	if want := `{"Password":"[redacted]"}`; err != nil || string(asJSON) != want {
		t.Errorf("JSON = %s, %v; want %s", asJSON, err, want)
	}
	asTOML, err := toml.Marshal(v)
	if want := "Password = '[redacted]'\n"; err != nil || string(asTOML) != want {
		t.Errorf("TOML = %s, %v; want %s", asTOML, err, want)
	}
}

func TestSecretIsReadFromTOML(t *testing.T) {
	t.Parallel()
	var v struct{ Password keyring.Secret }
	if err := toml.Unmarshal([]byte(`Password = "`+canary+`"`), &v); err != nil {
		t.Fatal(err)
	}
	if got := v.Password.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
}

func TestSecretComparesByText(t *testing.T) {
	t.Parallel()
	a, b, c := keyring.NewSecret("x"), keyring.NewSecret("x"), keyring.NewSecret("y")
	if !a.Equal(b) || a.Equal(c) || a.Equal(keyring.Secret{}) {
		t.Error("Equal does not compare the text")
	}
	if !keyring.NewSecret("").IsZero() || a.IsZero() || (keyring.Secret{}).Reveal() != "" {
		t.Error("IsZero or Reveal of the empty secret is wrong")
	}
}

func TestRingAndItsErrorsPrintIdsOnly(t *testing.T) {
	t.Parallel()
	line, err := keyring.Generate()
	if err != nil {
		t.Fatal(err)
	}
	r, err := keyring.Parse(line)
	if err != nil {
		t.Fatal(err)
	}
	want := "keyring[" + r.CurrentID() + "]"
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x"} {
		for _, v := range []any{r, *r} {
			if got := fmt.Sprintf(verb, v); got != want {
				t.Errorf("%s of a %T prints %s, want %s", verb, v, got, want)
			}
		}
		if got := fmt.Sprintf(verb, struct{ r *keyring.Ring }{r}); strings.Contains(got, line) {
			t.Errorf("%s of a struct with a ring prints the key: %s", verb, got)
		}
	}
	var b bytes.Buffer
	slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "ring", r)
	if !strings.Contains(b.String(), want) {
		t.Errorf("slog writes %s, want %s in it", b.String(), want)
	}
	if !errors.Is(&keyring.UnknownKeyError{ID: "x"}, keyring.ErrUnknownKey) {
		t.Error("UnknownKeyError is not ErrUnknownKey")
	}
}

func pointer[T any](v T) *T { return &v }
