// Package oauth is the vocabulary that both sides of AT Protocol OAuth share:
// error codes and scopes. Sub-packages hold the rest: dpop makes and checks
// proofs, client signs members in through their PDS. None of them knows a
// database, a web framework or a global variable that changes.
package oauth
