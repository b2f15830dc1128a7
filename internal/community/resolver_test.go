package community

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/bluesky-social/indigo/atproto/identity"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/index"
	"github.com/atoll-social/atoll/internal/store"
	"github.com/atoll-social/atoll/internal/store/storetest"
)

const (
	alice   = syntax.DID("did:plc:aliceaaaaaaaaaaaaaaaaaaa")
	garden  = syntax.DID("did:plc:gardenaaaaaaaaaaaaaaaaaa") // hosted by us
	kitchen = syntax.DID("did:plc:kitchenaaaaaaaaaaaaaaaaa") // hosted by kitchens.example.com, not indexed
	cellar  = syntax.DID("did:plc:cellaraaaaaaaaaaaaaaaaaa") // hosted by cellars.example.com, under another pattern, indexed
	crook   = syntax.DID("did:plc:crookaaaaaaaaaaaaaaaaaaa") // calls itself beer, at cellars.example.com
	own     = syntax.DID("did:web:atoll.example.com")
)

// town is a directory, and the servers of the communities in it.
type town struct{ down bool }

var handles = map[syntax.DID]syntax.Handle{
	alice: "alice.example.com", garden: "garden.groups.example.com", kitchen: "kitchen.kitchens.example.com",
	cellar: "wine.rooms.cellars.example.com", crook: "crook.example.com",
}

func (w town) Lookup(_ context.Context, id syntax.AtIdentifier) (*sdk.Identity, error) {
	if w.down {
		return nil, &identity.Error{Subject: id.String(), Reason: identity.ErrUnavailable}
	}
	for did, handle := range handles {
		if id.String() == string(did) || id.String() == string(handle) {
			return &sdk.Identity{DID: did, Handle: handle}, nil
		}
	}
	if strings.HasPrefix(id.String(), made) {
		return &sdk.Identity{DID: id.DID(), Handle: syntax.HandleInvalid}, nil
	}
	if id.IsDID() {
		return nil, &identity.Error{Subject: id.String(), Reason: identity.ErrDIDNotFound}
	}
	return nil, &identity.Error{Subject: id.String(), Reason: identity.ErrHandleNotFound}
}

func (town) PDS(*sdk.Identity) (string, error) { return "https://pds.example.com", nil }

// Do answers com.atproto.repo.getRecord for profiles.
func (w town) Do(r *http.Request) (*http.Response, error) {
	did := syntax.DID(r.URL.Query().Get("repo"))
	host := map[syntax.DID]string{kitchen: "did:web:kitchens.example.com", garden: string(own)}[did]
	status, body := http.StatusOK, map[string]any{
		"uri": "at://" + did + "/social.coves.community.profile/self", "value": profileRecord(host, "kitchen"),
		"cid": "bafyreih2gw5ps5fpxl6j3nnrrmiqnbmocpidkjghyhmrmscqtbn2oqvlhm",
	}
	if host == "" {
		status, body = http.StatusBadRequest, map[string]any{"error": "RecordNotFound", "message": "no"}
	}
	raw, err := json.Marshal(body)
	return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(string(raw)))}, err
}

func profileRecord(host, name string) map[string]any {
	return map[string]any{"$type": string(index.CommunityCollection), "name": name, "createdAt": "2026-01-02T03:04:05.000Z",
		"createdBy": string(alice), "hostedBy": host}
}

