package store

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxList is how many values List takes. SQLite would allow 32,766 parameters,
// but compiles a text in a time that grows with the square of their number.
const MaxList = 2048

// List writes values as a list for IN: "($3, $4)" and the parameters for it,
// where first is the number of the first one. The list is padded to a power of
// two by repeating the last value, so that few texts have to be compiled. No
// values give "(NULL)", which nothing is in. It panics on more than MaxList.
//
//	in, args := store.List(2, ids)
//	rows, err := q.QueryContext(ctx, `… WHERE kind = $1 AND id IN `+in, append([]any{kind}, args...)...)
func List[T any](first int, values []T) (in string, args []any) {
	if len(values) == 0 {
		return "(NULL)", nil
	}
	if len(values) > MaxList {
		panic(fmt.Sprintf("store: a list of %d values, more than %d", len(values), MaxList))
	}
	size := 1
	for size < len(values) {
		size *= 2
	}
	args = make([]any, size)
	var text strings.Builder
	for i := range size {
		args[i] = values[min(i, len(values)-1)]
		text.WriteString(", $")
		text.WriteString(strconv.Itoa(first + i))
	}
	return "(" + text.String()[2:] + ")", args
}
