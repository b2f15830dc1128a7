package network

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// Session is another client that signed in to a PDS with a password, without OAuth, and writes straight to it.
type Session struct {
	// Account that signed in.
	Account Account

	network *Network
	access  string
}

// Record names a record that was written.
type Record struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
	// Commit that it is part of.
	Commit struct {
		CID string `json:"cid"`
		Rev string `json:"rev"`
	} `json:"commit"`
}

// StatusError is an answer of a PDS other than success.
type StatusError struct {
	// Method is the NSID that was called.
	Method string
	Status int
	// Name and Message are the fields of an XRPC error; Message is the body when it isn't one.
	Name, Message string
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answered %d %s: %s", e.Method, e.Status, e.Name, e.Message)
}

// SignInWithPassword opens a session by com.atproto.server.createSession. Of the account it needs PDS, Password, and Handle
// or DID; the session's account has both.
func (n *Network) SignInWithPassword(ctx context.Context, a Account) (*Session, error) {
	var out struct {
		AccessJWT string `json:"accessJwt"`
		DID       string `json:"did"`
		Handle    string `json:"handle"`
	}
	in := map[string]string{"identifier": a.DID, "password": a.Password}
	if a.DID == "" {
		in["identifier"] = a.Handle
	}
	err := n.call(ctx, http.MethodPost, n.PDS[a.PDS].URL, "com.atproto.server.createSession", "", in, &out)
	if err != nil {
		return nil, err
	}
	a.DID, a.Handle = out.DID, out.Handle
	return &Session{Account: a, network: n, access: out.AccessJWT}, nil
}

// AccessToken returns the session's access token, for a client of one's own.
func (s *Session) AccessToken() string { return s.access }

// Query calls an XRPC query with the account's authorization; out may be nil. Errors are *[StatusError] where the PDS answered.
func (s *Session) Query(ctx context.Context, method string, params url.Values, out any) error {
	if len(params) > 0 {
		method += "?" + params.Encode()
	}
	return s.network.call(ctx, http.MethodGet, s.network.PDS[s.Account.PDS].URL, method, s.access, nil, out)
}

// Call calls an XRPC procedure with the account's authorization; in and out may be nil. Errors as for [Session.Query].
func (s *Session) Call(ctx context.Context, method string, in, out any) error {
	return s.network.call(ctx, http.MethodPost, s.network.PDS[s.Account.PDS].URL, method, s.access, in, out)
}

// CreateRecord writes a record to the account's repository, under a new key when rkey is empty. The PDS doesn't know our
// lexicons, so any record is taken; $type is added when it lacks.
func (s *Session) CreateRecord(ctx context.Context, collection, rkey string, record map[string]any) (Record, error) {
	return s.write(ctx, "com.atproto.repo.createRecord", collection, rkey, record)
}

// PutRecord writes or replaces a record.
func (s *Session) PutRecord(ctx context.Context, collection, rkey string, record map[string]any) (Record, error) {
	return s.write(ctx, "com.atproto.repo.putRecord", collection, rkey, record)
}

func (s *Session) write(ctx context.Context, method, collection, rkey string, record map[string]any) (Record, error) {
	content := map[string]any{"$type": collection}
	for key, value := range record {
		content[key] = value
	}
	in := map[string]any{"repo": s.Account.DID, "collection": collection, "record": content}
	if rkey != "" {
		in["rkey"] = rkey
	}
	var out Record
	err := s.Call(ctx, method, in, &out)
	return out, err
}

// DeleteRecord deletes a record; one that isn't there is no error.
func (s *Session) DeleteRecord(ctx context.Context, collection, rkey string) error {
	in := map[string]any{"repo": s.Account.DID, "collection": collection, "rkey": rkey}
	return s.Call(ctx, "com.atproto.repo.deleteRecord", in, nil)
}

// UploadBlob brings a file to the account's server, for a record that names it. The answer is not needed: a blob's name
// follows from its bytes.
func (s *Session) UploadBlob(ctx context.Context, mime string, data []byte) error {
	const method = "com.atproto.repo.uploadBlob"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.network.PDS[s.Account.PDS].URL+"/xrpc/"+method, bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	req.Header.Set("Content-Type", mime)
	return s.network.send(req, method, s.access, nil)
}

// call sends one XRPC request; method may carry a query string.
func (n *Network) call(ctx context.Context, verb, server, method, access string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, verb, server+"/xrpc/"+method, body)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return n.send(req, method, access, out)
}

// send sends a request of call's and reads the answer into out, which may be nil.
func (n *Network) send(req *http.Request, method, access string, out any) error {
	if access != "" {
		req.Header.Set("Authorization", "Bearer "+access)
	}
	resp, err := n.Client().Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if resp.StatusCode != http.StatusOK {
		return statusError(method, resp.StatusCode, text)
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(text, out)
}

func statusError(method string, status int, body []byte) error {
	answer := struct{ Error, Message string }{Message: string(body)}
	_ = json.Unmarshal(body, &answer) // whatever isn't an XRPC error stays as text
	return &StatusError{Method: method, Status: status, Name: answer.Error, Message: answer.Message}
}
