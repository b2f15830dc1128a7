// Package network runs the official PLC directory and two official PDSes on loopback for tests and demonstrations, and
// plays the people and clients around them: accounts, other clients' writes, and a browser at the consent page.
package network

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
)

// EnvNetwork names the environment variable that hands a running network down to test processes: the text of
// [Network.Env].
const EnvNetwork = "TEST_NETWORK"

// Network is a running local network. It may be used by many processes at once; names of accounts and hosts have to be
// chosen so that they don't meet (see [Name] and [AppHost]). Make one with [Shared], [Start], [Launch] or [Parse].
type Network struct {
	// PLC is the address of the directory, http://localhost:PORT.
	PLC string `json:"plc"`
	// PDS holds the servers in order.
	PDS []PDS `json:"pds"`
	// AdminPassword opens com.atproto.admin.* on every PDS by basic authorization, user "admin".
	AdminPassword string `json:"adminPassword"`
	// Control is the address of the endpoint behind [Network.MapHost] and [Network.SetUp].
	Control string `json:"control"`
	// DataDir holds the repositories, keys and the directory's log.
	DataDir string `json:"dataDir"`

	base *http.Transport

	mu    sync.RWMutex
	hosts map[string]string // mapped by this process
}

// PDS is one of the servers.
type PDS struct {
	// URL is what the server says it is: https://pds1.atoll-tests.net, or http://localhost:PORT in the plain shape.
	URL string `json:"url"`
	// DID of the service.
	DID string `json:"did"`
	// Listen is the loopback address and port that it answers on, without TLS in both shapes.
	Listen string `json:"listen"`
	// HandleDomain ends the handles of its accounts, and begins with a dot: .pds1.atoll-tests.net, or .one.test in the plain shape.
	HandleDomain string `json:"handleDomain"`
}

// Parse reads what [Network.Env] wrote, in another process.
func Parse(text string) (*Network, error) {
	n := &Network{hosts: map[string]string{}}
	if err := json.Unmarshal([]byte(text), n); err != nil {
		return nil, fmt.Errorf("read description of local network: %w", err)
	}
	if n.PLC == "" || n.Control == "" || len(n.PDS) == 0 {
		return nil, fmt.Errorf("description of local network is incomplete: %q", text)
	}
	n.base = &http.Transport{
		DialContext:         dialLoopback,
		MaxIdleConnsPerHost: 16,
	}
	return n, nil
}

// Env describes the network in one line for [Parse]. Hosts mapped by this process are not part of it.
func (n *Network) Env() string {
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // strings only
	}
	return string(text)
}

// Route maps a host name, with or without a port, to the loopback address that serves it in plain http: the PDSes, every
// handle below their domains, and what this process mapped with [Network.MapHost]. Other names are not ok.
// It has the signature of egress.Config.Route and of the seam of the daemon.
func (n *Network) Route(host string) (addr string, ok bool) {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.ToLower(host)
	if addr, ok = n.mapped(host); ok {
		return addr, true
	}
	for _, pds := range n.PDS {
		if pds.URL == "https://"+host || strings.HasSuffix(host, pds.HandleDomain) {
			return pds.Listen, true
		}
	}
	return "", false
}

// mapped looks up what this process mapped: the name itself, then ".atoll-tests.net" and the like, the longest first.
func (n *Network) mapped(host string) (addr string, ok bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if addr, ok = n.hosts[host]; ok {
		return addr, true
	}
	for rest := host; ; {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			return "", false
		}
		if addr, ok = n.hosts[rest[dot:]]; ok {
			return addr, true
		}
		rest = rest[dot+1:]
	}
}
