package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/test/network"
	"github.com/atoll-social/atoll/test/size"
)

// TestManyPostsInARealBrowser pages through a community of a thousand posts with
// the script, while others write to it and vote on what is there: each post
// that was there at the first page comes exactly once.
func TestManyPostsInARealBrowser(t *testing.T) {
	t.Parallel()
	inst := start(t, shape{confidential: true})
	count := size.Size(200, 1000)
	commons, author, other := secluded(t, inst.network), inst.network.NewAccount(t, 1), inst.network.NewAccount(t, 0)
	titles, posts := writeMany(t, inst.network, author, commons, count)
	place := "/c/" + commons.Handle
	eventually(t, "all posts", func() bool {
		return strings.Contains(inst.browser().get(place).body, fmt.Sprintf("%d posts", count))
	})
	w := inst.chromium().window()
	for _, sort := range []string{"hot", "new"} {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			disturb(ctx, t, inst.network, other, commons, posts, "meanwhile, by "+sort)
		}()
		w.open(place + "?sort=" + sort)
		eventually(t, "what is written meanwhile", func() bool {
			return strings.Contains(inst.browser().get(place+"?sort=new").body, "meanwhile, by "+sort)
		})
		shown := w.loadsAll()
		stop()
		<-done
		if diff := cmp.Diff(timesEach(titles), timesEach(shown)); diff != "" {
			t.Errorf("ordered by %s, how often each post is there (-want +got):\n%s", sort, diff)
		}
		if twice := eval[int](w, `(ids => ids.length - new Set(ids).size)([...document.querySelectorAll("[data-list] > li")].map(e => e.id))`); twice > 0 {
			t.Errorf("ordered by %s, %d posts are there twice", sort, twice)
		}
	}
}

// timesEach counts how often each of many posts is among titles.
func timesEach(titles []string) map[string]int {
	times := map[string]int{}
	for _, title := range titles {
		if strings.HasPrefix(title, "one of many") {
			times[title]++
		}
	}
	return times
}

// loadsAll presses "More posts" on one and the same page until the end is said,
// and returns the titles of all posts.
func (w *window) loadsAll() (titles []string) {
	w.t.Helper()
	still := w.marked()
	const items = `document.querySelectorAll("[data-list] > li").length`
	const end = `document.querySelector(".older")?.innerText === "That is everything."`
	for !eval[bool](w, end) {
		before := eval[int](w, items)
		w.press("More posts")
		w.await("more posts", fmt.Sprintf(`%s && (%s > %d || %s)`, still, items, before, end))
	}
	return eval[[]string](w, `[...document.querySelectorAll(".post-title")].map(e => e.innerText)`)
}

// disturb writes posts, admits them and votes on those that are there, again and
// again until ctx ends.
func disturb(ctx context.Context, t *testing.T, n *network.Network, who, commons network.Account, posts []network.Record, title string) {
	client, err := n.SignInWithPassword(ctx, who)
	place, placeErr := n.SignInWithPassword(ctx, commons)
	for i := 0; err == nil && placeErr == nil; i++ {
		subject := posts[(i*37)%len(posts)]
		_, err = client.CreateRecord(ctx, "social.coves.feed.vote", "", map[string]any{
			"subject": map[string]any{"uri": subject.URI, "cid": subject.CID}, "direction": []string{"up", "down"}[i%2], "createdAt": now(),
		})
		if err == nil && i%4 == 0 {
			var written network.Record
			written, err = client.CreateRecord(ctx, postCollection, "", map[string]any{
				"community": commons.DID, "title": title, "content": "It does not wait.", "createdAt": now(),
			})
			a := acceptance(written)
			_, placeErr = place.CreateRecord(ctx, a.collection, a.rkey, a.record)
		}
	}
	if ctx.Err() == nil {
		t.Errorf("writing meanwhile: %v, %v", err, placeErr)
	}
}
