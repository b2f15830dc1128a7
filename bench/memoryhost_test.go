package bench

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // what RFC 6455 demands
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// memoryHost is a client whose every connection leads to a Jetstream host in
// memory: no kernel and no other party take part in what is measured. The host
// waits for begin and then sends messages, which next returns one after the other
// until it returns none. They leave in packets of 64 KiB, and with an empty message.
func memoryHost(begin <-chan struct{}, next func() []byte) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				if serveFrames(there, begin, next) == nil {
					_, _ = io.Copy(io.Discard, there) // until the client has had enough
				}
			}()
			return here, nil
		},
	}}
}

func serveFrames(conn net.Conn, begin <-chan struct{}, next func() []byte) error {
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return err
	}
	// RFC 6455, section 4.2.2.
	sum := sha1.Sum([]byte(request.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	_, err = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:]))
	if err != nil {
		return err
	}
	<-begin
	to := bufio.NewWriterSize(conn, 64<<10)
	for message := next(); message != nil; message = next() {
		if len(message) == 0 {
			if err := to.Flush(); err != nil {
				return err
			}
			continue
		}
		// Section 5.2: one final text frame, its length in two bytes.
		head := binary.BigEndian.AppendUint16([]byte{0x81, 126}, uint16(len(message)))
		if _, err := to.Write(append(head, message...)); err != nil {
			return err
		}
	}
	return to.Flush()
}
