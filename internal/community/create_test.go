package community

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"strings"
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/account"
	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/pds"
	"github.com/atoll-social/atoll/internal/record"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
	"github.com/atoll-social/atoll/test/size"
)

func sent[T any](v T) record.Change[T] { return record.Change[T]{Sent: true, Value: v} }

// drawing is a picture in base64.
func drawing(t *testing.T) string {
	t.Helper()
	var file bytes.Buffer
	check(t, png.Encode(&file, image.NewGray(image.Rect(0, 0, 4, 4))))
	return base64.StdEncoding.EncodeToString(file.Bytes())
}

// profileOf is a community's profile without what follows from the clock and
// from pictures.
func (v *village) profileOf(t *testing.T, did syntax.DID) (profile map[string]any, pictures string) {
	t.Helper()
	read, err := v.repos.Read(t.Context(), did, index.CommunityCollection, self)
	check(t, err)
	for _, name := range []string{"avatar", "banner"} {
		if blob, ok := read.Record[name].(atdata.Blob); ok {
			pictures += name + " " + blob.MimeType + " "
			delete(read.Record, name)
		}
	}
	delete(read.Record, "createdAt")
	return read.Record, pictures
}

// TestCreate holds C2 and H7: a community is its own account, with all that was
// sent, by whoever asked, on this instance; and it is there at once.
func TestCreate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		in := CreateInput{Name: "tools", Key: "k", Profile: Profile{
			DisplayName: sent(" Tools "), Description: sent("see this"), Visibility: sent("unlisted"), ModerationType: sent("moderator"),
			DescriptionFacets: sent(json.RawMessage(`[{"index":{"byteStart":0,"byteEnd":3},"features":[{"$type":"social.coves.richtext.facet#bold"}]}]`)),
			ContentWarnings:   sent([]string{"violence", "nsfw", "nsfw"}),
			Avatar:            record.Picture{Base64: sent(drawing(t))}, Banner: record.Picture{Base64: sent(drawing(t)), MIME: "image/png"},
		}}
		made, err := v.Create(t.Context(), actor, in)
		check(t, err)
		profile, pictures := v.profileOf(t, made.DID)
		want := map[string]any{"$type": string(index.CommunityCollection), "name": "tools", "displayName": "Tools", "description": "see this",
			"visibility": "unlisted", "moderationType": "moderator", "createdBy": string(alice), "hostedBy": string(own),
			"contentWarnings": []any{"nsfw", "violence"},
			"descriptionFacets": []any{map[string]any{"index": map[string]any{"byteStart": int64(0), "byteEnd": int64(3)},
				"features": []any{map[string]any{"$type": "social.coves.richtext.facet#bold"}}}}}
		if diff := cmp.Diff(want, profile); diff != "" || pictures != "avatar image/png banner image/png " {
			t.Errorf("pictures %q, profile (-want +got):\n%s", pictures, diff)
		}
		if diff := cmp.Diff([]syntax.DID{made.DID, made.DID}, v.repos.uploads); diff != "" {
			t.Errorf("pictures are stored by (-want +got):\n%s", diff)
		}
		known, ok, err := v.index.Community(t.Context(), made.DID)
		if err != nil || !ok || known.Name != "tools" || known.HostedBy != own || made.Handle != "tools.groups.example.com" {
			t.Errorf("the index has %+v, %t, %v; made %+v", known, ok, err, made)
		}
		again, err := v.Create(t.Context(), actor, in)
		if err != nil || again.DID != made.DID || again.CID != made.CID {
			t.Errorf("repeated: %+v, %v; want %+v", again, err, made)
		}
		in.Description = sent("something else")
		if _, err := v.Create(t.Context(), actor, in); code(err) != "conflict Conflict" {
			t.Errorf("another request under the key: %v", err)
		}
		if _, err := v.Create(t.Context(), actor, CreateInput{Name: "tools"}); code(err) != "conflict NameTaken" {
			t.Errorf("the name again: %v", err)
		}
	})
}

