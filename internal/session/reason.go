package session

import "github.com/atoll-social/atoll/oauth/client"

// Reason says why a session is over, or why it is paused.
type Reason = client.Reason

// Reasons that the OAuth client has too.
const (
	ReasonIdle      = client.ReasonIdle      // the session, or its device, was not used for too long
	ReasonDeleted   = client.ReasonDeleted   // the account was deleted at its server
	ReasonSuspended = client.ReasonSuspended // the account is suspended at its server
	ReasonTakenDown = client.ReasonTakenDown // the account is taken down at its server
)

// Reasons beside those of the OAuth client. They are stored and never reused.
const (
	ReasonSignedOut  Reason = "signed_out"     // by the member, here or from another device
	ReasonReplaced   Reason = "replaced"       // the same account signed in again on the same device
	ReasonOperator   Reason = "operator"       // by the operator of this site
	ReasonClient     Reason = "client_changed" // it was given to another client than this site is today
	ReasonUnreadable Reason = "unreadable"     // its secrets cannot be read any more
	// ReasonAppReplayed: a used secret of an app came again, so that somebody else may hold it.
	ReasonAppReplayed Reason = "app_replayed"
)

// Explain tells a member, in a whole sentence, why their session is over or
// paused.
func Explain(why Reason) string {
	if sentence, ok := sentences[why]; ok {
		return sentence
	}
	return "This sign-in has ended."
}

var sentences = map[Reason]string{
	client.ReasonRevoked:      "Your server no longer accepts this sign-in; it may have been ended in your account's settings there.",
	client.ReasonExpired:      "This sign-in has run out.",
	client.ReasonReplayed:     "Your server ended this sign-in because an old credential of it was used again.",
	client.ReasonKeyWithdrawn: "This site has withdrawn the key that this sign-in was made with.",
	client.ReasonMoved:        "Your account has moved to another server.",
	client.ReasonSubject:      "Your server answered for another account, so this sign-in was ended.",
	client.ReasonLost:         "Your server's last answer could not be kept here, and without it this sign-in cannot go on.",
	client.ReasonDeactivated:  "Your account is deactivated at its server.",
	ReasonSuspended:           "Your account is suspended at its server.",
	ReasonTakenDown:           "Your account is taken down at its server.",
	ReasonDeleted:             "Your account was deleted at its server.",
	ReasonSignedOut:           "You signed out.",
	ReasonReplaced:            "You signed in anew on this device, which ended the sign-in before.",
	ReasonIdle:                "This sign-in was not used for a long time, so it was ended.",
	client.ReasonUpgraded:     "You gave more permissions in a new sign-in, which took the place of this one.",
	ReasonOperator:            "The operator of this site has ended this sign-in.",
	ReasonUnreadable:          "What was kept of this sign-in cannot be read any more.",
	ReasonAppReplayed:         "An old secret of the app was used again, so its sign-in was ended.",
	ReasonClient:              "This site's address has changed since you signed in.",
}
