package network

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// Front answers https for every name of the network on one loopback port, with a certificate of its own, so that a real
// browser meets the servers and the application under their https names.
type Front struct {
	// Addr it listens on, "127.0.0.1:PORT".
	Addr string
	// Certificate is what it presents, for clients that want to trust it by a pool.
	Certificate *x509.Certificate

	server *http.Server
}

// Front starts a TLS front that ends with the test. It follows [Network.MapHost] as it goes.
func (n *Network) Front(t testing.TB) *Front {
	t.Helper()
	f, err := n.openFront()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.server.Close() })
	return f
}

func (n *Network) openFront() (*Front, error) {
	certificate, err := selfSigned("*.atoll-tests.net", "*.pds1.atoll-tests.net", "*.pds2.atoll-tests.net")
	if err != nil {
		return nil, fmt.Errorf("make certificate: %w", err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open TLS front: %w", err)
	}
	f := &Front{Addr: listener.Addr().String(), Certificate: certificate.Leaf}
	f.server = &http.Server{
		Handler:           n.forward(),
		TLSConfig:         &tls.Config{Certificates: []tls.Certificate{certificate}},
		ReadHeaderTimeout: 10 * time.Second,
		// A browser that closes connections early is no news.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError),
	}
	go func() { _ = f.server.ServeTLS(listener, "", "") }()
	return f, nil
}

// forward sends a request on by its Host header, as the reverse proxy in front of a real server does.
func (n *Network) forward() http.Handler {
	return &httputil.ReverseProxy{
		Transport: n.Transport(),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: r.In.Host})
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			http.Error(w, "the local network does not answer for "+r.Host+": "+err.Error(), http.StatusBadGateway)
		},
	}
}

// ResolverRules is the value of chromium's flag --host-resolver-rules that leads every name of the network here, and
// every other name nowhere.
func (f *Front) ResolverRules() string {
	rules := []string{"MAP *.atoll-tests.net " + f.Addr, "EXCLUDE 127.0.0.1", "EXCLUDE localhost", "MAP * ~NOTFOUND"}
	return strings.Join(rules, ", ")
}

// KeyHash is the value of chromium's flag --ignore-certificate-errors-spki-list that trusts this front and nobody else.
// The flag needs a --user-data-dir.
func (f *Front) KeyHash() string {
	sum := sha256.Sum256(f.Certificate.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// selfSigned makes a certificate that signs itself, good for a day.
func selfSigned(names ...string) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "Atoll test network"},
		DNSNames:     names,
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA:         true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, err
}
