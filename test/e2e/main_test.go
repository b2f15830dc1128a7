// Package e2e tests the whole program: processes of their own that run
// production code, the official servers, plain HTTP clients and a real browser.
package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/cli"
	"github.com/atoll-social/atoll/test/network"
)

// envSeams turns this test binary into Atoll itself, with the seams that the
// JSON value describes: a process that can be killed.
const envSeams = "TEST_E2E_SEAMS"

// seams is what a test tells a process besides arguments and environment.
type seams struct {
	Network     string            // network.Env
	Hosts       map[string]string // https host → loopback address, beside the network's own
	ClockOffset time.Duration
	SignInScope string
}

func TestMain(m *testing.M) {
	text := os.Getenv(envSeams)
	if text == "" {
		os.Exit(m.Run())
	}
	s, err := parseSeams(text)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	os.Exit(cli.Main(os.Args[1:], cli.Process{
		Env: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: "e2e", Seams: s,
	}))
}

func parseSeams(text string) (cli.Seams, error) {
	var s seams
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return cli.Seams{}, fmt.Errorf("read %s: %w", envSeams, err)
	}
	n, err := network.Parse(s.Network)
	if err != nil {
		return cli.Seams{}, err
	}
	route := func(host string) (string, bool) {
		if addr, ok := s.Hosts[host]; ok {
			return addr, true
		}
		if host == plcHost {
			return "127.0.0.1:" + n.PLC[strings.LastIndexByte(n.PLC, ':')+1:], true
		}
		return n.Route(host)
	}
	resolver, err := emptyDNS()
	return cli.Seams{Route: route, Resolver: resolver, ClockOffset: s.ClockOffset, SignInScope: s.SignInScope}, err
}

// plcHost is what a production-shaped process calls the local directory.
const plcHost = "plc.test"

var errStopped = errors.New("the process ended")
