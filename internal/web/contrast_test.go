package web

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// pair is a colour on a ground and the contrast that it needs.
type pair struct {
	fore, back string
	least      float64
}

// TestColoursCanBeRead holds WCAG 2.2 AA for what the style sheet puts on what:
// 4.5 for text, 3 for edges of controls and marks.
func TestColoursCanBeRead(t *testing.T) {
	t.Parallel()
	css, err := staticFiles.ReadFile("static/style.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, found := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("the style sheet has no dark colours")
	}
	themes := map[string]map[string]float64{"light": luminances(t, light), "dark": luminances(t, light)}
	for name, l := range luminances(t, dark[:strings.Index(dark, "/* Ground */")]) {
		themes["dark"][name] = l
	}
	grounds := []string{"water", "land", "shallow"}
	pairs := []pair{{"on-lagoon", "lagoon", 4.5}, {"on-lagoon", "lagoon-deep", 4.5}, {"on-letter", "letter", 4.5}, {"ink", "note-wash", 4.5},
		{"note", "note-wash", 4.5}, {"ink", "field", 4.5}, {"ink", "land-deep", 4.5}, {"edge", "field", 3}, {"reef", "water", 3}}
	for _, back := range grounds {
		for _, fore := range []string{"ink", "soft", "lagoon", "lagoon-deep", "note"} {
			pairs = append(pairs, pair{fore, back, 4.5})
		}
		pairs = append(pairs, pair{"edge", back, 3})
	}
	for theme, colours := range themes {
		for _, p := range pairs {
			a, b := colours[p.fore], colours[p.back]
			if got := (math.Max(a, b) + 0.05) / (math.Min(a, b) + 0.05); got < p.least {
				t.Errorf("%s: %s on %s has contrast %.2f, want %.1f", theme, p.fore, p.back, got, p.least)
			}
		}
	}
}

var colourLine = regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)

// luminances returns the relative luminance (WCAG) of each custom colour.
func luminances(t *testing.T, css string) map[string]float64 {
	t.Helper()
	out := map[string]float64{}
	for _, m := range colourLine.FindAllStringSubmatch(css, -1) {
		var sum float64
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(m[2][2*i:2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.04045 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		out[m[1]] = sum
	}
	return out
}
