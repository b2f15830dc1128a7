package httpserver

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificate follows the files of a certificate, which are replaced every few
// weeks while the server runs.
type certificate struct {
	certFile, keyFile string
	logger            *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	looked  time.Time // when the files were last looked at
	changed time.Time // the newer of their times when they were read
}

// lookEvery is how often a handshake looks at the files' times.
const lookEvery = time.Minute

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(), nil },
	}
}

// load reads the files.
func (c *certificate) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.read()
}

func (c *certificate) read() error {
	c.looked = time.Now()
	changed, err := newest(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.certFile, err)
	}
	c.current, c.changed = &pair, changed
	return nil
}

// get returns the certificate, read again if its files changed. Files that
// cannot be read, perhaps being written just now, leave the one in use.
func (c *certificate) get() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) < lookEvery {
		return c.current
	}
	c.looked = time.Now()
	changed, err := newest(c.certFile, c.keyFile)
	if err == nil && changed.Equal(c.changed) {
		return c.current
	}
	if err := c.read(); err != nil {
		c.logger.Warn("certificate not renewed", "error", err)
		return c.current
	}
	c.logger.Info("certificate renewed")
	return c.current
}

func newest(files ...string) (time.Time, error) {
	var t time.Time
	for _, name := range files {
		info, err := os.Stat(name)
		if err != nil {
			return t, err
		}
		if info.ModTime().After(t) {
			t = info.ModTime()
		}
	}
	return t, nil
}
