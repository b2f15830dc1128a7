package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Config describes one listener and what is served there.
type Config struct {
	// Name tells listeners apart in the log; empty means "http".
	Name string
	// Listen is host:port; port 0 takes a free one, see Addr.
	Listen string
	// TLSCert and TLSKey are PEM files, both or neither. They are read again
	// when they change. Without them the listener speaks plain HTTP/1 and
	// HTTP/2 with prior knowledge, for a reverse proxy in front.
	TLSCert, TLSKey string
	Handler         http.Handler
	Logger          *slog.Logger
	// Readiness is told first when the server stops; nil is fine.
	Readiness *Readiness
	// Lame is how long the server goes on accepting after it has reported not
	// to be ready, for a load balancer to notice. Zero stops at once.
	Lame time.Duration
	// Drain is the budget for requests under way; default 20 s. What is not
	// done by then is cut off.
	Drain time.Duration
}

// Limits against slow and greedy clients. There is no timeout for bodies and
// answers here, so that streams are possible: see Timeouts.
const (
	readHeaderTimeout = 10 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
	maxStreams        = 128
)

// Server serves one listener.
type Server struct {
	cfg      Config
	cert     *certificate // nil without TLS
	mu       sync.Mutex
	listener net.Listener
}

// New checks cfg. It neither listens nor reads the certificate.
func New(cfg Config) (*Server, error) {
	if cfg.Handler == nil || cfg.Logger == nil {
		return nil, errors.New("http server: handler and logger are required")
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return nil, errors.New("http server: a certificate needs its key, and a key its certificate")
	}
	if cfg.Name == "" {
		cfg.Name = "http"
	}
	if cfg.Drain == 0 {
		cfg.Drain = 20 * time.Second
	}
	cfg.Logger = cfg.Logger.With("component", "httpserver", "listener", cfg.Name)
	s := &Server{cfg: cfg}
	if cfg.TLSCert != "" {
		s.cert = &certificate{certFile: cfg.TLSCert, keyFile: cfg.TLSKey, logger: cfg.Logger}
	}
	return s, nil
}

// Listen opens the port, so that Addr is known and a port in use is reported
// before anything else starts. Run does it when it has not been done.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	if s.cert != nil {
		if err := s.cert.load(); err != nil {
			return err
		}
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.cfg.Listen, err)
	}
	s.listener = listener
	return nil
}

// Addr returns the address listened on, nil before Listen.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Probe is for Readiness: it fails before Listen and after the stop.
func (s *Server) Probe(context.Context) error {
	if s.Addr() == nil {
		return errors.New("not listening")
	}
	return nil
}

// Run serves until ctx ends, then stops in order: report not ready, stop
// accepting, let requests under way finish within the budget, cut off the
// rest. It returns nil when stopped, else why serving ended.
func (s *Server) Run(ctx context.Context) error {
	if err := s.Listen(ctx); err != nil {
		return err
	}
	// Requests outlive ctx: it ends when the stop begins, not when it is over.
	requests, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	srv := s.server(requests)
	served := make(chan error, 1)
	go func() { served <- s.serve(srv) }()
	s.cfg.Logger.InfoContext(ctx, "listening", "addr", s.Addr().String(), "tls", s.cert != nil)
	select {
	case err := <-served:
		s.closed()
		return fmt.Errorf("serve %s: %w", s.cfg.Listen, err)
	case <-ctx.Done():
	}
	s.stop(requests, srv)
	<-served
	return nil
}

func (s *Server) server(requests context.Context) *http.Server {
	srv := &http.Server{
		Handler:           s.cfg.Handler,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return requests },
		// Broken handshakes and the like: strangers can cause any number.
		ErrorLog:  slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
		Protocols: new(http.Protocols),
		HTTP2:     &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: time.Minute, WriteByteTimeout: time.Minute},
	}
	srv.Protocols.SetHTTP1(true)
	if s.cert != nil {
		srv.Protocols.SetHTTP2(true)
		srv.TLSConfig = s.cert.config()
	} else {
		srv.Protocols.SetUnencryptedHTTP2(true)
	}
	return srv
}

func (s *Server) serve(srv *http.Server) error {
	if s.cert != nil {
		return srv.ServeTLS(s.listener, "", "")
	}
	return srv.Serve(s.listener)
}

func (s *Server) stop(ctx context.Context, srv *http.Server) {
	if s.cfg.Readiness != nil {
		s.cfg.Readiness.Stop()
	}
	if s.cfg.Lame > 0 {
		time.Sleep(s.cfg.Lame)
	}
	drain, cancel := context.WithTimeout(ctx, s.cfg.Drain)
	defer cancel()
	if err := srv.Shutdown(drain); err != nil {
		s.cfg.Logger.WarnContext(ctx, "requests cut off", "budget", s.cfg.Drain, "error", err)
		_ = srv.Close() // its error is that of connections already broken
	}
	s.closed()
	s.cfg.Logger.InfoContext(ctx, "stopped")
}

func (s *Server) closed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = nil
}
