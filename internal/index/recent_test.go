package index

import "testing"

// TestRecent holds the bound, by number and by weight, and that what is used stays.
func TestRecent(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r    recent[int, int]
		most int
	}{
		"by number": {recent[int, int]{most: 10}, 20},
		"by weight": {recent[int, int]{most: 100, weigh: func(n int) int { return 10 + n%7 }}, 24},
	} {
		r := &c.r
		for n := range 1000 {
			r.put(n, n)
			r.put(n, n) // counts once
			if _, ok := r.get(0); !ok {
				t.Fatalf("%s: what was used last is forgotten after %d", name, n)
			}
			if size := len(r.young) + len(r.old); size > c.most {
				t.Fatalf("%s: %d are remembered, at most %d may be", name, size, c.most)
			}
		}
		if _, ok := r.get(500); ok {
			t.Errorf("%s: what was never used is still remembered", name)
		}
		if r.drop(0); len(r.young)+len(r.old) == 0 {
			t.Errorf("%s: dropping one drops all", name)
		}
		if _, ok := r.get(0); ok {
			t.Errorf("%s: what was dropped is still remembered", name)
		}
	}
}
