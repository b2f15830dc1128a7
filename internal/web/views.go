package web

// postForm is the data of post_create.
type postForm struct {
	setback
	Acting                 string // DID of who writes; empty shows a hint to sign in
	Name                   string // their name
	Key                    string // record key, chosen before the first attempt
	Community, Title, Text field
	Link, Alt              field
	Pictures               fileField
	Look                   *look // how it will look, when that was asked for
}

// signInPage is the data of signin_show.
type signInPage struct {
	Trouble  string // an error that belongs to no field
	ReturnTo string
	Account  field
}

// accountPage is the data of account_show.
type accountPage struct {
	Ended       string // why the session is over; empty while it lives
	Paused      string // why nothing can be written just now; empty when nothing is in the way
	PDS         string
	SignedIn    moment
	Delegation  bool     // there is a page about how Atoll writes
	Password    bool     // the member has given an app password
	Permissions []string // in words
	Scopes      []string // as granted
	Devices     []deviceItem
	Apps        []appItem
	Accounts    []accountItem
}

// deviceItem is one device on which the member is signed in.
type deviceItem struct {
	ID       string
	Name     string
	Place    string // coarse address of the sign-in; may be empty
	Here     bool
	Ended    bool // the session is over; signing in again revives it
	SignedIn moment
	Used     moment
}

// appItem is one app that the member has signed in.
type appItem struct {
	ID       string
	Name     string // what it calls itself
	Place    string // coarse address of the app; may be empty
	SignedIn moment
	Used     moment
}

// accountItem is one account that is signed in on this device.
type accountItem struct {
	person
	Active bool
	Ended  bool
}

// choicePage is the data of account_choose: a form was sent for another
// account than the active one.
type choicePage struct {
	Before  *person // whom the form was for; nil when it did not say
	Gone    *person // Before, when it has signed out here since
	Choices []choice
	Action  string // where the form goes
	Verb    string // what its button says
	Fields  []hidden
	Back    string

	FilesLeft bool // files came with the form, which cannot be carried along
}

// choice is an account that the form can be sent as.
type choice struct {
	Account person
	Switch  bool // makes it the active one
}

// faultPage is the data of fault_show.
type faultPage struct {
	Heading   string
	What      string
	Do        string
	Grant     *grantForm // the way on, when a permission is missing
	Links     []link
	Status    int
	RequestID string
}

// link is a button that leads somewhere.
type link struct {
	URL, Text string
	Plain     bool
}
