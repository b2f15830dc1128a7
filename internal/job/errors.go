package job

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

var (
	// ErrNotFound says that there is no such job (any more).
	ErrNotFound = errors.New("no such job")
	// ErrLost says that a worker's lease was taken by somebody else, or that the
	// job was cancelled: what it did must not be saved.
	ErrLost = errors.New("the lease of the job is lost")
	// ErrArgs refuses arguments that are too large or no JSON.
	ErrArgs = errors.New("arguments of a job must be JSON of 64 KiB at most")
	// ErrState says that the job is in a state in which this cannot be done.
	ErrState = errors.New("the job's state does not allow this")
)

// parked is an error of Park.
type parked struct {
	until time.Time
	cause error
}

// Park makes the error with which a worker says that it was told to come back:
// by a rate limit, or by a server that is away. It does not count as an attempt.
func Park(until time.Time, cause error) error { return &parked{until, cause} }

// Error says until when, and why.
func (p *parked) Error() string {
	return fmt.Sprintf("parked until %s: %v", p.until.UTC().Format(time.RFC3339), p.cause)
}

// Unwrap returns the cause.
func (p *parked) Unwrap() error { return p.cause }

// discarded is an error of Discard.
type discarded struct{ cause error }

// Discard makes the error with which a worker says that the job can never be
// done: it is not tried again.
func Discard(cause error) error { return &discarded{cause} }

// Error is the cause's text.
func (d *discarded) Error() string { return fmt.Sprintf("discarded: %v", d.cause) }

// Unwrap returns the cause.
func (d *discarded) Unwrap() error { return d.cause }

// maxErrorText is how many bytes of an error are kept.
const maxErrorText = 2000

// errorText is err as it is stored.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	text := strings.ReplaceAll(strings.ToValidUTF8(err.Error(), "?"), "\x00", "?")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + " …"
	}
	return text
}
