package client

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
)

// maxBuffered is how much of a body without GetBody is kept for a repetition,
// in bytes.
const maxBuffered = 1 << 20

// replayBody is a request body that can be sent more than once if at all
// possible. The transport closes what attach gives out.
type replayBody struct {
	again func() (io.ReadCloser, error) // nil: too long to be kept
	once  io.ReadCloser                 // the only reading of such a body
	size  int64
}

func newReplayBody(req *http.Request) (*replayBody, error) {
	switch {
	case req.Body == nil || req.Body == http.NoBody:
		return &replayBody{again: func() (io.ReadCloser, error) { return http.NoBody, nil }}, nil
	case req.GetBody != nil:
		closeRequest(req) // every reading is a new one
		return &replayBody{again: req.GetBody, size: req.ContentLength}, nil
	}
	head, err := io.ReadAll(io.LimitReader(req.Body, maxBuffered+1))
	if err != nil {
		return nil, fmt.Errorf("read request body: %w", err)
	}
	if len(head) > maxBuffered {
		once := struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), req.Body), req.Body}
		return &replayBody{once: once, size: req.ContentLength}, nil
	}
	closeRequest(req)
	again := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(head)), nil }
	return &replayBody{again: again, size: int64(len(head))}, nil
}

func (b *replayBody) replayable() bool { return b.again != nil }

// attach gives out a fresh reading of the body.
func (b *replayBody) attach(out *http.Request) error {
	out.GetBody, out.ContentLength = b.again, b.size
	if b.again == nil {
		out.Body = b.once
		return nil
	}
	body, err := b.again()
	out.Body = body
	return err
}
