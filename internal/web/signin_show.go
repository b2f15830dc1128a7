package web

func newSignInPage(account, returnTo string) signInPage {
	return signInPage{
		ReturnTo: returnTo,
		Account: field{Name: "handle", Label: "Handle, DID or server", Value: account, Required: true, Literal: true, Autocomplete: "username",
			Hint: "For example alice.bsky.social, or the address of your server such as https://pds.example.com."},
	}
}
