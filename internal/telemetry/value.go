package telemetry

import (
	"bytes"
	"encoding"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
)

const redacted = "[redacted]"

// maxDepth bounds how deep values are followed.
const maxDepth = 8

// secretWords make a key secret, wherever they stand in it.
var secretWords = []string{
	"password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "credential",
	"assertion", "verifier", "apikey", "privatekey", "signingkey", "masterkey", "dpop", "proof", "jwk",
	"bearer", "email", "nsec", "invitecode", "authcode",
}

// plainEndings say that a key with a secret word names something about the
// secret and not the secret itself: token_endpoint, dpop_bound, cookie_count.
var plainEndings = []string{"endpoint", "type", "count", "kind", "bound", "uri", "keyid", "server", "expires", "expiresat", "expiresin"}

// joints are what words of a key are joined by.
var joints = strings.NewReplacer("_", "", "-", "", ".", "", " ", "")

// isSecretKey reports whether values under key are never logged. Case,
// hyphens, underscores and dots don't matter.
func isSecretKey(key string) bool {
	key = joints.Replace(strings.ToLower(key))
	for _, ending := range plainEndings {
		if strings.HasSuffix(key, ending) {
			return false
		}
	}
	for _, word := range secretWords {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// cleanAttr redacts a. secret says that it stands below a secret key.
func cleanAttr(a slog.Attr, secret bool, depth int) slog.Attr {
	return slog.Attr{Key: Redact(a.Key), Value: cleanValue(a.Value, secret || isSecretKey(a.Key), depth)}
}

// cleanValue redacts v. Numbers, times and truth values below a secret key
// stay: they count secrets or say when they end.
func cleanValue(v slog.Value, secret bool, depth int) slog.Value {
	v = v.Resolve()
	switch v.Kind() {
	case slog.KindBool, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindDuration, slog.KindTime:
		return v
	case slog.KindGroup:
		if depth >= maxDepth {
			return slog.StringValue(redacted)
		}
		attrs := v.Group()
		clean := make([]slog.Attr, len(attrs))
		for i, a := range attrs {
			clean[i] = cleanAttr(a, secret, depth+1)
		}
		return slog.GroupValue(clean...)
	case slog.KindString:
		if secret && v.String() != "" {
			return slog.StringValue(redacted)
		}
		return slog.StringValue(Redact(v.String()))
	}
	if v.Any() == nil {
		return v
	}
	if secret {
		return slog.StringValue(redacted)
	}
	return cleanAny(v.Any())
}

// cleanAny redacts a value of any type by way of the text that it would be
// logged as. What has no text of its own goes through its JSON form, where
// keys are known.
func cleanAny(v any) (clean slog.Value) {
	defer func() {
		if p := recover(); p != nil { // a nil receiver, most likely
			clean = slog.StringValue(fmt.Sprintf("!PANIC in %T", v))
		}
	}()
	switch v := v.(type) {
	case error:
		return slog.StringValue(Redact(v.Error()))
	case fmt.Stringer:
		return slog.StringValue(Redact(v.String()))
	case []byte:
		return slog.StringValue(fmt.Sprintf("[%d bytes]", len(v)))
	case encoding.TextMarshaler:
		text, err := v.MarshalText()
		if err != nil {
			return slog.StringValue(fmt.Sprintf("!ERROR in %T", v))
		}
		return slog.StringValue(Redact(string(text)))
	case bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, float32, float64:
		return slog.AnyValue(v)
	}
	return cleanStructure(v)
}

func cleanStructure(v any) slog.Value {
	if text := reflect.ValueOf(v); text.Kind() == reflect.String {
		return slog.StringValue(Redact(text.String()))
	}
	text, err := json.Marshal(v)
	if err != nil {
		return slog.StringValue(Redact(fmt.Sprintf("%+v", v)))
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var tree any
	if err := decoder.Decode(&tree); err != nil {
		return slog.StringValue(fmt.Sprintf("!ERROR in %T", v))
	}
	if text, err = json.Marshal(cleanTree(tree, false)); err != nil {
		return slog.StringValue(fmt.Sprintf("!ERROR in %T", v))
	}
	return slog.StringValue(Redact(string(text)))
}

// cleanTree redacts decoded JSON.
func cleanTree(v any, secret bool) any {
	switch v := v.(type) {
	case map[string]any:
		clean := make(map[string]any, len(v))
		for key, value := range v {
			clean[Redact(key)] = cleanTree(value, secret || isSecretKey(key))
		}
		return clean
	case []any:
		for i, value := range v {
			v[i] = cleanTree(value, secret)
		}
		return v
	case string:
		if secret && v != "" {
			return redacted
		}
		return Redact(v)
	}
	return v
}
