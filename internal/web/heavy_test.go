package web

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// nested is a text with as many facets as a record may have, each inside the
// one before, and as many features in each as the lexicon allows.
func nested() (text string, facets []any) {
	text = strings.Repeat("x", 2*maxFacets+1)
	for i := range maxFacets {
		features := []any{map[string]any{"$type": facetPrefix + "link", "uri": "https://a.example/"}}
		for len(features) < 20 {
			features = append(features, map[string]any{"$type": facetPrefix + "bold"})
		}
		facets = append(facets, map[string]any{"features": features,
			"index": map[string]any{"byteStart": int64(i), "byteEnd": int64(len(text) - i)}})
	}
	return text, facets
}

// A stranger's GET of Discover costs little, whatever posts there are that the
// lexicon accepts. Without the limits of a page and of a post's forms, these took
// hundreds of megabytes. Not parallel: what it counts has to be its own.
func TestOnePageOfHeavyPostsIsCheap(t *testing.T) {
	text, facets := nested()
	for _, tt := range []struct {
		name   string
		record map[string]any
		most   uint64 // bytes that may be allocated
	}{
		{"nested facets", map[string]any{"content": text, "facets": facets}, 40 << 20},
		{"many paragraphs", map[string]any{"content": strings.Repeat("x\n\n", 3333)}, 40 << 20},
		{"unknown fields", map[string]any{"title": "x", "unknown": strings.Repeat("x", 250<<10)}, 12 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			for n := range feedLimit + 1 {
				s.write(t, alice, n, tt.record)
			}
			r, w := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/discover", nil), httptest.NewRecorder()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s.handler.ServeHTTP(w, r)
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > tt.most || w.Body.Len() > 1<<20 {
				t.Errorf("GET /discover allocated %d bytes for a page of %d, want at most %d and %d", got, w.Body.Len(), tt.most, 1<<20)
			}
			if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `<p class="older"><a `) {
				t.Errorf("GET /discover: status %d, or no link to older posts", w.Code)
			}
		})
	}
}

// What is beyond the limits of a post's forms is there as plain text.
func TestFormsBeyondTheLimitsArePlainText(t *testing.T) {
	t.Parallel()
	many := func(n int, feature string) []byte {
		var all []string
		for i := range n {
			all = append(all, wire(2*i, 2*i+1, feature))
		}
		return wires(all...)
	}
	long := strings.Repeat("l", 1000)
	tests := []struct {
		name, text string
		facets     []byte
	}{
		{"paragraphs", strings.Repeat("x\n\n", 3333), nil},
		{"paragraphs of breaks that carry returns", strings.Repeat("x\r\n\r\n", 3333), nil},
		{"paragraphs under one link", strings.Repeat("x\n\n", 333), wires(wire(0, 999, `link","uri":"https://a.example/`+long+`"`))},
		{"paragraphs under one mention", strings.Repeat("x\n\n", 333), wires(wire(0, 999, `mention","did":"did:web:`+long+`"`))},
		{"paragraphs under one spoiler", strings.Repeat("x\n\n", 333), wires(wire(0, 999, `spoiler","reason":"`+long+`"`))},
		{"stretches", strings.Repeat("xy", 200), many(200, `bold"`)},
		{"links", strings.Repeat("xy", 200), many(200, `link","uri":"https://a.example/`+long+`"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			pieces, markup, last := 0, 0, piece{}
			var shown strings.Builder
			for _, b := range richText(tt.text, parseFacets(tt.facets, tt.text)) {
				for _, r := range b.Runs {
					if r.Spoiler != nil {
						markup += len(r.Spoiler.Reason)
					}
					for _, p := range r.Pieces {
						pieces, markup, last = pieces+1, markup+len(p.Link)+len(p.Mention)+len(p.Elsewhere), p
						shown.WriteString(p.Text)
					}
				}
			}
			if pieces > maxPieces+1 || markup > maxMarkup {
				t.Errorf("%d pieces with %d bytes of addresses, want at most %d and %d", pieces, markup, maxPieces+1, maxMarkup)
			}
			if plain := (piece{Text: last.Text}); pieces < 20 || last != plain {
				t.Errorf("%d pieces, the last one %+v, want a beginning with its forms and a plain end", pieces, last)
			}
			without := strings.NewReplacer("\n", "", "\r", "")
			if without.Replace(shown.String()) != without.Replace(tt.text) {
				t.Error("some of the text is not shown")
			}
		})
	}
}

// Of a facet's features that exclude each other, only the first is kept.
func TestFeaturesOfAFacetAreThereOnce(t *testing.T) {
	t.Parallel()
	all := []string{`bold"`, `bold"`, `link","uri":"javascript:x"`, `link","uri":"https://a.example/"`, `link","uri":"https://b.example/"`,
		`mention","did":"did:plc:x"`, `heading"`, `codeBlock"`, `spoiler","reason":"a"`, `spoiler","reason":"b"`, `code"`, `bold"`}
	var kept []string
	for _, f := range parseFacets(wires(wire(0, 1, all...)), "x")[0].Features {
		kept = append(kept, f.Kind)
	}
	if diff := cmp.Diff([]string{"bold", "link", "heading", "spoiler", "code"}, kept); diff != "" {
		t.Errorf("features that are kept (-want +got):\n%s", diff)
	}
}
