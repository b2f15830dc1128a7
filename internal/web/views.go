package web

// homeShow has no data of its own.

// discoverPage is the data of discover_show.
type discoverPage struct {
	Notice    string
	Posts     []postItem
	Older     string // address of the next page; empty at the end
	Paged     bool   // not the first page
	Listening bool   // the server has a source
}

// postItem is a post in a list.
type postItem struct {
	Anchor    string // id of the element
	Community person
	Author    person
	When      moment
	Title     string
	Text      []block
	Long      bool // shown in a frame of its own
	State     postState
}

// postState is how the community's admission shows.
type postState struct {
	Class string // of the element: "", "waiting" or "refused"
	Words string // empty for an admitted post
}

// postForm is the data of post_create.
type postForm struct {
	Trouble                string // what is wrong with the whole
	Key                    string // record key, chosen before the first attempt
	Community, Title, Text field
}

// signInPage is the data of signin_show.
type signInPage struct {
	Notice   string // neutral, such as after declining
	Trouble  string // an error that belongs to no field
	ReturnTo string
	Account  field
}

// accountPage is the data of account_show.
type accountPage struct {
	Notice      string
	PDS         string
	SignedIn    moment
	Permissions []string // in words
	Scopes      []string // as granted
	Devices     []deviceItem
	Accounts    []accountItem
}

// deviceItem is one device on which the member is signed in.
type deviceItem struct {
	ID       string
	Name     string
	Here     bool
	SignedIn moment
	Used     moment
}

// accountItem is one account that is signed in on this device.
type accountItem struct {
	person
	Active bool
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
	Links     []link
	Status    int
	RequestID string
}

// link is a button that leads somewhere.
type link struct {
	URL, Text string
	Plain     bool
}
