package ingest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// keptBuffer is how large a buffer may be that is used again.
const keptBuffer = 64 << 10

// dialTimeout bounds connecting, up to the answer to the upgrade.
const dialTimeout = 30 * time.Second

var (
	errSilence = errors.New("the host said nothing for too long")
	errNoPong  = errors.New("the host does not answer a ping")
)

// socket reads frames from one connection.
type socket struct {
	conn   *websocket.Conn
	limits Limits
	want   websocket.MessageType
	// unpack decompresses binary frames; nil where there are none.
	unpack func(frame []byte) ([]byte, error)
	// waiting is since when a frame is being waited for, in nanoseconds; zero
	// while one is being handled, however long that takes.
	waiting atomic.Int64
	gone    atomic.Pointer[error]
	// buffer holds the frame that was read last.
	buffer bytes.Buffer
}

// dial connects. With a subprotocol, the host must agree to it.
func dial(ctx context.Context, client *http.Client, address, subprotocol string, want websocket.MessageType, limits Limits) (*socket, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	options := &websocket.DialOptions{HTTPClient: client}
	if subprotocol != "" {
		options.Subprotocols = []string{subprotocol}
	}
	//nolint:bodyclose // the package keeps what is left of a refused upgrade; otherwise the body is the connection
	conn, res, err := websocket.Dial(dialing, address, options)
	if err != nil {
		if res != nil && res.StatusCode != 0 {
			return nil, fmt.Errorf("connect (status %d): %w", res.StatusCode, refusedUpgrade(res, err))
		}
		return nil, fmt.Errorf("connect: %w", err)
	}
	conn.SetReadLimit(-1) // read sees to that, without losing the connection
	if conn.Subprotocol() != subprotocol {
		_ = conn.CloseNow()
		return nil, fmt.Errorf("connect: the host does not speak %s", subprotocol)
	}
	return &socket{conn: conn, limits: limits, want: want}, nil
}

// refusedUpgrade is the reason that a host gives for refusing a stream, where
// it gives one.
func refusedUpgrade(res *http.Response, err error) error {
	var said infoBody
	if json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&said) != nil || said.Error == "" {
		return err
	}
	return &infoError{Name: short(said.Error), Message: short(said.Message), Final: true}
}

// read returns the next frame; text stays as it is until the next read only. One
// that is too large is read past and comes back as a *dropError; the next frame
// is not affected. It returns when the connection is closed, not when ctx ends: to
// watch that for each frame would cost as much as to read it.
func (s *socket) read(ctx context.Context) ([]byte, error) {
	s.waiting.Store(time.Now().UnixNano())
	defer s.waiting.Store(0)
	kind, r, err := s.conn.Reader(context.Background())
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	if s.buffer.Cap() > keptBuffer {
		s.buffer = bytes.Buffer{}
	}
	s.buffer.Reset()
	_, err = s.buffer.ReadFrom(io.LimitReader(r, s.limits.Frame+1))
	frame := s.buffer.Bytes()
	if err == nil && int64(len(frame)) > s.limits.Frame {
		if _, err = io.Copy(io.Discard, r); err == nil {
			return nil, dropped(reasonOversize, fmt.Errorf("frame over %d bytes", s.limits.Frame))
		}
	}
	if err != nil {
		return nil, s.failure(ctx, err)
	}
	if kind == websocket.MessageBinary && s.unpack != nil {
		return s.unpack(frame)
	}
	if kind != s.want {
		return nil, dropped(reasonFrame, fmt.Errorf("%s frame", kind))
	}
	if kind == websocket.MessageBinary {
		frame = bytes.Clone(frame)
	}
	return frame, nil
}

// failure says why a read ended.
func (s *socket) failure(ctx context.Context, err error) error {
	if gone := s.gone.Load(); gone != nil {
		return *gone
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return fmt.Errorf("read: %w", err)
}

// watch ends the connection to a host that says nothing for too long, and asks
// one that is silent whether it is still there, until ctx ends.
func (s *socket) watch(ctx context.Context) {
	ticker := time.NewTicker(min(s.limits.Ping, s.limits.Silence) / 2)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		since := s.waiting.Load()
		if since == 0 {
			continue
		}
		silent := time.Since(time.Unix(0, since))
		if silent >= s.limits.Silence {
			s.end(&errSilence)
			return
		}
		if silent < s.limits.Ping {
			continue
		}
		asking, cancel := context.WithTimeout(ctx, s.limits.Pong)
		err := s.conn.Ping(asking)
		cancel()
		if err != nil && ctx.Err() == nil && s.waiting.Load() == since {
			s.end(&errNoPong)
			return
		}
	}
}

// end closes the connection for a reason.
func (s *socket) end(why *error) {
	s.gone.Store(why)
	s.close()
}

// close ends the connection at once; a read that waits returns.
func (s *socket) close() { _ = s.conn.CloseNow() }