// TestCreateBadInput holds that what breaks a rule makes nothing anywhere.
func TestCreateBadInput(t *testing.T) {
	t.Parallel()
	facets := func(text string) record.Change[json.RawMessage] { return sent(json.RawMessage(text)) }
	for _, tt := range []struct {
		name   string
		change func(*CreateInput)
		want   string
	}{
		{"no name", func(in *CreateInput) { in.Name = "" }, "invalid InvalidRequest"},
		{"short name", func(in *CreateInput) { in.Name = "ab" }, "invalid InvalidRequest"},
		{"long name", func(in *CreateInput) { in.Name = strings.Repeat("a", 19) }, "invalid InvalidRequest"},
		{"upper case", func(in *CreateInput) { in.Name = "Tools" }, "invalid InvalidRequest"},
		{"dots", func(in *CreateInput) { in.Name = "to.ols" }, "invalid InvalidRequest"},
		{"reserved", func(in *CreateInput) { in.Name = "admin" }, "invalid InvalidRequest"},
		{"long display name", func(in *CreateInput) { in.DisplayName = sent(strings.Repeat("é", 129)) }, "invalid ContentTooLong"},
		{"two lines", func(in *CreateInput) { in.DisplayName = sent("a\nb") }, "invalid InvalidRequest"},
		{"long description", func(in *CreateInput) { in.Description = sent(strings.Repeat("é", 1001)) }, "invalid ContentTooLong"},
		{"heavy description", func(in *CreateInput) { in.Description = sent(strings.Repeat("👩‍👩‍👧‍👦", 401)) }, "invalid ContentTooLong"},
		{"U+0000", func(in *CreateInput) { in.Description = sent("a\x00b") }, "invalid InvalidRequest"},
		{"visibility", func(in *CreateInput) { in.Visibility = sent("secret") }, "invalid InvalidRequest"},
		{"moderation", func(in *CreateInput) { in.ModerationType = sent("anarchy") }, "invalid InvalidRequest"},
		{"warning", func(in *CreateInput) { in.ContentWarnings = sent([]string{"nsfw", "boring"}) }, "invalid InvalidRequest"},
		{"facets of nothing", func(in *CreateInput) {
			in.DescriptionFacets = facets(`[{"index":{"byteStart":0,"byteEnd":3},"features":[]}]`)
		}, "invalid InvalidRequest"},
		{"facets are text", func(in *CreateInput) { in.DescriptionFacets = facets(`"x"`) }, "invalid InvalidRequest"},
		{"facets are no data", func(in *CreateInput) { in.DescriptionFacets = facets(`[1.5]`) }, "invalid InvalidRequest"},
		{"no picture", func(in *CreateInput) { in.Avatar.Base64 = sent(base64.StdEncoding.EncodeToString([]byte("<svg/>"))) }, "invalid InvalidRequest"},
		{"no base64", func(in *CreateInput) { in.Banner.Base64 = sent("%%%") }, "invalid InvalidRequest"},
		{"a long key", func(in *CreateInput) { in.Key = strings.Repeat("k", 300) }, "invalid InvalidRequest"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newVillage(t, storetest.New(t, store.SQLite), newRepos())
			in := CreateInput{Name: "tools"}
			tt.change(&in)
			if _, err := v.Create(t.Context(), actor, in); code(err) != tt.want || fault.From(err).Public == "" {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if len(v.repos.writes)+len(v.repos.uploads) > 0 {
				t.Errorf("written: %v, uploaded by %v", v.repos.writes, v.repos.uploads)
			}
		})
	}
}

