package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

//go:embed report.lua
var reportScript string

// target is what is asked for together: pages of one kind, for one kind of reader.
type target struct {
	name   string
	paths  []string // asked for in turn
	cookie string   // of a member; empty for a visitor
	says   string   // is in each answer
}

// who is the reader.
func (t target) who() string {
	if t.cookie == "" {
		return "visitor"
	}
	return "member"
}

// header are the request headers of a target, as a browser or a client sends them besides what compresses.
func (t target) header() http.Header {
	h := http.Header{}
	if t.cookie != "" {
		h.Set("Cookie", t.cookie)
		h.Set("Sec-Fetch-Site", "same-origin")
	}
	return h
}

// figures are what wrk has counted; see report.lua.
type figures struct {
	Answers int64 `json:"answers"`
	Bytes   int64 `json:"bytes"` // headers included
	Micros  int64 `json:"micros"`
	P50     int64 `json:"p50"`
	P99     int64 `json:"p99"`
	Most    int64 `json:"most"`
	Refused int64 `json:"refused"`
	Broken  int64 `json:"broken"`
}

// check asks for each address once and wants the page itself: wrk takes a redirect or an error page for an answer like
// any other.
func (t target) check(ctx context.Context, origin string) error {
	client := &http.Client{
		Timeout:       time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	for _, path := range t.paths {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+path, nil)
		if err != nil {
			return err
		}
		req.Header = t.header()
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK || !strings.Contains(string(body), t.says) {
			return fmt.Errorf("%s as %s: GET %s answered %s, want 200 and %q in it:\n%.600s", t.name, t.who(), path, resp.Status, t.says, body)
		}
	}
	return nil
}

// wrk puts load on a target for a while.
func (t target) wrk(ctx context.Context, origin, script string, connections int, lasting time.Duration) (f figures, err error) {
	args := []string{"--threads", "1", "--connections", strconv.Itoa(connections), "--timeout", "30s",
		"--duration", strconv.Itoa(int(lasting.Seconds())) + "s", "--script", script, "--header", "Accept-Encoding: gzip"}
	for name, values := range t.header() {
		args = append(args, "--header", name+": "+values[0])
	}
	cmd := exec.CommandContext(ctx, "wrk", append(append(args, origin, "--"), t.paths...)...)
	output, err := cmd.CombinedOutput()
	if err != nil {
		return f, fmt.Errorf("wrk on %s: %w\n%s", t.name, err, output)
	}
	lines := bytes.Split(bytes.TrimSpace(output), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &f); err != nil {
		return f, fmt.Errorf("wrk on %s says:\n%s", t.name, output)
	}
	return f, nil
}
