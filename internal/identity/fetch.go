package identity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/atoll-social/atoll/internal/egress"
)

var errTooLarge = errors.New("answer is too large")

// fetch returns status and body of an answer of at most limit bytes. host,
// where given, is sent as the Host header.
func (d *Directory) fetch(ctx context.Context, url, host string, limit int64) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("make request for %s: %w", url, err)
	}
	req.Host = host
	res, err := d.cfg.HTTP.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case errors.Is(err, egress.ErrTooLarge), err == nil && int64(len(body)) > limit:
		return 0, nil, fmt.Errorf("%s: %w: over %d bytes", url, errTooLarge, limit)
	case err != nil:
		return 0, nil, fmt.Errorf("read answer of %s: %w", url, err)
	}
	return res.StatusCode, body, nil
}

// unreached is the reason for an error of fetch that is not about size.
func unreached(err error) error {
	var blocked *egress.BlockedError
	if errors.As(err, &blocked) {
		return ErrBlocked
	}
	return ErrUnavailable
}

func noSuchName(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}
