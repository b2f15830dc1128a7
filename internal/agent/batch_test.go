package agent

import (
	"context"
	"net/http"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/oauth/client"
)

func at(rkey, title string) Write {
	w := write(title)
	w.RKey = syntax.RecordKey(rkey)
	return w
}

func (s *server) titles() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]string{}
	for uri, record := range s.records {
		out[syntax.ATURI(uri).RecordKey().String()], _ = record["title"].(string)
	}
	return out
}

// TestBatch holds A1 for several writes in one commit: all or nothing, and once.
func TestBatch(t *testing.T) {
	t.Parallel()
	ops := []Op{{pds.Create, at("new", "n")}, {pds.Update, at("changed", "after")}, {pds.Delete, at("gone", "")}}
	before := map[string]string{"changed": "before", "gone": "g"}
	after := map[string]string{"new": "n", "changed": "after"}
	for _, tt := range spoilers {
		if tt.name == "written, the CID of another record" {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			a := newAgent(t, s, nil)
			for rkey, title := range before {
				if _, err := a.Create(t.Context(), actor, at(rkey, title)); err != nil {
					t.Fatal(err)
				}
			}
			s.spoilOnly(1, tt.spoil)
			done, err := a.Batch(t.Context(), actor, ops)
			switch want := before; {
			case tt.written && (err != nil || len(done) != 3 || done[0].CID != cidOf("n") || done[2].CID != "" || done[2].Rev != latest):
				t.Errorf("first: %+v, %v", done, err)
			case !tt.written && kindOf(err) != Unreachable:
				t.Errorf("first: %v, want unreachable", err)
			case !tt.written:
				if diff := cmp.Diff(want, s.titles()); diff != "" {
					t.Errorf("after the first (-want +got):\n%s", diff)
				}
			}
			if again, err := a.Batch(t.Context(), actor, ops); err != nil || len(again) != 3 || again[1].CID != cidOf("after") {
				t.Errorf("again: %+v, %v", again, err)
			}
			if diff := cmp.Diff(after, s.titles()); diff != "" {
				t.Errorf("in the end (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBatchThatOthersTouched holds that a batch which was written stays so when
// somebody changes one of its records before it is read back.
func TestBatchThatOthersTouched(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	ops := []Op{{pds.Create, at("one", "1")}, {pds.Create, at("two", "2")}}
	if _, err := a.Batch(t.Context(), actor, ops); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Delete(t.Context(), actor, Delete{Collection: collection, RKey: "two"}); err != nil {
		t.Fatal(err)
	}
	done, err := a.Batch(t.Context(), actor, ops)
	if err != nil || done[0].Rev == "" || done[1].Rev != "" {
		t.Errorf("again: %+v, %v; want both, the second without revision", done, err)
	}
	if _, err := a.Batch(t.Context(), actor, []Op{{pds.Create, at("one", "another")}}); kindOf(err) != Taken {
		t.Errorf("another record under the key: %v, want taken", err)
	}
}

// TestTerseBatch holds that an answer which says nothing is settled, too.
func TestTerseBatch(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	s.terse = true
	a := newAgent(t, s, nil)
	done, err := a.Batch(t.Context(), actor, []Op{{pds.Create, at("one", "1")}})
	if err != nil || done[0].CID != cidOf("1") || done[0].Rev != latest {
		t.Errorf("batch: %+v, %v", done, err)
	}
	s.spoilOnly(1, func(w http.ResponseWriter) bool { reply(w, map[string]any{}); return false })
	if _, err := a.Batch(t.Context(), actor, []Op{{pds.Create, at("two", "2")}}); kindOf(err) != Unreachable {
		t.Errorf("nothing there: %v, want unreachable", err)
	}
}

func TestBatchIsChecked(t *testing.T) {
	t.Parallel()
	a := newAgent(t, newServer(t), nil)
	for name, ops := range map[string][]Op{
		"nothing":       nil,
		"no action":     {{"", at("a", "")}},
		"no key":        {{pds.Create, at("", "")}},
		"one key twice": {{pds.Create, at("a", "1")}, {pds.Update, at("a", "2")}},
		"too many":      make([]Op, 201),
	} {
		if done, err := a.Batch(t.Context(), actor, ops); err == nil {
			t.Errorf("%s: %+v", name, done)
		}
	}
}

func TestUpload(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	a := newAgent(t, s, nil)
	file := Upload{MIME: "image/png", Body: []byte("a picture")}
	blob, err := a.Upload(t.Context(), actor, file)
	if err != nil || blob.MimeType != "image/png" || blob.Size != 9 {
		t.Fatalf("upload: %+v, %v", blob, err)
	}
	other, err := a.Upload(t.Context(), actor, Upload{MIME: "image/png", Body: []byte("b picture")})
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(w http.ResponseWriter) bool{
		"connection lost": func(w http.ResponseWriter) bool { cut(w); return true },
		"500":             func(w http.ResponseWriter) bool { refuse(w, 500, "", ""); return true },
		"HTML":            func(w http.ResponseWriter) bool { page(w); return true },
		"another file":    func(w http.ResponseWriter) bool { reply(w, map[string]any{"blob": other}); return true },
		"no file":         func(w http.ResponseWriter) bool { reply(w, map[string]any{}); return true },
	} {
		s.spoilOnly(1, spoil)
		if got, err := a.Upload(t.Context(), actor, file); kindOf(err) != Unreachable {
			t.Errorf("%s: %+v, %v; want unreachable", name, got, err)
		}
		if again, err := a.Upload(t.Context(), actor, file); err != nil || again != blob {
			t.Errorf("%s, again: %+v, %v; want %+v", name, again, err, blob)
		}
	}
	lacking := newAgent(t, s, func(context.Context, Actor) (pds.Doer, error) { return nil, client.ErrMissingScope })
	_, err = lacking.Upload(t.Context(), actor, file)
	if e, ok := asError(err); !ok || e.Kind != NeedsScope || cmp.Diff([]string{"blob:image/png"}, e.Scopes) != "" {
		t.Errorf("no scope: %+v", err)
	}
	if _, err := a.Upload(t.Context(), actor, Upload{MIME: "image/png"}); err == nil {
		t.Error("an empty file was uploaded")
	}
}
