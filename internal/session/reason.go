package session

import "github.com/atoll-social/atoll/oauth/client"

// Reason says why a session is over.
type Reason = client.Reason

// Reasons beside those of the OAuth client.
const (
	ReasonSignedOut Reason = "signed_out" // by the member, here or from another device
	ReasonReplaced  Reason = "replaced"   // the same account signed in again on the same device
)

// Explain tells a member, in a whole sentence, why their session is over.
func Explain(why Reason) string {
	switch why {
	case client.ReasonRevoked:
		return "Your server no longer accepts this sign-in; it may have been ended in your account's settings there."
	case client.ReasonExpired:
		return "This sign-in has run out."
	case client.ReasonReplayed:
		return "Your server ended this sign-in because an old credential of it was used again."
	case client.ReasonKeyWithdrawn:
		return "This site has withdrawn the key that this sign-in was made with."
	case client.ReasonMoved:
		return "Your account has moved to another server."
	case client.ReasonSubject:
		return "Your server answered for another account, so this sign-in was ended."
	case client.ReasonDeactivated:
		return "Your account is deactivated or suspended at its server."
	case ReasonSignedOut, ReasonReplaced:
		return "This sign-in was ended."
	}
	return "This sign-in has ended."
}
