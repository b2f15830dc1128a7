package telemetry

import (
	"regexp"
	"strings"
)

// maxText is how much of one text is looked at and kept, in bytes.
const maxText = 16 << 10

// Redact replaces in text what looks like a secret: JWTs and other tokens,
// values of Authorization, DPoP and Cookie headers, private keys, user names
// and passwords in addresses, values named as secret in queries, JSON and
// struct dumps, and e-mail addresses. It rather takes too much: public names
// of 43 and more mixed characters fall too. Text over 16 KiB is cut.
func Redact(text string) string {
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	lower := strings.ToLower(text)
	for _, rule := range rules {
		if rule.applies(text, lower) {
			text = rule.pattern.ReplaceAllStringFunc(text, rule.replace)
		}
	}
	return text
}

// rule replaces one kind of secret. applies is a quick test that spares most
// texts the pattern; it sees the text also in lower case.
type rule struct {
	applies func(text, lower string) bool
	pattern *regexp.Regexp
	replace func(match string) string
}

// rules run in this order: those that take most come first.
var rules = []rule{
	{containsAny("private key"), regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END [A-Z ]*-----|$)`), with(redacted)},
	{containsAny("cookie"), cookiePattern, redactCookie},
	{containsAny("authorization"), authorizationPattern, redactAuthorization},
	// JWTs and JWEs, also cut ones: base64url of an opening brace.
	{containsAny("eyj", "eya", "ewo", "ewp", "ew0", "ewk"),
		regexp.MustCompile(`(?:eyJ|eyA|ewo|ewp|ew0|ewk)[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*`), with(redacted)},
	{containsAny("dpop", "bearer", "basic"), schemePattern, redactScheme},
	// Cookies by name: those with a prefix, and ours in development.
	keep(`(?i)((?:__host-|__secure-|\batoll-)[\w.-]+\s*=\s*)[^;\s"']+`, "__host-", "__secure-", "atoll-"),
	// Tokens and codes of the official servers, app passwords, Nostr keys.
	{containsAny("tok-", "ref-", "cod-", "req-", "ses-", "dev-"),
		regexp.MustCompile(`\b(?:tok|ref|cod|req|ses|dev)-[0-9A-Za-z]{12,}`), with(redacted)},
	{longerThan(18), regexp.MustCompile(`\b[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}-[a-z2-7]{4}\b`), with(redacted)},
	{containsAny("nsec1"), regexp.MustCompile(`(?i)nsec1[a-z0-9]{10,}`), with(redacted)},
	// user:password@ in addresses.
	{containsAny("://"), regexp.MustCompile(`://[^\s/?#"']+@`), with("://" + redacted + "@")},
	{containsAny("@", "%40"), regexp.MustCompile(
		`(?i)(?:[\p{L}\p{N}._%+'!-]+|"[^"\r\n]*")(?:@|%40)(?:[\p{L}\p{N}-]+\.)+(?:xn--[a-z0-9-]+|\p{L}{2,})`), with("[e-mail]")},
	// Parameters that are secret only in a query or a form of the sign-in.
	keep(`(?i)((?:^|[?&#\s"'])(?:code|state|request_uri|nonce|login_hint)=)[^&\s"'#]+`,
		"code=", "state=", "request_uri=", "nonce=", "login_hint="),
	{containsAny(textNames...), namedPattern, redactNamed},
	// Keys as base64, also of the URL alphabet.
	{longerThan(42), regexp.MustCompile(`[A-Za-z0-9+/]{43}=`), with(redacted)},
	{longerThan(42), regexp.MustCompile(`(?:did:key:)?[A-Za-z0-9_-]{43,}`), redactRun},
}

func containsAny(words ...string) func(string, string) bool {
	return func(_, lower string) bool {
		for _, word := range words {
			if strings.Contains(lower, word) {
				return true
			}
		}
		return false
	}
}

func longerThan(n int) func(string, string) bool {
	return func(text, _ string) bool { return len(text) > n }
}

func with(replacement string) func(string) string {
	return func(string) string { return replacement }
}

// keep makes a rule that leaves what the pattern's first group matched.
func keep(pattern string, words ...string) rule {
	compiled := regexp.MustCompile(pattern)
	return rule{containsAny(words...), compiled, func(match string) string {
		return compiled.FindStringSubmatch(match)[1] + redacted
	}}
}

var cookiePattern = regexp.MustCompile(`(?im)((?:set-)?cookie2?\\*["'\]]*\s?[:=]\s*)([^\r\n]+)`)

// redactCookie takes the rest of a line that has a cookie's form, name=value,
// and leaves errors such as "device cookie: not found".
func redactCookie(match string) string {
	parts := cookiePattern.FindStringSubmatch(match)
	if !strings.Contains(parts[2], "=") {
		return match
	}
	return parts[1] + redacted
}

var authorizationPattern = regexp.MustCompile(`(?im)((?:proxy-)?authorization\\*["'\]]*\s?[:=]\s*)([^\r\n]+)`)

// redactAuthorization takes the rest of a line, unless it is prose.
func redactAuthorization(match string) string {
	parts := authorizationPattern.FindStringSubmatch(match)
	for word := range strings.FieldsSeq(parts[2]) {
		if !isWord(word) {
			return parts[1] + redacted
		}
	}
	return match
}

var schemePattern = regexp.MustCompile(`(?i)\b(dpop|bearer|basic)(\s+)([A-Za-z0-9._~+/=-]+)`)

// redactScheme takes the value of "DPoP …", but leaves sentences such as "DPoP
// proof missing" alone.
func redactScheme(match string) string {
	parts := schemePattern.FindStringSubmatch(match)
	if isWord(parts[3]) {
		return match
	}
	return parts[1] + parts[2] + redacted
}

// isWord tells prose from credentials: a short word of lower-case letters.
func isWord(s string) bool {
	s = strings.TrimRight(s, ".,:;!?")
	return len(s) <= 14 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz-") == ""
}

// textNames are the names whose values are taken out of running text.
var textNames = []string{
	"password", "passwd", "passphrase", "secret", "token", "assertion", "verifier", "credential",
	"api_key", "api-key", "apikey", "private_key", "private-key", "privatekey", "dpop", "email",
}

// namedPattern finds name=value, name:value and "name": "value", escaped quotes
// too. Groups: the name with its quotes, the separator, the blank, the value.
var namedPattern = regexp.MustCompile(`(?i)([\w-]*(?:` + strings.Join(textNames, "|") + `)[\w-]*\\*["']?)(\s?[:=])(\s*)(` +
	`\[[^\]\r\n]*|` + // a list
	`\\+"(?:[^"\\]|\\+[^"\\])*|` + // quoted inside of a quoted text
	`"(?:[^"\\]|\\.)*|'[^']*|` +
	`[^\s"',;&}\]]+)`)

// redactNamed takes the value, except after "name: " when it is a plain word,
// as in "refresh token: connection refused".
func redactNamed(match string) string {
	parts := namedPattern.FindStringSubmatch(match)
	name, separator, blank, value := parts[1], parts[2], parts[3], parts[4]
	bare := strings.TrimRight(name, `\"'`)
	prose := bare == name && strings.HasSuffix(separator, ":") && blank != "" && isWord(value)
	if prose || !isSecretKey(bare) {
		return match
	}
	opening := value[:len(value)-len(strings.TrimLeft(value, `[\"'`))]
	if strings.TrimSuffix(value, "]") == opening+"redacted" {
		return match // by an earlier rule or pass
	}
	return name + separator + blank + opening + redacted
}

// redactRun takes a long run of upper and lower case: key material of 32 bytes
// or more. CIDs and hashes have one case and stay, as do public keys in the
// form did:key.
func redactRun(run string) string {
	mixed := strings.ToLower(run) != run && strings.ToUpper(run) != run
	if !mixed || strings.HasPrefix(run, "did:key:") {
		return run
	}
	return redacted
}
