package main

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
)

// plan is every record that members have written before anyone came. It follows from the content, the accounts' DIDs and
// the moment at which the demo was begun alone, down to keys and CIDs: making it again makes the same records.
type plan struct {
	content     *content
	began       time.Time
	dids        map[string]syntax.DID // by name of member
	communities map[string]syntax.DID
	repos       map[string]*repo
}

// repo is what one member has written.
type repo struct {
	writes []write
	blobs  []blob
	keys   map[syntax.TID]bool
}

type write struct {
	collection syntax.NSID
	rkey       string
	record     map[string]any
}

type blob struct {
	ref  atdata.Blob
	data []byte
}

// said is a post or comment that others refer to.
type said struct {
	author string
	at     time.Time
	uri    syntax.ATURI
	cid    syntax.CID
}

func (s said) ref() map[string]any {
	return map[string]any{"uri": s.uri.String(), "cid": s.cid.String()}
}

// The size of pictures in posts.
const pictureWidth, pictureHeight = 720, 450

func newPlan(c *content, began time.Time, dids, communities map[string]syntax.DID) (*plan, error) {
	p := &plan{content: c, began: began, dids: dids, communities: communities, repos: map[string]*repo{}}
	for i, m := range c.Members {
		p.repos[m.Name] = &repo{keys: map[syntax.TID]bool{}}
		if err := p.introduce(m, i); err != nil {
			return nil, err
		}
	}
	for _, community := range c.Communities {
		if err := p.fill(community); err != nil {
			return nil, fmt.Errorf("community %s: %w", community.Name, err)
		}
	}
	return p, nil
}

// introduce writes a member's profile and subscriptions.
func (p *plan) introduce(m member, number int) error {
	dice := diceFor("subscriptions", number)
	joined := p.began.Add(-time.Duration(160+number) * 24 * time.Hour)
	face, err := p.picture(m.Name, "avatar of "+m.Name, 256, 256)
	if err != nil {
		return err
	}
	_, err = p.put(m.Name, index.PersonCollection, "self", map[string]any{
		"displayName": m.DisplayName, "bio": m.Bio, "avatar": face, "createdAt": timestamp(joined),
	})
	for i, c := range p.content.Communities {
		if err != nil {
			return err
		}
		if c.Founder != m.Name && dice.IntN(10) < 4 {
			continue
		}
		_, err = p.say(m.Name, index.SubscriptionCollection, joined.Add(time.Duration(i)*time.Minute), map[string]any{
			"subject": p.communities[c.Name].String(), "contentVisibility": int64([]int{2, 3, 3, 4, 5}[dice.IntN(5)]),
		})
	}
	return err
}

// fill writes a community's posts, and what was answered.
func (p *plan) fill(c community) error {
	byTitle := map[string]said{}
	for _, post := range c.Posts {
		record, err := p.postRecord(c, post, byTitle)
		if err != nil {
			return err
		}
		root, err := p.say(post.Author, index.PostCollection, p.began.Add(-time.Duration(post.Age)), record)
		if err != nil {
			return err
		}
		byTitle[post.Title] = root
		dice := diceFor(c.Name+post.Title, 0)
		if err := p.vote(root, dice, 4+dice.IntN(max(len(p.content.Members)-4, 1))); err != nil {
			return err
		}
		if err := p.answer(root, post.Thread, c.Log != nil, dice); err != nil {
			return err
		}
	}
	return nil
}

func (p *plan) postRecord(c community, post post, byTitle map[string]said) (map[string]any, error) {
	record := map[string]any{
		"community": p.communities[c.Name].String(), "title": post.Title, "content": post.Text, "langs": []any{"en"},
	}
	if post.Picture != "" {
		picture, err := p.picture(post.Author, post.Picture, pictureWidth, pictureHeight)
		if err != nil {
			return nil, err
		}
		record["embed"] = map[string]any{"$type": "social.coves.embed.images", "images": []any{map[string]any{
			"image": picture, "alt": altOf(post.Picture), "aspectRatio": map[string]any{"width": int64(pictureWidth), "height": int64(pictureHeight)},
		}}}
	}
	if post.Quotes != "" {
		quoted, ok := byTitle[post.Quotes]
		if !ok {
			return nil, fmt.Errorf("%q quotes %q, which is not above it", post.Title, post.Quotes)
		}
		record["embed"] = map[string]any{"$type": "social.coves.embed.post", "post": quoted.ref()}
	}
	return record, nil
}

// vote lets so many members vote, nearly all of them up.
func (p *plan) vote(on said, dice *rand.Rand, voters int) error {
	for _, i := range dice.Perm(len(p.content.Members))[:min(voters, len(p.content.Members))] {
		voter := p.content.Members[i].Name
		direction := "up"
		if dice.IntN(14) == 0 {
			direction = "down"
		}
		at := p.between(on.at, dice)
		if _, err := p.say(voter, index.VoteCollection, at, map[string]any{"subject": on.ref(), "direction": direction}); err != nil {
			return err
		}
	}
	return nil
}

// between is a moment after at, sooner rather than later, and before the demo begins.
func (p *plan) between(at time.Time, dice *rand.Rand) time.Time {
	span := min(p.began.Sub(at), 72*time.Hour)
	share := dice.Float64()
	return at.Add(time.Duration(share * share * float64(span)))
}

// say writes a record that is keyed and dated by its time.
func (p *plan) say(author string, collection syntax.NSID, at time.Time, record map[string]any) (said, error) {
	record["createdAt"] = timestamp(at)
	keys := p.repos[author].keys
	key := syntax.NewTID(at.UnixMicro(), 7)
	for keys[key] {
		at = at.Add(time.Microsecond)
		key = syntax.NewTID(at.UnixMicro(), 7)
	}
	keys[key] = true
	s, err := p.put(author, collection, key.String(), record)
	s.at = at
	return s, err
}

func (p *plan) put(author string, collection syntax.NSID, rkey string, record map[string]any) (said, error) {
	record["$type"] = collection.String()
	cid, err := agent.RecordCID(record)
	if err != nil {
		return said{}, fmt.Errorf("%s of %s: %w", collection, author, err)
	}
	r, ok := p.repos[author]
	if !ok {
		return said{}, fmt.Errorf("nobody is called %q", author)
	}
	r.writes = append(r.writes, write{collection, rkey, record})
	uri := syntax.ATURI(fmt.Sprintf("at://%s/%s/%s", p.dids[author], collection, rkey))
	return said{author: author, uri: uri, cid: cid}, nil
}

// picture paints an image that author uploads.
func (p *plan) picture(author, scene string, width, height int) (atdata.Blob, error) {
	data, err := paint(scene, width, height)
	if err != nil {
		return atdata.Blob{}, err
	}
	ref, err := blobOf(data, "image/png")
	p.repos[author].blobs = append(p.repos[author].blobs, blob{ref, data})
	return ref, err
}

func timestamp(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000Z") }

// diceFor always falls the same way for the same name and number.
func diceFor(name string, number int) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name)) // never fails
	return rand.New(rand.NewPCG(h.Sum64(), uint64(number)))
}
