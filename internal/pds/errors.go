package pds

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/atoll-social/atoll/internal/egress"
	"github.com/atoll-social/atoll/internal/fault"
)

const (
	maxError   = 16 << 10       // bytes of an error's body that are read
	maxMessage = 300            // characters of a server's words that are kept
	maxWait    = 24 * time.Hour // the longest window of the official server
)

var (
	// ErrUnreachable marks a call to which no whole answer came.
	ErrUnreachable = errors.New("PDS is unreachable")
	// ErrBadAnswer marks an answer that no PDS would give.
	ErrBadAnswer = errors.New("PDS gave an unusable answer")
	// ErrRecordNotFound matches an *Error that says there is no such record.
	ErrRecordNotFound = errors.New("record not found")
	// ErrSwap matches an *Error that says that the record was not in the state
	// that the write depended on.
	ErrSwap = errors.New("record has changed meanwhile")
)

// Error is an answer with which the server refuses a call (AT Protocol XRPC
// specification, error responses).
type Error struct {
	Status  int    // of HTTP, 400 and up
	Name    string // such as InvalidRequest; empty when the server gave none
	Message string // the server's words, made safe to show; may be empty
	// RetryAfter is how long to wait; zero when the server does not say.
	RetryAfter time.Duration
}

// Error returns the text for the log.
func (e *Error) Error() string {
	text := fmt.Sprintf("PDS answered with status %d", e.Status)
	if e.Name != "" {
		text += " " + e.Name
	}
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// Is makes the error match ErrRecordNotFound and ErrSwap by the server's names
// for them.
func (e *Error) Is(target error) bool {
	return target == ErrRecordNotFound && e.Name == "RecordNotFound" || target == ErrSwap && e.Name == "InvalidSwap"
}

// Limited reports that the server wants fewer requests.
func (e *Error) Limited() bool {
	return e.Status == http.StatusTooManyRequests || e.Name == "RateLimitExceeded"
}

var errorName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,100}$`)

// readError takes from an answer what can be trusted to be an error of a PDS.
// A page of HTML or an empty body leaves only the status.
func (c *Client) readError(res *http.Response) *Error {
	e := &Error{Status: res.StatusCode, RetryAfter: retryAfter(res, c.now())}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxError))
	if err != nil {
		return e
	}
	var said struct {
		Name    string `json:"error"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) != nil {
		return e
	}
	if errorName.MatchString(said.Name) {
		e.Name = said.Name
	}
	e.Message = showable(said.Message)
	return e
}

// showable makes a server's words safe for a page and a log line.
func showable(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	runes := make([]rune, 0, maxMessage)
	for _, r := range s {
		if unicode.Is(unicode.Cf, r) { // direction marks could turn the sentence around
			continue
		}
		if len(runes) == maxMessage {
			return string(runes) + "…"
		}
		runes = append(runes, r)
	}
	return string(runes)
}

// retryAfter reads when to come back: Retry-After in seconds or as a date
// (RFC 9110), or else RateLimit-Reset, which official servers send as a Unix
// time and others as seconds. The latter comes with good answers as well and
// only means something with status 429.
func retryAfter(res *http.Response, now time.Time) time.Duration {
	wait := func(value string) time.Duration {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			if date, err := http.ParseTime(value); err == nil {
				return date.Sub(now)
			}
			return 0
		}
		if n > 1_000_000_000 && n < 1_000_000_000_000 { // a moment since 2001, no number of seconds
			return time.Unix(n, 0).Sub(now)
		}
		return time.Duration(min(n, int64(maxWait/time.Second))) * time.Second
	}
	d := wait(res.Header.Get("Retry-After"))
	if d <= 0 && res.StatusCode == http.StatusTooManyRequests {
		d = wait(res.Header.Get("RateLimit-Reset"))
	}
	return max(0, min(d, maxWait))
}

// Unclear reports that a write may have happened although err came back, so
// that it must be looked up before it is tried again.
func Unclear(err error) bool {
	var (
		refused *Error
		blocked *egress.BlockedError
		op      *net.OpError
	)
	switch {
	case err == nil, errors.Is(err, egress.ErrHostDown), errors.As(err, &blocked):
		return false
	case errors.As(err, &op) && op.Op == "dial":
		return false
	case errors.As(err, &refused):
		return refused.Status >= 500
	default:
		return errors.Is(err, ErrUnreachable) || errors.Is(err, ErrBadAnswer) ||
			errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
	}
}

// Fault turns an error of this package into one that a person may be shown.
// Other errors become internal ones; Fault(nil) is nil.
func Fault(err error) *fault.Error {
	var refused *Error
	switch {
	case errors.As(err, &refused):
		return refused.fault(err)
	case errors.Is(err, ErrBadAnswer):
		return fault.Wrap(fault.Unavailable, err, "The server that keeps the account's data answered in a way that makes no sense. "+
			"Please try again later; if it stays like this, its operator should know.")
	case errors.Is(err, ErrUnreachable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fault.Wrap(fault.Unavailable, err, "The server that keeps the account's data does not answer. Please try again in a minute.")
	default:
		return fault.From(err)
	}
}

func (e *Error) fault(cause error) *fault.Error {
	words := "."
	if e.Message != "" {
		words = ": “" + e.Message + "”"
	}
	switch {
	case e.Limited():
		return fault.Wrap(fault.Limited, cause, "The server that keeps the account's data takes no more for now. Please try again later.").After(e.RetryAfter)
	case e.Status >= 500:
		return fault.Wrap(fault.Unavailable, cause, "The server that keeps the account's data has a problem. Please try again in a minute.").After(e.RetryAfter)
	case errors.Is(e, ErrRecordNotFound):
		return fault.Wrap(fault.NotFound, cause, "There is no such record.")
	case e.Status == http.StatusUnauthorized:
		return fault.Wrap(fault.Unauthenticated, cause, "The server that keeps the account's data wants you to sign in again.")
	case e.Status == http.StatusForbidden:
		return fault.Wrap(fault.Forbidden, cause, "The server that keeps the account's data does not allow this"+words)
	default:
		return fault.Wrap(fault.Invalid, cause, "The server that keeps the account's data refused this"+words)
	}
}
