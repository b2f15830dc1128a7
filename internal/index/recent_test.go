package index

import "testing"

// TestRecent holds the bound, and that what is used stays.
func TestRecent(t *testing.T) {
	t.Parallel()
	r := recent[int, int]{most: 10}
	for n := range 1000 {
		r.put(n, n)
		if _, ok := r.get(0); !ok {
			t.Fatalf("what was used last is forgotten after %d", n)
		}
		if size := len(r.young) + len(r.old); size > 20 {
			t.Fatalf("%d are remembered, at most 20 may be", size)
		}
	}
	if _, ok := r.get(500); ok {
		t.Error("what was never used is still remembered")
	}
	if r.drop(0); len(r.young)+len(r.old) == 0 {
		t.Error("dropping one drops all")
	}
	if _, ok := r.get(0); ok {
		t.Error("what was dropped is still remembered")
	}
}

// TestRecentByWeight holds the bound by weight, and that what is used stays.
func TestRecentByWeight(t *testing.T) {
	t.Parallel()
	s := recent[int, int]{most: 100, weigh: func(n int) int { return 10 + n%7 }}
	for n := range 1000 {
		s.put(n, n)
		s.put(n, n) // weighs once
		if _, ok := s.get(0); !ok {
			t.Fatalf("what was used last is forgotten after %d", n)
		}
		if size := len(s.young) + len(s.old); size > 24 {
			t.Fatalf("%d are kept, of weight 100 there may be 20 or so", size)
		}
	}
	if _, ok := s.get(500); ok {
		t.Error("what was never used is still kept")
	}
	if s.drop(0); len(s.young)+len(s.old) == 0 {
		t.Error("dropping one drops all")
	}
	if _, ok := s.get(0); ok {
		t.Error("what was dropped is still kept")
	}
}
