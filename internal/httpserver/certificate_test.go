package httpserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// renewed writes a certificate with serial and returns the PEM of its key.
func renew(t *testing.T, c *certificate, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, c.certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), serial)
	write(t, c.keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), serial)
}

func write(t *testing.T, name string, content []byte, age int64) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Unix(age, 0), time.Unix(age, 0)); err != nil {
		t.Fatal(err)
	}
}

// A certificate renewed on disk is served within a minute; while its files do
// not fit together, the old one stays.
func TestARenewedCertificateIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := &certificate{
			certFile: filepath.Join(dir, "cert.pem"), keyFile: filepath.Join(dir, "key.pem"),
			logger: slog.New(slog.DiscardHandler),
		}
		serial := func() int64 { return c.get().Leaf.SerialNumber.Int64() }
		renew(t, c, 1)
		if err := c.load(); err != nil {
			t.Fatal(err)
		}
		renew(t, c, 2)
		if got := serial(); got != 1 {
			t.Errorf("serial at once = %d, want 1: files are not looked at for every handshake", got)
		}
		time.Sleep(lookEvery)
		if got := serial(); got != 2 {
			t.Errorf("serial after a minute = %d, want 2", got)
		}
		write(t, c.certFile, []byte("half a fi"), 3)
		time.Sleep(lookEvery)
		if got := serial(); got != 2 {
			t.Errorf("serial with a broken file = %d, want 2", got)
		}
		renew(t, c, 4)
		time.Sleep(lookEvery)
		if got := serial(); got != 4 {
			t.Errorf("serial after the repair = %d, want 4", got)
		}
	})
}
