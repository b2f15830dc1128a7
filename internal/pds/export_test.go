package pds

import (
	"bytes"
	"io"
	"net/http"
	"time"
)

// ReadError reads an error answer as a call would.
func ReadError(status int, body []byte, retryAfter string, now time.Time) *Error {
	c := &Client{now: func() time.Time { return now }}
	return c.readError(&http.Response{
		StatusCode: status,
		Header:     http.Header{"Retry-After": {retryAfter}},
		Body:       io.NopCloser(bytes.NewReader(body)),
	})
}
