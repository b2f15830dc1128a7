package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/size"
)

const (
	voteCollection         = "social.coves.feed.vote"
	commentCollection      = "social.coves.community.comment"
	subscriptionCollection = "social.coves.community.subscription"
)

// crowd is a few accounts on both servers that write with other clients.
type crowd struct {
	t         *testing.T
	community network.Account
	members   []*network.Session

	mu    sync.Mutex
	posts []network.Record // some of which are gone
}

func newCrowd(t *testing.T, n *network.Network) *crowd {
	t.Helper()
	c := &crowd{t: t, community: secluded(t, n)}
	for i := range 4 {
		s, err := n.SignInWithPassword(t.Context(), n.NewAccount(t, i%len(n.PDS)))
		if err != nil {
			t.Fatal(err)
		}
		c.members = append(c.members, s)
	}
	return c
}

// write has every member act until stop is closed.
func (c *crowd) write(stop <-chan struct{}) (wait func()) {
	var wg sync.WaitGroup
	for _, s := range c.members {
		wg.Go(func() {
			var mine []string // collection and key of records that may be there
			for {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(20+rand.IntN(60)) * time.Millisecond):
				}
				var err error
				if mine, err = c.act(s, mine); err != nil {
					c.t.Errorf("write to a PDS: %v", err)
					return
				}
			}
		})
	}
	return wg.Wait
}

// act does one thing that people do.
func (c *crowd) act(s *network.Session, mine []string) ([]string, error) {
	ctx := context.WithoutCancel(c.t.Context())
	subject, ok := c.anyPost()
	switch n := rand.IntN(10); {
	case n < 3 || !ok:
		r, err := s.CreateRecord(ctx, postCollection, "", c.post("written "+network.Name("x")))
		if err == nil {
			c.mu.Lock()
			c.posts = append(c.posts, r)
			c.mu.Unlock()
		}
		return append(mine, place(r)), err
	case n < 6:
		r, err := s.CreateRecord(ctx, voteCollection, "", map[string]any{"subject": subject,
			"direction": []string{"up", "down"}[rand.IntN(2)], "createdAt": now()})
		return append(mine, place(r)), err
	case n < 7:
		r, err := s.CreateRecord(ctx, commentCollection, "", map[string]any{"content": "well", "createdAt": now(),
			"reply": map[string]any{"root": subject, "parent": subject}})
		return append(mine, place(r)), err
	case n < 8:
		r, err := s.CreateRecord(ctx, subscriptionCollection, "", map[string]any{"subject": c.community.DID, "createdAt": now()})
		return append(mine, place(r)), err
	case len(mine) > 0:
		at := rand.IntN(len(mine))
		collection, rkey, _ := strings.Cut(mine[at], "/")
		if collection == postCollection && n < 9 {
			_, err := s.PutRecord(ctx, collection, rkey, c.post("edited "+network.Name("x")))
			return mine, err
		}
		return append(mine[:at:at], mine[at+1:]...), s.DeleteRecord(ctx, collection, rkey)
	}
	return mine, nil
}

func (c *crowd) post(title string) map[string]any {
	return map[string]any{"community": c.community.DID, "title": title, "createdAt": now()}
}

// anyPost is a post, perhaps a deleted one, as a reference.
func (c *crowd) anyPost() (map[string]any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.posts) == 0 {
		return nil, false
	}
	r := c.posts[rand.IntN(len(c.posts))]
	return map[string]any{"uri": r.URI, "cid": r.CID}, true
}

// place is a record's collection and key.
func place(r network.Record) string {
	parts := strings.SplitN(r.URI, "/", 4)
	return parts[len(parts)-1]
}

// truth is what an index of the crowd's repositories must say, worked out from
// the repositories themselves: each post with its CID, votes and comments, and
// how many follow the community.
func (c *crowd) truth() map[string]string {
	c.t.Helper()
	posts, counts := map[string]string{}, map[string]*[3]int{}
	at := func(uri string) *[3]int {
		if counts[uri] == nil {
			counts[uri] = &[3]int{}
		}
		return counts[uri]
	}
	followers := 0
	for _, s := range c.members {
		for _, r := range c.records(s, postCollection) {
			posts[r.URI] = r.CID
		}
		for _, r := range c.records(s, commentCollection) {
			at(r.Value.Reply.Root.URI)[2]++
		}
		if len(c.records(s, subscriptionCollection)) > 0 {
			followers++
		}
		counting := map[string]repoRecord{} // per subject, the vote with the greatest key
		for _, r := range c.records(s, voteCollection) {
			if subject := r.Value.subject(); r.URI > counting[subject].URI {
				counting[subject] = r
			}
		}
		for subject, r := range counting {
			at(subject)[map[string]int{"up": 0, "down": 1}[r.Value.Direction]]++
		}
	}
	out := map[string]string{"followers": fmt.Sprint(followers)}
	for uri, cid := range posts {
		out[uri] = fmt.Sprint(cid, " ", *at(uri))
	}
	return out
}

