package pds_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/pds"
)

// The states that a write can depend on are sent as the lexicon has them.
func TestSwapOnTheWire(t *testing.T) {
	t.Parallel()
	for swap, want := range map[pds.Swap]any{"": "absent", pds.SwapNone: nil, pds.SwapCID(goodCID): goodCID} {
		c, calls := serve(t, says(200, `{"uri":"`+goodURI+`","cid":"`+goodCID+`"}`))
		written, err := c.PutRecord(t.Context(), pds.PutRecord{Place: place(), Record: struct{}{}, Swap: swap})
		if err != nil || *written != (pds.Written{URI: goodURI, CID: goodCID}) {
			t.Errorf("PutRecord = %+v, %v", written, err)
		}
		call := <-calls
		got, there := call.Body["swapRecord"]
		if !there {
			got = "absent"
		}
		if got != want || call.Path != "/xrpc/com.atproto.repo.putRecord" || call.Body["rkey"] != "3lzyxw2222222" {
			t.Errorf("swap %q is sent as %v in %s %v, want %v", swap, got, call.Path, call.Body, want)
		}
	}
}

func TestDeleteRecord(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]syntax.TID{`{}`: "", `{"commit":{"cid":"x","rev":"` + goodRev + `"}}`: goodRev} {
		c, calls := serve(t, says(200, answer))
		rev, err := c.DeleteRecord(t.Context(), place(), pds.SwapCID(goodCID))
		if rev != want || err != nil {
			t.Errorf("DeleteRecord = %q, %v; want %q", rev, err, want)
		}
		body := map[string]any{"repo": "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "collection": "social.coves.community.postv2",
			"rkey": "3lzyxw2222222", "swapRecord": goodCID}
		if diff := cmp.Diff(exchange{"POST", "/xrpc/com.atproto.repo.deleteRecord", "", "application/json", body}, <-calls); diff != "" {
			t.Errorf("call (-want +got):\n%s", diff)
		}
	}
	c, _ := serve(t, says(400, `{"error":"InvalidSwap","message":"Record was at x"}`))
	if _, err := c.DeleteRecord(t.Context(), place(), ""); !errors.Is(err, pds.ErrSwap) || pds.Unclear(err) {
		t.Errorf("DeleteRecord of another = %v, want ErrSwap", err)
	}
}

func TestApplyWrites(t *testing.T) {
	t.Parallel()
	c, calls := serve(t, says(200, `{"commit":{"cid":"x","rev":"`+goodRev+`"},"results":[
		{"$type":"com.atproto.repo.applyWrites#createResult","uri":"`+goodURI+`","cid":"`+goodCID+`"},
		{"$type":"com.atproto.repo.applyWrites#deleteResult"}]}`))
	p := place()
	ops := []pds.Op{{pds.Create, p.Collection, p.RKey, map[string]any{"title": "a"}}, {pds.Delete, p.Collection, "x", nil}}
	written, err := c.ApplyWrites(t.Context(), p.Repo, ops)
	want := []pds.Written{{goodURI, goodCID, goodRev},
		{syntax.ATURI("at://" + p.Repo.String() + "/" + p.Collection.String() + "/x"), "", goodRev}}
	if diff := cmp.Diff(want, written); diff != "" || err != nil {
		t.Errorf("ApplyWrites: %v (-want +got):\n%s", err, diff)
	}
	body := map[string]any{"repo": p.Repo.String(), "writes": []any{
		map[string]any{"$type": "com.atproto.repo.applyWrites#create", "collection": p.Collection.String(), "rkey": p.RKey.String(),
			"value": map[string]any{"title": "a"}},
		map[string]any{"$type": "com.atproto.repo.applyWrites#delete", "collection": p.Collection.String(), "rkey": "x"}}}
	if diff := cmp.Diff(exchange{"POST", "/xrpc/com.atproto.repo.applyWrites", "", "application/json", body}, <-calls); diff != "" {
		t.Errorf("call (-want +got):\n%s", diff)
	}
}

func TestUploadBlob(t *testing.T) {
	t.Parallel()
	const ok = `{"blob":{"$type":"blob","ref":{"$link":"bafkreifhk2qnspeirkuzmemrxzxdh6smrufa6t6ihiltxq5kxyk6hncnom"},"mimeType":"image/png","size":2}}`
	c, calls := serve(t, says(200, ok))
	_, err := c.UploadBlob(t.Context(), "image/png", []byte("{}"))
	if call := <-calls; call.ContentType != "image/png" || call.Path != "/xrpc/com.atproto.repo.uploadBlob" {
		t.Errorf("call %+v", call)
	}
	if !errors.Is(err, pds.ErrBadAnswer) {
		t.Errorf("UploadBlob, another file's answer: %v, want ErrBadAnswer", err)
	}
	if _, err := c.UploadBlob(t.Context(), "no media type at all;;", []byte("x")); err == nil {
		t.Error("UploadBlob took a media type that is none")
	}
}

// What an answer says about something else than was asked is not believed.
func TestWritesAnsweredWrongly(t *testing.T) {
	t.Parallel()
	calls := map[string]func(c *pds.Client) error{
		"putRecord": func(c *pds.Client) error {
			_, err := c.PutRecord(t.Context(), pds.PutRecord{Place: place(), Record: struct{}{}})
			return err
		},
		"deleteRecord": func(c *pds.Client) error { _, err := c.DeleteRecord(t.Context(), place(), ""); return err },
		"applyWrites": func(c *pds.Client) error {
			p := place()
			_, err := c.ApplyWrites(t.Context(), p.Repo, []pds.Op{{pds.Create, p.Collection, p.RKey, struct{}{}}})
			return err
		},
		"uploadBlob": func(c *pds.Client) error { _, err := c.UploadBlob(t.Context(), "image/png", []byte("x")); return err },
	}
	page := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<html>"))
	}
	answers := map[string]http.HandlerFunc{
		"HTML":            page,
		"no JSON":         says(200, `{"uri":`),
		"another status":  says(202, `{}`),
		"a wrong rev":     says(200, `{"uri":"`+goodURI+`","cid":"`+goodCID+`","commit":{"rev":"no"},"results":[{}],"blob":{}}`),
		"another record":  says(200, `{"uri":"at://did:plc:x/a.b.c/d","cid":"x","commit":{"rev":"x"},"results":[{},{}],"blob":{}}`),
		"a wrong type":    says(200, `{"uri":3,"commit":"x","results":{},"blob":[]}`),
		"an empty answer": says(200, ``),
	}
	for method, call := range calls {
		for name, answer := range answers {
			c, _ := serve(t, answer)
			if err := call(c); !errors.Is(err, pds.ErrBadAnswer) || !pds.Unclear(err) {
				t.Errorf("%s, %s: %v, want ErrBadAnswer", method, name, err)
			}
		}
	}
}
