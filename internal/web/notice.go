package web

import (
	"net/http"
	"net/url"
)

// A redirect puts a notice on the page that it leads to by a query parameter
// whose values are words of ours, never text to be shown.
const (
	noticeParam    = "notice"
	noticeDeclined = "declined"
	noticeKept     = "kept"
	noticeFounded  = "founded"
	noticeDeleted  = "deleted"
)

// declinedNotice is what a member reads who said no at their server (S18).
const declinedNotice = "You did not sign in, and nothing has changed. You can try again whenever you like."

// keptNotice is what a member reads who gave no further permission there (S36).
const keptNotice = "You gave no further permission. You are still signed in, and nothing has changed."

// foundedNotice is what a founder reads whose subscription could not be written.
const foundedNotice = "The community is there, but you are not subscribed to it: your server did not take that just now. Subscribe below."

// deletedNotice is what somebody reads whose post is gone.
const deletedNotice = "The post is deleted."

// noticeOf is the notice that the request's address asks for.
func noticeOf(r *http.Request) string {
	switch r.URL.Query().Get(noticeParam) {
	case noticeDeclined:
		return declinedNotice
	case noticeKept:
		return keptNotice
	case noticeFounded:
		return foundedNotice
	case noticeDeleted:
		return deletedNotice
	}
	return ""
}

// addNotice adds the notice value to a local address.
func addNotice(to, value string) string {
	u, err := url.Parse(to)
	if err != nil {
		return to
	}
	query := u.Query()
	query.Set(noticeParam, value)
	u.RawQuery = query.Encode()
	return u.String()
}

// withNotice carries the notice of a request on to another page.
func withNotice(r *http.Request, to string) string {
	if noticeOf(r) == "" {
		return to
	}
	return addNotice(to, r.URL.Query().Get(noticeParam))
}

// withoutNotice is the address of a page without its notice.
func withoutNotice(u *url.URL) string {
	if !u.Query().Has(noticeParam) {
		return u.RequestURI()
	}
	query := u.Query()
	query.Del(noticeParam)
	own := url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: query.Encode()}
	return own.String()
}
