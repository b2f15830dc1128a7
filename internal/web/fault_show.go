package web

import "github.com/atoll-social/atoll/internal/fault"

var errNoPage = fault.New(fault.NotFound, "There is no page at this address.")
