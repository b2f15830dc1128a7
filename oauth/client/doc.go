// Package client signs members of the AT Protocol in through their own PDS and
// acts for them: discovery, pushed requests, callback, authenticated calls, and
// sessions that refresh themselves, by one holder over all processes. Storage
// and the HTTP client come from the caller; every guarantee, the window that
// remains, and every error are listed in oauth/README.md.
package client
