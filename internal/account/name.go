package account

import (
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
)

// What the official PDS takes as the first part of a handle, in characters.
const (
	minName = 3
	maxName = 18
)

// reservedNames mean something to people or programs. PDSes have lists of their
// own, which may be longer.
const reservedNames = ` admin administrator moderator moderators mods root support help official
 atoll server system staff security abuse postmaster hostmaster webmaster noreply mail smtp imap ftp
 www web api app apps cdn static media assets img images auth oauth login logout signin signup register
 account accounts settings about terms privacy status docs blog news null undefined me you everyone
 atproto bsky bluesky pds plc did xrpc relay jetstream labeler mod feed feeds all home discover popular `

// CheckName says whether a community can have a name here: 3–18 lower-case
// letters, digits and hyphens. Its error is an *Error with a sentence for people.
func CheckName(name string) error {
	bad := func(format string, args ...any) error {
		return failure(BadName, fault.Invalid, nil, fmt.Sprintf(format, args...))
	}
	letters := strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
	switch {
	case name == "":
		return bad("A community needs a name.")
	case !letters:
		return bad("A community's name has lower-case letters (a–z), digits and hyphens only.")
	case len(name) < minName || len(name) > maxName:
		return bad("A community's name has %d to %d characters; this one has %d.", minName, maxName, len(name))
	case strings.HasPrefix(name, "-") || strings.HasSuffix(name, "-"):
		return bad("A community's name neither begins nor ends with a hyphen.")
	case strings.Contains(" "+strings.Join(strings.Fields(reservedNames), " ")+" ", " "+name+" "):
		return bad("The name “%s” is reserved. Please choose another one.", name)
	}
	return nil
}

// handleOf is the handle of a community.
func (m *Manager) handleOf(name string) (syntax.Handle, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	handle, err := syntax.ParseHandle(name + "." + m.cfg.Hosting.HandleDomain)
	if err != nil {
		return "", failure(BadName, fault.Invalid, err, "This name cannot be part of a handle. Please choose another one.")
	}
	return handle.Normalize(), nil
}
