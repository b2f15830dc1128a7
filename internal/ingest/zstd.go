package ingest

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

// newUnpack makes what decompresses frames with a dictionary, nil without one.
// What a frame unpacks to is bounded as frames are; more is dropped, and so is
// what cannot be unpacked.
func newUnpack(dictionary []byte, most int64) (func(frame []byte) ([]byte, error), error) {
	if len(dictionary) == 0 {
		return nil, nil //nolint:nilnil // documented: none
	}
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dictionary), zstd.WithDecoderMaxMemory(uint64(most)),
		zstd.WithDecodeAllCapLimit(false), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, fmt.Errorf("ingest: dictionary of Jetstream: %w", err)
	}
	return func(frame []byte) ([]byte, error) {
		out, err := decoder.DecodeAll(frame, nil)
		switch {
		case errors.Is(err, zstd.ErrDecoderSizeExceeded) || errors.Is(err, zstd.ErrWindowSizeExceeded):
			return nil, dropped(reasonOversize, fmt.Errorf("frame of more than %d bytes when unpacked", most))
		case err != nil:
			return nil, dropped(reasonFrame, err)
		}
		return out, nil
	}, nil
}
