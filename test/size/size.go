// Package size chooses how much a test does. TEST_SIZE is "small" (the default)
// for every day and "full" for the counts that a promise is held to.
package size

import (
	"fmt"
	"os"
)

// Variable is the environment variable that chooses.
const Variable = "TEST_SIZE"

// Size returns small or full, as TEST_SIZE says. It panics on any other value:
// a misspelt "full" must not pass for a small run.
func Size(small, full int) int {
	if Full() {
		return full
	}
	return small
}

// Full reports whether TEST_SIZE is "full".
func Full() bool {
	switch v := os.Getenv(Variable); v {
	case "", "small":
		return false
	case "full":
		return true
	default:
		panic(fmt.Sprintf("%s is %q; it must be small or full", Variable, v))
	}
}
