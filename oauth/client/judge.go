package client

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/atoll-social/atoll/oauth"
)

// maxRefusal is how much of an error body is read to tell what it means, in bytes.
const maxRefusal = 64 << 10

// judge returns the error that a response amounts to, its body closed then; nil
// for a response that is the caller's, its body whole.
func (c *Client) judge(resp *http.Response, pds string) error {
	status := resp.StatusCode
	if status >= 300 && status < 400 && status != http.StatusNotModified {
		closeBody(resp)
		return &ServerError{
			Kind: ErrRedirected, URL: pds + resp.Request.URL.EscapedPath(), Status: status,
			Reason: "to " + locationHost(resp.Header.Get("Location")),
		}
	}
	if status < 400 || status >= 500 {
		return nil
	}
	refused := c.refusal(resp, peekBody(resp), pds)
	if refused == nil {
		return nil
	}
	closeBody(resp)
	return refused
}

// locationHost names where a redirect leads without its path and query.
func locationHost(location string) string {
	u, err := url.Parse(location)
	if err != nil || u.Host == "" {
		return "the same host"
	}
	return oauth.CleanDescription(u.Host)
}

// peekBody reads the beginning of a JSON body and puts it back.
func peekBody(resp *http.Response) []byte {
	if !isJSON(resp.Header) {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = failing{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	return head
}

// failing repeats the error that a body ended with.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// told is what a refusal says, from the challenge first and then the body.
type told struct {
	status      int
	code        string // of RFC 6750 and RFC 9449, or of XRPC
	description string
	scope       string
	dpop        bool // a challenge of scheme DPoP
	other       bool // a challenge of another scheme
}

func readRefusal(resp *http.Response, body []byte) told {
	t := told{status: resp.StatusCode}
	for _, ch := range challenges(resp.Header) {
		if !strings.EqualFold(ch.scheme, "DPoP") {
			t.other = true
			if t.code == "" {
				t.code, t.description = ch.params["error"], ch.params["error_description"]
			}
			continue
		}
		t.dpop = true
		t.code, t.description, t.scope = ch.params["error"], ch.params["error_description"], ch.params["scope"]
	}
	var b struct {
		Error            string `json:"error"`
		Message          string `json:"message"`
		ErrorDescription string `json:"error_description"`
	}
	if json.Unmarshal(body, &b) != nil {
		return t
	}
	if t.code == "" {
		t.code = b.Error
	}
	for _, text := range []string{b.Message, b.ErrorDescription} {
		if t.description == "" {
			t.description = text
		}
	}
	return t
}

// refusal tells what a 4xx response says about the session; nil when it says
// nothing about it.
func (c *Client) refusal(resp *http.Response, body []byte, pds string) error {
	t := readRefusal(resp, body)
	reason := t.reason()
	if reason == nil {
		return nil
	}
	e := &AccessError{Reason: reason, Status: t.status, Description: oauth.CleanDescription(t.description)}
	if t.code != "" {
		e.Code = string(oauth.CleanCode(t.code))
	}
	switch {
	case errors.Is(reason, ErrMissingScope):
		e.Missing = oauth.GrantedScopes(t.missingScope())
	case errors.Is(reason, ErrRateLimited):
		e.RetryAt = retryAt(resp.Header, c.now())
	case errors.Is(reason, ErrProofRefused) && t.speaksOf(`"iat"`, "timestamp", "clock"):
		e.Reason, e.Skew = ErrClock, c.clocks.Offset(pds)
	}
	return e
}

// reason tells refusals apart, by code where there is one and by the words of
// official servers where one code means several things. A wrong host or scheme
// is looked for before anything is taken for a missing scope.
func (t told) reason() error {
	auth := t.status == http.StatusUnauthorized || t.status == http.StatusForbidden
	switch {
	case t.status == http.StatusTooManyRequests, t.code == "RateLimitExceeded":
		return ErrRateLimited
	case t.code == string(oauth.UseDPoPNonce):
		return ErrBadNonce
	case t.code == string(oauth.InvalidDPoPProof):
		return ErrProofRefused
	case t.code == string(oauth.InvalidToken), t.code == "InvalidToken":
		return t.tokenReason()
	case t.code == "ExpiredToken":
		return ErrTokenExpired
	case t.code == string(oauth.InsufficientScope), t.code == "ScopeMissingError":
		return ErrMissingScope
	case auth && t.code == "AccountDeactivated":
		return ErrDeactivated
	case auth && (t.code == "AccountTakedown" || t.code == "AccountSuspended"):
		return ErrTakenDown
	case auth && t.code == "AccountNotFound":
		return ErrAccountGone
	case t.status == http.StatusUnauthorized && t.other && !t.dpop:
		return ErrWrongScheme
	}
	return nil
}

// tokenReason tells apart why a token was not accepted. Without a challenge of
// scheme DPoP the server took the token for one of another kind: then it is not
// the member's PDS, or does not do OAuth, whatever its words are about.
func (t told) tokenReason() error {
	switch {
	case t.speaksOf(`"exp"`, "expired"):
		return ErrTokenExpired
	case t.speaksOf("audience"), !t.dpop && t.speaksOf("bad token scope"):
		return ErrWrongHost
	case t.speaksOf("authorization type", "token type"), !t.dpop && (t.other || t.speaksOf("malformed")):
		return ErrWrongScheme
	case t.speaksOf("invalid scope"):
		return ErrMissingScope
	case t.speaksOf("key binding"):
		return ErrProofRefused
	}
	return ErrRevoked
}

// speaksOf reports whether the description contains any of the phrases.
func (t told) speaksOf(phrases ...string) bool {
	text := strings.ToLower(t.description)
	for _, p := range phrases {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

// missingScope returns the scopes that a refusal names: in the challenge, or
// quoted in the message as official servers do.
func (t told) missingScope() string {
	if t.scope != "" {
		return t.scope
	}
	_, after, ok := strings.Cut(t.description, `scope "`)
	if !ok {
		return ""
	}
	quoted, _, _ := strings.Cut(after, `"`)
	return quoted
}
