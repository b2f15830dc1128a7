package xrpc

import (
	"net/url"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/google/go-cmp/cmp"

	"github.com/atoll-social/atoll/internal/agent"
	"github.com/atoll-social/atoll/internal/index"
)

func TestPostGetStatus(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.found()
	const key = syntax.RecordKey("3jzfcijpj2z2a")
	uri := syntax.ATURI("at://" + string(alice) + "/social.coves.community.postv2/" + string(key))
	post := map[string]any{"community": string(commons), "title": "t", "createdAt": "2026-01-02T03:04:05Z"}
	a.apply(alice, index.PostCollection, key, post)
	status := func(uri string) answer {
		return a.do(call{verb: "GET", path: "/xrpc/social.coves.community.post.getStatus?uri=" + url.QueryEscape(uri)})
	}
	const policy = "Everybody may post here."
	if diff := cmp.Diff(map[string]any{"status": "pending", "policy": policy}, a.fields(status(uri.String()))); diff != "" {
		t.Errorf("pending (-want +got):\n%s", diff)
	}
	subject := map[string]any{"uri": uri.String(), "cid": string(must(agent.RecordCID(post))(t))}
	decision := func(collection syntax.NSID, fields map[string]any) syntax.ATURI {
		fields["subject"], fields["createdAt"] = subject, "2026-01-02T03:04:05.000Z"
		a.apply(commons, collection, index.AdmissionKey(uri), fields)
		return syntax.ATURI("at://" + string(commons) + "/" + string(collection) + "/" + string(index.AdmissionKey(uri)))
	}
	accepted := map[string]any{"status": "accepted", "policy": policy, "acceptanceUri": decision(index.AcceptanceCollection, map[string]any{}).String()}
	if diff := cmp.Diff(accepted, a.fields(status(uri.String()))); diff != "" {
		t.Errorf("accepted (-want +got):\n%s", diff)
	}
	legacy := "at://" + string(commons) + "/social.coves.community.post/" + string(key)
	if diff := cmp.Diff(accepted, a.fields(status(legacy))); diff != "" {
		t.Errorf("the older form (-want +got):\n%s", diff)
	}
	decision(index.RemovalCollection, map[string]any{"code": "spam", "reason": "Again."})
	want := map[string]any{"status": "removed", "policy": policy, "acceptanceUri": accepted["acceptanceUri"],
		"removal": map[string]any{"code": "spam", "reason": "Again.", "removedAt": "2026-01-02T03:04:05.000Z"}}
	if diff := cmp.Diff(want, a.fields(status(uri.String()))); diff != "" {
		t.Errorf("removed (-want +got):\n%s", diff)
	}
	for bad, want := range map[string]string{
		"": "InvalidRequest", "nonsense": "InvalidRequest", "at://" + string(alice): "InvalidRequest",
		"at://" + string(alice) + "/social.coves.community.postv2":                 "InvalidRequest",
		"at://" + string(alice) + "/social.coves.community.postv2/3jzfcijpj2z2b":   "PostNotFound",
		"at://" + string(alice) + "/social.coves.community.comment/" + string(key): "PostNotFound",
		"at://alice.example.com/social.coves.community.postv2/" + string(key):      "PostNotFound",
	} {
		if got := status(bad); got.Error != want {
			t.Errorf("%q: %d %s, want %s", bad, got.status, got.Error, want)
		}
	}
}
