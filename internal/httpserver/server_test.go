package httpserver_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/httpserver"
)

// running is a server in the background.
type running struct {
	*httpserver.Server
	stop func()       // begins the stop
	done <-chan error // what Run returned
}

func run(t *testing.T, cfg httpserver.Config) running {
	t.Helper()
	cfg.Listen, cfg.Logger = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	server, err := httpserver.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended, done := make(chan struct{}), make(chan error, 1)
	go func() { defer close(ended); done <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return running{server, cancel, done}
}

// clientFor speaks only the given protocol.
func clientFor(t *testing.T, set func(*http.Protocols)) *http.Client {
	t.Helper()
	protocols := new(http.Protocols)
	set(protocols)
	transport := &http.Transport{Protocols: protocols}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

var protocols = map[string]func(*http.Protocols){
	"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
	"HTTP/2.0": func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) },
}

func TestOnePortSpeaksBothProtocols(t *testing.T) {
	t.Parallel()
	s := run(t, httpserver.Config{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})})
	for proto, set := range protocols {
		resp, err := clientFor(t, set).Get("http://" + s.Addr().String())
		if err != nil {
			t.Fatalf("GET by %s = %v", proto, err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if string(body) != proto {
			t.Errorf("GET by %s was served as %s", proto, body)
		}
	}
}

// The order of the stop: not ready, then no new connections, while requests
// under way finish, then Run returns.
func TestAStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	for proto, set := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			entered, release := make(chan struct{}), make(chan struct{})
			readiness := httpserver.NewReadiness(slog.New(slog.DiscardHandler), nil)
			s := run(t, httpserver.Config{Readiness: readiness, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				<-release
				if r.Context().Err() != nil {
					t.Error("the request's context ended with the stop")
				}
				_, _ = io.WriteString(w, "finished")
			})})
			address := "http://" + s.Addr().String()
			answer := make(chan string, 1)
			client := clientFor(t, set)
			go func() {
				resp, err := client.Get(address)
				if err != nil {
					answer <- err.Error()
					return
				}
				defer resp.Body.Close()
				body, _ := io.ReadAll(resp.Body)
				answer <- string(body)
			}()
			<-entered
			s.stop()
			waitUntilRefused(t, s)
			if status, _ := ask(t, readiness, "/readyz"); status != http.StatusServiceUnavailable {
				t.Errorf("/readyz during the stop = %d, want 503", status)
			}
			select {
			case err := <-s.done:
				t.Fatalf("Run returned %v before the request had finished", err)
			default:
			}
			close(release)
			if got := <-answer; got != "finished" {
				t.Errorf("request under way at the stop = %q, want it finished", got)
			}
			if err := <-s.done; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
		})
	}
}

// waitUntilRefused returns when the port takes no new connection.
func waitUntilRefused(t *testing.T, s running) {
	t.Helper()
	address := s.Addr().String()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		_ = conn.Close()
		<-time.After(time.Millisecond)
	}
	t.Fatal("the port still takes connections after the stop began")
}

func TestRequestsBeyondTheBudgetAreCutOff(t *testing.T) {
	t.Parallel()
	for proto, set := range protocols {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			entered, ended := make(chan struct{}), make(chan struct{})
			s := run(t, httpserver.Config{Drain: 20 * time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				close(entered)
				<-r.Context().Done() // a stream that never ends by itself
				close(ended)
			})})
			client, address := clientFor(t, set), "http://"+s.Addr().String()
			left := make(chan struct{})
			go func() {
				defer close(left)
				if resp, err := client.Get(address); err == nil {
					_ = resp.Body.Close()
				}
			}()
			<-entered
			s.stop()
			if err := <-s.done; err != nil {
				t.Errorf("Run = %v, want nil", err)
			}
			<-ended
			<-left
		})
	}
}

func TestAPortInUseIsReported(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server, err := httpserver.New(httpserver.Config{
		Listen: taken.Addr().String(), Handler: http.NotFoundHandler(), Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	if server.Probe(t.Context()) == nil || server.Addr() != nil {
		t.Error("a server that does not listen says it does")
	}
	if err := server.Run(t.Context()); err == nil || !strings.Contains(err.Error(), taken.Addr().String()) {
		t.Errorf("Run on a port in use = %v, want an error that names it", err)
	}
}

func TestServerConfigIsChecked(t *testing.T) {
	t.Parallel()
	logger, handler := slog.New(slog.DiscardHandler), http.NotFoundHandler()
	for _, cfg := range []httpserver.Config{
		{Handler: handler}, {Logger: logger}, {Handler: handler, Logger: logger, TLSCert: "x"},
		{Handler: handler, Logger: logger, TLSKey: "x"},
	} {
		if _, err := httpserver.New(cfg); err == nil {
			t.Errorf("New(%+v) succeeded", cfg)
		}
	}
	server, err := httpserver.New(httpserver.Config{Handler: handler, Logger: logger, TLSCert: "/none/cert", TLSKey: "/none/key"})
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Listen(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Listen with a missing certificate = %v, want os.ErrNotExist", err)
	}
}

// writeCertificate writes a certificate for 127.0.0.1 with the given serial
// number, as if issued at a time of its own.
func writeCertificate(t *testing.T, dir string, serial int64) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
		issued := time.Unix(1_700_000_000+serial, 0)
		if err := os.Chtimes(name, issued, issued); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, key, pool
}

func TestACertificateIsServedByBothProtocols(t *testing.T) {
	t.Parallel()
	cert, key, pool := writeCertificate(t, t.TempDir(), 1)
	s := run(t, httpserver.Config{TLSCert: cert, TLSKey: key, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	})})
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: http2}
		resp, err := (&http.Client{Transport: transport}).Get("https://" + s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
		if (string(body) == "HTTP/2.0") != http2 {
			t.Errorf("GET with http2 %t was served as %s", http2, body)
		}
	}
}
