package size_test

import (
	"testing"

	"github.com/atoll-social/atoll/test/size"
)

func TestSizeFollowsTheVariable(t *testing.T) { // not parallel: it sets the environment
	for value, want := range map[string]int{"": 10, "small": 10, "full": 500} {
		t.Setenv(size.Variable, value)
		if got := size.Size(10, 500); got != want {
			t.Errorf("Size(10, 500) with %s=%q = %d, want %d", size.Variable, value, got, want)
		}
	}
}

func TestSizeRefusesAnythingElse(t *testing.T) {
	t.Setenv(size.Variable, "ful")
	defer func() {
		if recover() == nil {
			t.Errorf("Size with %s=ful did not panic; a typo would pass for a small run", size.Variable)
		}
	}()
	size.Size(1, 2)
}
