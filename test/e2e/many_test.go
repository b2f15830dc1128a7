package e2e

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/test/network"
)

// batch is how many records one commit of the official PDS takes.
const batch = 200

// writeMany writes posts as another client would that has many at once, admits
// them as the community, and returns them with their titles, the oldest first.
func writeMany(t *testing.T, n *network.Network, author, commons network.Account, count int) (titles []string, posts []network.Record) {
	t.Helper()
	name, began := network.Name("n"), time.Now().Add(-time.Duration(count)*time.Second).UTC()
	var writes []write
	for i := range count {
		at := began.Add(time.Duration(i) * time.Second)
		titles = append(titles, fmt.Sprintf("one of many %s %04d", name, i))
		writes = append(writes, write{postCollection, syntax.NewTIDFromTime(at, 0).String(), map[string]any{
			"community": commons.DID, "title": titles[i], "content": "And so on.", "createdAt": at.Format("2006-01-02T15:04:05.000Z"),
		}})
	}
	posts = writeAll(t, n, author, writes)
	admit(t, n, commons, posts...)
	return titles, posts
}

// write is a record to be.
type write struct {
	collection, rkey string
	record           map[string]any
}

// writeAll writes records in as few commits as the PDS takes.
func writeAll(t *testing.T, n *network.Network, author network.Account, writes []write) (written []network.Record) {
	t.Helper()
	client, err := n.SignInWithPassword(t.Context(), author)
	if err != nil {
		t.Fatal(err)
	}
	for len(writes) > 0 {
		var operations []map[string]any
		for _, w := range writes[:min(batch, len(writes))] {
			w.record["$type"] = w.collection
			operations = append(operations, map[string]any{"$type": "com.atproto.repo.applyWrites#create", "collection": w.collection, "rkey": w.rkey, "value": w.record})
		}
		var out struct{ Results []network.Record }
		if err := client.Call(t.Context(), "com.atproto.repo.applyWrites", map[string]any{"repo": author.DID, "writes": operations}, &out); err != nil {
			t.Fatal(err)
		}
		written, writes = append(written, out.Results...), writes[len(operations):]
	}
	return written
}

// admit writes the acceptances of posts, as the server of the community does.
func admit(t *testing.T, n *network.Network, commons network.Account, posts ...network.Record) {
	t.Helper()
	var writes []write
	for _, p := range posts {
		writes = append(writes, acceptance(p))
	}
	writeAll(t, n, commons, writes)
}

// acceptance is the record by which a community admits a post.
func acceptance(p network.Record) write {
	sum := sha256.Sum256([]byte(p.URI))
	key := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	return write{"social.coves.community.acceptance", key, map[string]any{
		"subject": map[string]any{"uri": p.URI, "cid": p.CID}, "createdAt": now(),
	}}
}

// awaitMany waits until the author's page has more posts than it shows at once,
// the newest on top.
func awaitMany(t *testing.T, inst *instance, author network.Account, newest string) (list string) {
	t.Helper()
	list = "/u/" + author.Handle
	eventually(t, "many posts at "+list, func() bool {
		body := inst.browser().get(list).body
		return strings.Contains(body, newest) && strings.Contains(body, "More posts")
	})
	return list
}