// TestWhoMayCreate holds what [community] creation says.
func TestWhoMayCreate(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	v := newVillage(t, db, newRepos(), func(c *Config) { c.AdminsOnly, c.Admins = true, []syntax.DID{kitchen} })
	if _, err := v.Create(t.Context(), actor, CreateInput{Name: "tools"}); code(err) != "forbidden CommunityCreationRestricted" {
		t.Errorf("a member: %v", err)
	}
	if _, err := v.Create(t.Context(), guest, CreateInput{Name: "tools"}); err != nil {
		t.Errorf("an admin: %v", err)
	}
	for what, change := range map[string]func(*Config){
		"nothing is hosted": func(c *Config) { c.Hosting = nil }, "nothing more is hosted": func(c *Config) { c.HostingOff = true },
	} {
		off := newVillage(t, db, newRepos(), change)
		if _, err := off.Create(t.Context(), actor, CreateInput{Name: "tools"}); code(err) != "forbidden CommunityCreationRestricted" || off.Closed("") == "" {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestUpdate holds C2: what was sent changes, the rest stays, pictures and what
// others have written included.
func TestUpdate(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		v := newVillage(t, db, newRepos())
		made, err := v.Create(t.Context(), actor, CreateInput{Name: "tools", Profile: Profile{
			DisplayName: sent("Tools"), Description: sent("see this"), Avatar: record.Picture{Base64: sent(drawing(t))},
			DescriptionFacets: sent(json.RawMessage(`[{"index":{"byteStart":0,"byteEnd":3},"features":[{"$type":"social.coves.richtext.facet#bold"}]}]`)),
		}})
		check(t, err)
		check(t, v.foreign(t, made.DID, "more", "theirs"))
		update := func(p Profile) (map[string]any, string) {
			t.Helper()
			_, err := v.Update(t.Context(), actor, UpdateInput{Community: string(made.DID), Profile: p})
			check(t, err)
			return v.profileOf(t, made.DID)
		}
		is, pictures := update(Profile{Visibility: sent("private")})
		if is["displayName"] != "Tools" || is["more"] != "theirs" || is["visibility"] != "private" || is["descriptionFacets"] == nil || pictures == "" {
			t.Errorf("visibility changed: %v, %q", is, pictures)
		}
		if is, _ = update(Profile{Description: sent("see this")}); is["descriptionFacets"] == nil {
			t.Error("the same text has lost its marks")
		}
		is, pictures = update(Profile{Description: sent("new"), DisplayName: record.Change[string]{Sent: true, Null: true},
			Avatar: record.Picture{Base64: record.Change[string]{Sent: true, Null: true}}, Banner: record.Picture{Base64: sent(drawing(t))}})
		if is["description"] != "new" || is["descriptionFacets"] != nil || is["displayName"] != nil || pictures != "banner image/png " {
			t.Errorf("taken away: %v, %q", is, pictures)
		}
		writes := len(v.repos.writes)
		if is, _ = update(Profile{}); len(v.repos.writes) != writes || is["name"] != "tools" || is["hostedBy"] != string(own) {
			t.Errorf("nothing sent: %v, %d writes", is, len(v.repos.writes)-writes)
		}
		known, _, err := v.index.Community(t.Context(), made.DID)
		if err != nil || known.Visibility != index.Private || !bytes.Contains(known.Record, []byte(`"new"`)) {
			t.Errorf("the index has %+v, %v", known, err)
		}
	})
}

// foreign adds a field to a profile, as another program would.
func (v *village) foreign(t *testing.T, did syntax.DID, field, value string) error {
	t.Helper()
	_, err := v.cfg.Records.Revise(t.Context(), agent.Actor{DID: did}, pds.Place{Collection: index.CommunityCollection, RKey: self},
		func(is map[string]any) (map[string]any, error) { is[field] = value; return is, nil })
	return err
}

func TestUpdateRefused(t *testing.T) {
	t.Parallel()
	v := newVillage(t, storetest.New(t, store.SQLite), newRepos(), func(c *Config) { c.Admins = []syntax.DID{crook} })
	made, err := v.Create(t.Context(), actor, CreateInput{Name: "tools"})
	check(t, err)
	moderate := func(who syntax.DID, role string) {
		put(t, v.db, v.index, made.DID, "social.coves.community.moderator", syntax.RecordKey(syntax.NewTIDNow(5)), map[string]any{
			"$type": "social.coves.community.moderator", "user": string(who), "community": string(made.DID), "role": role,
			"createdAt": "2026-01-02T03:04:05Z", "createdBy": string(alice)})
	}
	moderate(kitchen, "admin")
	moderate(cellar, "moderator")
	writes := len(v.repos.writes)
	for _, tt := range []struct {
		who       syntax.DID
		community string
		p         Profile
		want      string
	}{
		{cellar, string(made.DID), Profile{DisplayName: sent("x")}, "forbidden NotAuthorized"},
		{garden, string(made.DID), Profile{DisplayName: sent("x")}, "forbidden NotAuthorized"},
		{alice, string(kitchen), Profile{DisplayName: sent("x")}, "forbidden NotAuthorized"},
		{alice, "nobody.example.com", Profile{DisplayName: sent("x")}, "not found CommunityNotFound"},
		{alice, "", Profile{DisplayName: sent("x")}, "invalid InvalidRequest"},
		{alice, string(made.DID), Profile{DisplayName: sent(strings.Repeat("x", 129))}, "invalid ContentTooLong"},
		{alice, string(made.DID) + " renamed", Profile{}, "invalid InvalidRequest"},
		{alice, string(made.DID), Profile{Visibility: sent("secret")}, "invalid InvalidRequest"},
		{alice, string(made.DID), Profile{Avatar: record.Picture{Base64: sent("AAAA")}}, "invalid InvalidRequest"},
		{alice, string(made.DID), Profile{DescriptionFacets: sent(json.RawMessage(`[{"index":{"byteStart":0,"byteEnd":9},"features":[]}]`))}, "invalid InvalidRequest"},
	} {
		named, name, _ := strings.Cut(tt.community, " ")
		_, err := v.Update(t.Context(), agent.Actor{DID: tt.who}, UpdateInput{Community: named, Name: name, Profile: tt.p})
		if code(err) != tt.want {
			t.Errorf("%s %+v: %v, want %s", tt.who, tt.p, err, tt.want)
		}
	}
	if len(v.repos.writes) != writes || len(v.repos.uploads) != 0 {
		t.Errorf("written: %v", v.repos.writes[writes:])
	}
	for _, who := range []syntax.DID{kitchen, crook} {
		if _, err := v.Update(t.Context(), agent.Actor{DID: who}, UpdateInput{Community: string(made.DID), Profile: Profile{DisplayName: sent(string(who))}}); err != nil {
			t.Errorf("%s: %v", who, err)
		}
	}
}

// TestManyUpdates holds C2 under concurrency: fifty updates at once, in two
// processes, while other programs change the profile as well; each is applied or
// told that it was not, and nobody's change is lost.
func TestManyUpdates(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		r := newRepos()
		shared := &hosting{repos: r, made: map[string]account.Hosted{}, names: map[string]bool{}}
		with := func(c *Config) { c.Hosting = shared }
		one, two := newVillage(t, db, r, with), newVillage(t, db, r, with)
		made, err := one.Create(t.Context(), actor, CreateInput{Name: "tools"})
		check(t, err)
		n := size.Size(20, 50)
		var wg sync.WaitGroup
		var mu sync.Mutex
		applied := 0
		for i := range n {
			v := []*village{one, two}[i%2]
			wg.Go(func() {
				field := fmt.Sprint("theirs", i)
				if i%5 == 0 {
					if err := v.foreign(t, made.DID, field, "x"); err != nil {
						t.Error(err)
					}
					return
				}
				_, err := v.Update(t.Context(), actor, UpdateInput{Community: string(made.DID), Profile: Profile{Description: sent(field)}})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					applied++
				} else if fault.KindOf(err) != fault.Conflict {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		is, _ := one.profileOf(t, made.DID)
		for i := 0; i < n; i += 5 {
			if is[fmt.Sprint("theirs", i)] != "x" {
				t.Errorf("the change %d of another program is lost", i)
			}
		}
		if written := len(r.writes) - 1; written != applied+n/5 || applied == 0 {
			t.Errorf("%d writes of %d updates that were applied and %d of others", written, applied, n/5)
		}
	})
}
