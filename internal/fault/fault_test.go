package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/atoll-social/atoll/internal/fault"
)

func TestFromHidesTheTextOfOtherErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("dial tcp 10.0.0.1: refused")
	got := fault.From(fmt.Errorf("load page: %w", cause))
	if got.Kind != fault.Internal || strings.Contains(got.Public, "10.0.0.1") {
		t.Errorf("From(plain error) = kind %v, public %q; want internal and no private text", got.Kind, got.Public)
	}
	if !errors.Is(got, cause) {
		t.Errorf("errors.Is(From(err), cause) = false; the log would lose the cause")
	}
}

func TestFromFindsAWrappedFault(t *testing.T) {
	t.Parallel()
	inner := fault.New(fault.Limited, "Too many tries.").WithCode("RateLimitExceeded").After(time.Minute)
	got := fault.From(fmt.Errorf("sign in: %w", inner))
	if got != inner || got.Code != "RateLimitExceeded" || got.RetryAfter != time.Minute {
		t.Errorf("From(wrapped) = %+v, want %+v", got, inner)
	}
	if fault.From(nil) != nil {
		t.Error("From(nil) is not nil")
	}
}

func TestWithCodeLeavesTheOriginalAlone(t *testing.T) {
	t.Parallel()
	base := fault.New(fault.NotFound, "There is no such post.")
	base.WithCode("PostNotFound")
	if base.Code != "" {
		t.Errorf("WithCode changed its receiver: code %q", base.Code)
	}
}

func TestKindStrings(t *testing.T) {
	t.Parallel()
	if got := fault.Unavailable.String(); got != "unavailable" {
		t.Errorf("Unavailable.String() = %q", got)
	}
	if got := fault.Kind(99).String(); got != "kind(99)" {
		t.Errorf("Kind(99).String() = %q", got)
	}
}
