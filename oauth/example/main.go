// Command example signs in from a terminal, says who that is, and signs out:
//
//	go run ./oauth/example [-plc http://localhost:PORT] HANDLE|DID|SERVER-URL
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/oauth/client"
	"github.com/atoll-social/atoll/oauth/client/memstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	plc := flag.String("plc", identity.DefaultPLCURL, "PLC directory")
	flag.Parse()
	if err := run(ctx, os.Stdout, *plc, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, plc, who string) error {
	callback, query, err := listen(ctx)
	if err != nil {
		return err
	}
	web := &http.Client{Timeout: 20 * time.Second} // a server needs one that refuses private addresses
	c, err := client.New(client.Config{
		RedirectURIs: []string{callback}, Scope: "atproto", HTTP: web, AllowLoopback: true,
		Directory: &identity.BaseDirectory{PLCURL: plc, HTTPClient: *web, TryAuthoritativeDNS: true},
		Attempts:  memstore.NewAttempts(10, nil), Sessions: memstore.NewSessions(),
	})
	if err != nil {
		return err
	}
	params := client.StartParams{Server: who}
	if !strings.Contains(who, "://") {
		params = client.StartParams{Account: syntax.AtIdentifier(strings.TrimPrefix(who, "@")).Normalize()}
	}
	started, err := c.Start(ctx, params)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "Open in a browser on this machine:", started.URL)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case q := <-query:
		data, _, err := c.Callback(ctx, q, nil)
		if err != nil {
			return err
		}
		return show(ctx, out, c, data)
	}
}

// show calls the member's PDS with the session, and ends it.
func show(ctx context.Context, out io.Writer, c *client.Client, data *client.SessionData) error {
	session, err := c.Session(ctx, data.ID)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, data.PDS+"/xrpc/com.atproto.server.getSession", nil)
	if err != nil {
		return err
	}
	resp, err := session.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Signed in as %s: %s %s\n", session.DID(), resp.Status, text)
	return c.Revoke(ctx, data)
}

// listen serves the callback on a free port and hands on its query.
func listen(ctx context.Context) (address string, query chan url.Values, err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	query = make(chan url.Values)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		query <- r.URL.Query()
		fmt.Fprintln(w, "Done. You can close this window.")
	})
	go func() { _ = (&http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}).Serve(listener) }()
	return "http://" + listener.Addr().String() + "/callback", query, nil
}
