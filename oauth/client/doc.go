// Package client signs members of the AT Protocol in through their own PDS and
// acts for them: discovery, pushed requests, callback, authenticated calls,
// revocation. Storage and the HTTP client come from the caller; every
// guarantee and error is listed in oauth/README.md.
package client
