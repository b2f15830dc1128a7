package web

import (
	"net/url"
	"slices"
	"strings"
)

// permissions says in words what scopes allow (the grammar is that of the AT
// Protocol's permission specification). A scope that has no words here is
// named as it is, so that nothing granted is ever left out.
func permissions(scopes []string) []string {
	var out []string
	for _, scope := range scopes {
		words := permission(scope)
		if !slices.Contains(out, words) {
			out = append(out, words)
		}
	}
	return out
}

// wholeScopes have no parts.
var wholeScopes = map[string]string{
	"atproto":                     "Know who you are: your DID and handle",
	"transition:generic":          "Read and write nearly everything in your account, as an older kind of permission",
	"transition:email":            "See your e-mail address",
	"transition:chat.bsky":        "Read and send your direct messages on Bluesky",
	"account:email":               "See your e-mail address",
	"identity:handle":             "Change your handle",
	"identity:*":                  "Change your handle and your identity",
	"account:repo":                "See your whole repository",
	"account:status":              "See whether your account is active",
	"account:email?action=manage": "Change your e-mail address",
}

func permission(scope string) string {
	if words, ok := wholeScopes[scope]; ok {
		return words
	}
	kind, value, params := splitScope(scope)
	switch kind {
	case "repo":
		return repoPermission(value, params)
	case "blob":
		return blobPermission(value, params)
	case "rpc":
		return "Ask other services for you: " + or(value, strings.Join(params["lxm"], ", "))
	case "include":
		return "A set of permissions that is published as " + value
	}
	return "Use the permission “" + scope + "”"
}

// splitScope takes "kind:value?key=…" apart.
func splitScope(scope string) (kind, value string, params url.Values) {
	head, query, _ := strings.Cut(scope, "?")
	kind, value, _ = strings.Cut(head, ":")
	params, err := url.ParseQuery(query)
	if err != nil {
		return "", "", nil
	}
	return kind, value, params
}

// recordWords names the records that Atoll writes.
var recordWords = map[string]string{
	"*":                                   "every kind of record",
	"social.coves.community.postv2":       "posts",
	"social.coves.community.comment":      "comments",
	"social.coves.feed.vote":              "votes",
	"social.coves.community.subscription": "subscriptions",
	"social.coves.community.block":        "blocks of communities",
	"social.coves.actor.block":            "blocks of people",
	"social.coves.actor.profile":          "your profile in communities",
}

func repoPermission(value string, params url.Values) string {
	collections := params["collection"]
	if value != "" {
		collections = append([]string{value}, collections...)
	}
	for i, nsid := range collections {
		collections[i] = or(recordWords[nsid], "records of the type "+nsid)
	}
	var verbs []string
	for _, action := range []struct{ name, word string }{{"create", "write"}, {"update", "change"}, {"delete", "delete"}} {
		if actions := params["action"]; len(actions) == 0 || slices.Contains(actions, action.name) {
			verbs = append(verbs, action.word)
		}
	}
	if len(verbs) == 0 || len(collections) == 0 {
		return "Use your repository in a way that is not known here"
	}
	return capital(list(verbs)) + " " + list(collections) + " in your repository"
}

func blobPermission(value string, params url.Values) string {
	kinds := params["accept"]
	if value != "" {
		kinds = append([]string{value}, kinds...)
	}
	for i, kind := range kinds {
		switch kind {
		case "image/*":
			kinds[i] = "images"
		case "video/*":
			kinds[i] = "videos"
		case "*/*":
			kinds[i] = "files of any kind"
		default:
			kinds[i] = "files of the kind " + kind
		}
	}
	return "Upload " + list(kinds) + " to your server"
}

// list joins words as a sentence does.
func list(words []string) string {
	switch n := len(words); n {
	case 0:
		return ""
	case 1:
		return words[0]
	default:
		return strings.Join(words[:n-1], ", ") + " and " + words[n-1]
	}
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func or(s, otherwise string) string {
	if s != "" {
		return s
	}
	return otherwise
}