// put applies a record to the index.
func put(t *testing.T, db *store.DB, x *index.Index, did syntax.DID, collection syntax.NSID, rkey syntax.RecordKey, record map[string]any) {
	t.Helper()
	cid, err := agent.RecordCID(record)
	if err != nil {
		t.Fatal(err)
	}
	commit, drops := x.Prepare(did, syntax.NewTIDNow(0), []index.Op{{
		Action: index.Create, Collection: collection, RKey: rkey, CID: cid, Record: record}})
	if len(drops) > 0 {
		t.Fatal(drops)
	}
	err = db.Tx(t.Context(), func(tx *store.Tx) error {
		if _, err := x.Apply(t.Context(), tx, []index.Commit{commit}); err != nil {
			return err
		}
		return x.Identify(t.Context(), tx, index.Identity{DID: did, Handle: handles[did], PDS: "https://pds.example.com"})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// verifyHosts believes every hosting claim that is open, or none of them.
func verifyHosts(t *testing.T, x *index.Index, answer bool) {
	t.Helper()
	claims, err := x.HostClaims(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range claims {
		if err := x.AnswerHost(t.Context(), c, index.HostAnswer{OK: &answer, Again: time.Hour}); err != nil {
			t.Fatal(err)
		}
	}
}

func newResolver(t *testing.T, x *index.Index, w town) *Resolver {
	t.Helper()
	r, err := NewResolver(ResolverConfig{Index: x, Directory: w, HTTP: w, Instance: own, HandleDomain: ".Groups.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFind holds C1: every form leads to the account, in both directions, and
// what cannot be found says why.
func TestFind(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		x, err := index.New(index.Config{DB: db})
		if err != nil {
			t.Fatal(err)
		}
		put(t, db, x, cellar, index.CommunityCollection, "self", profileRecord("did:web:cellars.example.com", "wine"))
		verifyHosts(t, x, true)
		put(t, db, x, crook, index.CommunityCollection, "self", profileRecord("did:web:cellars.example.com", "beer"))
		tests := []struct {
			text string
			want syntax.DID
			code string
		}{
			{string(garden), garden, ""}, {" DID:PLC:" + strings.TrimPrefix(string(garden), "did:plc:") + " ", garden, ""},
			{"garden.groups.example.com", garden, ""}, {"@Garden.groups.example.com", garden, ""},
			{"!garden.groups.example.com", garden, ""}, {"!@garden.groups.example.com", garden, ""},
			{"!garden@atoll.example.com", garden, ""}, {"!Garden@Atoll.example.com", garden, ""},
			{"!kitchen@kitchens.example.com", kitchen, ""}, {"!wine@cellars.example.com", cellar, ""},
			{"", "", "InvalidRequest"}, {"!", "", "InvalidRequest"}, {"@", "", "InvalidRequest"}, {"garden", "", "InvalidRequest"},
			{"garden@atoll.example.com", "", "InvalidRequest"}, {"!gar den@atoll.example.com", "", "InvalidRequest"},
			{"!a.b@atoll.example.com", "", "InvalidRequest"}, {"!-a@atoll.example.com", "", "InvalidRequest"},
			{"!garden@", "", "InvalidRequest"}, {"!garden@atoll.example.com@x.org", "", "InvalidRequest"},
			{"!garden@https://atoll.example.com", "", "InvalidRequest"}, {"https://atoll.example.com", "", "InvalidRequest"},
			{"!x@" + strings.Repeat("a.", 300) + "com", "", "InvalidRequest"},
			{"did:key:zabc", "", "InvalidRequest"}, {"!garden@atoll", "", "CommunityNotFound"},
			{"a\x00b.example.com", "", "InvalidRequest"}, {strings.Repeat("a", 5000), "", "InvalidRequest"},
			{"nobody.example.com", "", "CommunityNotFound"}, {"!nobody@atoll.example.com", "", "CommunityNotFound"},
			{"did:plc:nobodyaaaaaaaaaaaaaaaaaa", "", "CommunityNotFound"},
			{"!garden@kitchens.example.com", "", "CommunityNotFound"},
			{"!beer@cellars.example.com", "", "CommunityNotFound"},       // only its record says so
			{"!alice@example.com", "", "CommunityNotFound"},              // no community
			{"!crook@example.com", crook, ""},                            // as pages call it: its handle is proven
			{"!wine@rooms.cellars.example.com", "", "CommunityNotFound"}, // they call it by its host
		}
		for _, tt := range tests {
			got, err := newResolver(t, x, town{}).Resolve(t.Context(), tt.text)
			var f *fault.Error
			if got != tt.want || errors.As(err, &f) && f.Code != tt.code || (err != nil) != (tt.code != "") {
				t.Errorf("%.60q: %s %v, want %s %s", tt.text, got, err, tt.want, tt.code)
			}
			if err != nil && (!errors.Is(err, ErrCommunity) || f == nil || f.Public == "") {
				t.Errorf("%.60q: %v says nothing to people", tt.text, err)
			}
		}
		_, err = newResolver(t, x, town{down: true}).Find(t.Context(), "garden.groups.example.com")
		if fault.KindOf(err) != fault.Unavailable {
			t.Errorf("directory down: %v", err)
		}
	})
}

// TestPerson holds the same for people.
func TestPerson(t *testing.T) {
	t.Parallel()
	x, err := index.New(index.Config{DB: storetest.New(t, store.SQLite)})
	if err != nil {
		t.Fatal(err)
	}
	for text, code := range map[string]string{
		"@alice.example.com": "", string(alice): "", "": "InvalidRequest", "alice": "InvalidRequest",
		"https://alice.example.com": "InvalidRequest", "bob.example.com": "ProfileNotFound",
	} {
		got, err := newResolver(t, x, town{}).Person(t.Context(), text)
		if code == "" && (err != nil || got.DID != alice) || code != "" && fault.From(err).Code != code {
			t.Errorf("%q: %v %v, want %q", text, got.DID, err, code)
		}
	}
}

// TestLocate: whoever reads needs nobody else. What the index knows is found
// while the directory is away, and a DID is never asked about.
func TestLocate(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, store.SQLite)
	x, err := index.New(index.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	put(t, db, x, cellar, index.CommunityCollection, "self", profileRecord("did:web:cellars.example.com", "wine"))
	r := newResolver(t, x, town{down: true})
	for _, tt := range []struct {
		find func(context.Context, string, func() error) (syntax.DID, error)
		text string
		want syntax.DID
		code fault.Kind
	}{
		{r.Locate, " !wine.rooms.cellars.example.com ", cellar, 0}, {r.Locate, "@Wine.Rooms.Cellars.example.com", cellar, 0},
		{r.Locate, string(cellar), cellar, 0}, {r.Locate, string(kitchen), kitchen, 0},
		{r.Locate, "kitchen.kitchens.example.com", "", fault.Unavailable}, {r.Locate, "garden", "", fault.Invalid}, {r.Locate, "", "", fault.Invalid},
		{r.LocatePerson, "wine.rooms.cellars.example.com", cellar, 0}, {r.LocatePerson, "@" + string(alice), alice, 0},
		{r.LocatePerson, "!wine.rooms.cellars.example.com", "", fault.Invalid}, {r.LocatePerson, "@alice.example.com", "", fault.Unavailable},
		{r.LocatePerson, "handle.invalid", "", fault.Unavailable},
	} {
		asked := 0
		got, err := tt.find(t.Context(), tt.text, func() error { asked++; return nil })
		if got != tt.want || (err != nil) != (tt.want == "") || err != nil && fault.KindOf(err) != tt.code {
			t.Errorf("%q: %q %v, want %q or a fault that is %s", tt.text, got, err, tt.want, tt.code)
		}
		if (asked > 0) != (tt.want == "") {
			t.Errorf("%q: asked %d times whether the network may be asked", tt.text, asked)
		}
		enough := errors.New("enough")
		if _, err := tt.find(t.Context(), tt.text, func() error { return enough }); tt.want == "" && !errors.Is(err, enough) {
			t.Errorf("%q, but nobody may be asked: %v", tt.text, err)
		}
	}
}
