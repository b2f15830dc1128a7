package identity

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// maxInput bounds what a person may type, in bytes: the longest DID.
const maxInput = 2_048

// Input is whom or what a person named: exactly one field is set.
type Input struct {
	// Account is a handle in lower case, or a DID.
	Account syntax.AtIdentifier
	// Server is the origin of a PDS or of an authorization server.
	Server string
}

// String returns the input in the form that ParseInput gives back unchanged.
func (i Input) String() string {
	if i.Server != "" {
		return i.Server
	}
	return i.Account.String()
}

// ParseInput reads what a person typed to say who they are: a handle, a DID
// (plc or web) or a server. A bare host name has the form of a handle and is
// taken as one; a server is named with its scheme, as in
// https://pds.example.com. Plain http passes for loopback only; whether it is
// reachable is for the caller's HTTP client to say.
//
// Forgiven are white space around it, "@", "at://", upper case, a final slash
// or dot, and invisible characters anywhere, such as the direction marks that
// come along when a handle is copied. Errors are *InputError.
func ParseInput(s string) (Input, error) {
	s, err := cleanInput(s)
	if err != nil {
		return Input{}, err
	}
	switch lower := strings.ToLower(s); {
	case strings.HasPrefix(lower, "did:"):
		return parseDIDInput(s)
	case strings.HasPrefix(lower, "https://"), strings.HasPrefix(lower, "http://"):
		return parseServerInput(s)
	case strings.Contains(s, "://"):
		return inputError("This kind of address is not known here. Enter a handle, a DID, or a server that begins with https://.")
	default:
		return parseHandleInput(lower)
	}
}

// cleanInput takes away what ParseInput forgives, except upper case.
func cleanInput(s string) (string, error) {
	refuse := func(sentence string) (string, error) { return "", &InputError{Sentence: sentence} }
	if len(s) > maxInput {
		return refuse(fmt.Sprintf("This is too long. A handle or DID has at most %d characters.", maxInput))
	}
	if !utf8.ValidString(s) {
		return refuse("This is not readable text. Please type it again.")
	}
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if invisible(r) {
			return -1
		}
		return r
	}, s))
	if strings.ContainsFunc(s, unicode.IsControl) {
		return refuse("There are control characters in this. Please type it again.")
	}
	if len(s) >= len("at://") && strings.EqualFold(s[:len("at://")], "at://") {
		s = s[len("at://"):]
	}
	s = strings.TrimRight(strings.TrimLeft(s, "@"), "/")
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return refuse("Enter your handle, such as alice.example.com.")
	}
	return s, nil
}

// invisible reports format characters (zero width, direction, byte order mark)
// and the others that Unicode says to ignore when they cannot be shown.
func invisible(r rune) bool {
	return unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

func parseDIDInput(s string) (Input, error) {
	// Method names are lower case, and so is all of a did:plc and of a host
	// name; only the escaped colon before a port is written in upper case.
	did, err := syntax.ParseDID(strings.ReplaceAll(strings.ToLower(s), "%3a", "%3A"))
	if err != nil || checkDID(did) != nil {
		return inputError("This is not a DID that an account can have. It looks like did:plc: with 24 characters after it, or like did:web:example.com.")
	}
	return Input{Account: did.AtIdentifier()}, nil
}

func parseServerInput(s string) (Input, error) {
	origin, err := Origin(s, true)
	if err != nil {
		return inputError("This is not the address of a server. It looks like https://pds.example.com, with nothing after the name; " +
			"to name an account, enter its handle alone.")
	}
	return Input{Server: origin}, nil
}

func parseHandleInput(s string) (Input, error) {
	handle, err := syntax.ParseHandle(s)
	switch {
	case err == nil:
		return Input{Account: handle.AtIdentifier()}, nil
	case strings.ContainsAny(s, "/:?#"):
		return inputError("Enter the handle alone, such as alice.example.com. To name a server, begin with https://.")
	case strings.Contains(s, "@"):
		return inputError("This looks like an e-mail address. Enter your handle instead, such as alice.example.com.")
	case strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }):
		return inputError("A handle has only the letters a-z, digits, hyphens and dots. Enter a name with other letters in its xn-- form.")
	case !strings.Contains(s, "."):
		return inputError("A handle has a dot in it, such as alice.example.com. Enter all of it.")
	default:
		return inputError("This is not a handle. It has letters, digits, hyphens and dots, such as alice.example.com.")
	}
}

func inputError(sentence string) (Input, error) {
	return Input{}, &InputError{Sentence: sentence}
}
