package oauth

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Code is an error code of OAuth 2.0 or one of its extensions. Codes are
// errors themselves, so that callers branch with errors.Is(err, oauth.InvalidGrant).
type Code string

// The codes, each with the specification that defines it. Clients meet all of
// them; servers add their own, which compare by text like these.
const (
	InvalidRequest          Code = "invalid_request"           // RFC 6749, 5.2
	InvalidClient           Code = "invalid_client"            // RFC 6749, 5.2
	InvalidGrant            Code = "invalid_grant"             // RFC 6749, 5.2
	UnauthorizedClient      Code = "unauthorized_client"       // RFC 6749, 5.2
	UnsupportedGrantType    Code = "unsupported_grant_type"    // RFC 6749, 5.2
	InvalidScope            Code = "invalid_scope"             // RFC 6749, 5.2
	AccessDenied            Code = "access_denied"             // RFC 6749, 4.1.2.1
	UnsupportedResponseType Code = "unsupported_response_type" // RFC 6749, 4.1.2.1
	ServerError             Code = "server_error"              // RFC 6749, 4.1.2.1
	TemporarilyUnavailable  Code = "temporarily_unavailable"   // RFC 6749, 4.1.2.1
	InvalidToken            Code = "invalid_token"             // RFC 6750, 3.1
	InsufficientScope       Code = "insufficient_scope"        // RFC 6750, 3.1
	UnsupportedTokenType    Code = "unsupported_token_type"    // RFC 7009, 2.2.1
	InvalidRequestURI       Code = "invalid_request_uri"       // RFC 9101, 7
	InvalidDPoPProof        Code = "invalid_dpop_proof"        // RFC 9449, 5
	UseDPoPNonce            Code = "use_dpop_nonce"            // RFC 9449, 8
	InvalidClientMetadata   Code = "invalid_client_metadata"   // RFC 7591, 3.2.2
	InvalidRedirectURI      Code = "invalid_redirect_uri"      // RFC 7591, 3.2.2
	LoginRequired           Code = "login_required"            // OpenID Connect Core, 3.1.2.6
	ConsentRequired         Code = "consent_required"          // OpenID Connect Core, 3.1.2.6
	InteractionRequired     Code = "interaction_required"      // OpenID Connect Core, 3.1.2.6
	AccountSelection        Code = "account_selection_required"
)

// Error returns the code itself.
func (c Code) Error() string { return string(c) }

// Error is an error answer of OAuth: of an authorization server to a client,
// or one that a server is about to send. errors.Is(err, code) compares Code.
type Error struct {
	// Code is one of the constants, or a code of the server's own.
	Code Code
	// Description is the server's error_description: text from outside, for
	// developers. CleanDescription has cut and sanitised it.
	Description string
	// Status is the HTTP status of the answer; zero where there was none, such
	// as for an error that came back through the browser.
	Status int
}

// Error returns code, status and description in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(string(e.Code))
	if e.Status != 0 {
		b.WriteString(" (" + strconv.Itoa(e.Status) + ")")
	}
	if e.Description != "" {
		b.WriteString(": " + e.Description)
	}
	return b.String()
}

// Is reports whether target is e's code.
func (e *Error) Is(target error) bool {
	code, ok := target.(Code)
	return ok && code == e.Code
}

// maxDescription bounds what is kept of text from outside, in bytes.
const maxDescription = 300

// CleanDescription makes text of another server fit for a log line: valid
// UTF-8, no control characters, 300 bytes at most.
func CleanDescription(text string) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || r == utf8.RuneError || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, truncate(text, maxDescription))
	return strings.TrimSpace(clean)
}

// CleanCode makes the error code of another server fit for comparing and
// logging; anything that RFC 6749 (5.2) does not allow in a code, or that is
// longer than 64 bytes, becomes "unknown_error".
func CleanCode(text string) Code {
	if text == "" || len(text) > 64 {
		return "unknown_error"
	}
	for _, c := range []byte(text) {
		if c < 0x20 || c > 0x7e || c == '"' || c == '\\' {
			return "unknown_error"
		}
	}
	return Code(text)
}

// truncate cuts s to at most n bytes without splitting a character.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
