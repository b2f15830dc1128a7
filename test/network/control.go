package network

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// AppHost makes up a host name for an application under test, app-xxxxxxxx.atoll-tests.net: an ordinary public name as
// OAuth demands of a confidential client, that exists nowhere. Every test takes a new one, because a PDS keeps
// client metadata and keys for ten minutes by their address.
func AppHost() string { return "app-" + letters(8) + ".atoll-tests.net" }

// Name makes up the name of an account, at most 18 characters as a PDS wants it, that no other test has.
// At most 9 characters of prefix are kept; it must begin with a letter.
func Name(prefix string) string { return prefix[:min(len(prefix), 9)] + "-" + letters(8) }

func letters(n int) string { return strings.ToLower(rand.Text()[:n]) }

// MapHost tells the PDSes, and [Network.Route] in this process, that https://host is served in plain http at addr
// ("127.0.0.1:PORT"). A host that begins with a dot stands for every name below it.
// An empty addr takes the name away again. It may be called again when a program under test moves to another port.
func (n *Network) MapHost(ctx context.Context, host, addr string) error {
	var value any
	if addr != "" {
		value = addr
	}
	if err := n.control(ctx, "/hosts", map[string]any{host: value}); err != nil {
		return fmt.Errorf("map %s to %s: %w", host, addr, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if addr == "" {
		delete(n.hosts, host)
	} else {
		n.hosts[host] = addr
	}
	return nil
}

// SetUp lets a PDS, by its index, go away (nothing listens, every connection is cut, its data stays) and come back.
// Only for a network of one's own ([Start]).
func (n *Network) SetUp(ctx context.Context, pds int, up bool) error {
	if err := n.control(ctx, fmt.Sprintf("/pds/%d", pds), map[string]any{"up": up}); err != nil {
		return fmt.Errorf("set PDS %d up=%t: %w", pds, up, err)
	}
	return nil
}

// RequireInvites lets a PDS, by its index, make accounts with an invite code only, or for anybody (the beginning).
// Only for a network of one's own ([Start]).
func (n *Network) RequireInvites(ctx context.Context, pds int, required bool) error {
	if err := n.control(ctx, fmt.Sprintf("/pds/%d", pds), map[string]any{"invites": required}); err != nil {
		return fmt.Errorf("set PDS %d invites=%t: %w", pds, required, err)
	}
	return nil
}

func (n *Network) control(ctx context.Context, path string, body any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, n.Control+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	resp, err := n.base.RoundTrip(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("control endpoint answered %s: %s", resp.Status, answer)
	}
	return nil
}