// repoRecord is a record as its PDS lists it.
type repoRecord struct {
	URI, CID string
	Value    recordValue
}

type recordValue struct {
	Direction string
	Subject   any
	Reply     struct{ Root struct{ URI string } }
}

// subject is whom or what the record is about.
func (v recordValue) subject() string {
	if ref, ok := v.Subject.(map[string]any); ok {
		return fmt.Sprint(ref["uri"])
	}
	return fmt.Sprint(v.Subject)
}

func (c *crowd) records(s *network.Session, collection string) (all []repoRecord) {
	c.t.Helper()
	for cursor := ""; ; {
		var page struct {
			Records []repoRecord
			Cursor  string
		}
		q := url.Values{"repo": {s.Account.DID}, "collection": {collection}, "limit": {"100"}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		if err := s.Query(c.t.Context(), "com.atproto.repo.listRecords", q, &page); err != nil {
			c.t.Fatal(err)
		}
		all = append(all, page.Records...)
		if cursor = page.Cursor; cursor == "" || len(page.Records) == 0 {
			return all
		}
	}
}

// indexed is the same as an instance has it in its database.
func (c *crowd) indexed(i *instance) map[string]string {
	c.t.Helper()
	db := i.database()
	defer db.Close()
	out := map[string]string{}
	for _, s := range c.members {
		rows, err := db.Read().QueryContext(c.t.Context(), `
			SELECT p.rkey, p.cid, r.upvotes, r.downvotes, r.comments
			FROM post p JOIN account a ON a.id = p.author_id JOIN post_rank r ON r.post_id = p.id WHERE a.did = $1 AND NOT p.deleted`, s.Account.DID)
		if err != nil {
			c.t.Fatal(err)
		}
		for rows.Next() {
			var rkey, cid string
			var n [3]int
			if err := rows.Scan(&rkey, &cid, &n[0], &n[1], &n[2]); err != nil {
				c.t.Fatal(err)
			}
			out["at://"+s.Account.DID+"/"+postCollection+"/"+rkey] = fmt.Sprint(cid, " ", n)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			c.t.Fatal(err)
		}
	}
	var followers int
	err := db.Read().QueryRowContext(c.t.Context(), `
		SELECT COALESCE(max(t.subscribers), 0) FROM account_tally t JOIN account a ON a.id = t.account_id WHERE a.did = $1`,
		c.community.DID).Scan(&followers)
	if err != nil {
		c.t.Fatal(err)
	}
	out["followers"] = fmt.Sprint(followers)
	return out
}

// TestKilledWhileTwoServersWrite holds I2, I9 and C9: the program is killed
// with -9 again and again while people write to both real servers. In the end
// the index is what the repositories say, nothing lost and nothing counted
// twice; and so is one that is built from whole repositories, from nothing.
func TestKilledWhileTwoServersWrite(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	c := newCrowd(t, inst.network)
	stop := make(chan struct{})
	wait := c.write(stop)
	kills := size.Size(10, 100)
	for range kills {
		<-time.After(time.Duration(rand.IntN(700)) * time.Millisecond)
		inst.kill()
		inst.launch()
	}
	close(stop)
	wait()
	if t.Failed() {
		return
	}
	want := c.truth()
	var got map[string]string
	deadline := time.Now().Add(60 * time.Second)
	for {
		if got = c.indexed(inst); cmp.Equal(want, got) || time.Now().After(deadline) {
			break
		}
		<-time.After(200 * time.Millisecond)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("the index after %d kills (-repositories +index):\n%s", kills, diff)
	}
	t.Logf("%d kills, %d posts, %s follow", kills, len(want)-1, want["followers"])

	fresh := *inst
	fresh.dir = t.TempDir()
	args := []string{"ingest", "backfill", c.community.DID}
	for _, s := range c.members {
		args = append(args, s.Account.DID)
	}
	for _, command := range [][]string{{"migrate"}, args} {
		if out, code := fresh.command(command...); code != 0 {
			t.Fatalf("atoll %v: %d\n%s", command, code, out)
		}
	}
	if diff := cmp.Diff(want, c.indexed(&fresh)); diff != "" {
		t.Errorf("an index built from nothing (-repositories +index):\n%s", diff)
	}
	if a := inst.browser().get("/readyz"); a.status != http.StatusOK || strings.Contains(a.body, "dead_letters") {
		t.Errorf("/readyz afterwards: %d %s, want no dead letters", a.status, a.body)
	}
}
