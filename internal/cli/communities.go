package cli

import (
	"fmt"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/admin"
	"github.com/atoll-social/atoll/internal/community"
	"github.com/atoll-social/atoll/internal/daemon"
)

type communitiesCommand struct {
	List    communitiesList    `cmd:"" help:"List the communities that this instance hosts, and how each admits posts."`
	Policy  communitiesPolicy  `cmd:"" help:"Say whose posts a community takes."`
	Waiting communitiesWaiting `cmd:"" help:"List the posts that wait in a community."`
	Approve communitiesApprove `cmd:"" help:"Accept a post that waits."`
	Remove  communitiesRemove  `cmd:"" help:"Remove a post. This is public."`
	Ban     communitiesBan     `cmd:"" help:"Shut somebody out of a community. This is public."`
	Unban   communitiesUnban   `cmd:"" help:"Let somebody in again."`
}

type communitiesList struct{}

// Run lists communities.
func (communitiesList) Run(r *run) error {
	return r.withCommunities(func(c *admin.Communities) error { return c.List(r.ctx, r.process.Stdout) })
}

type communitiesPolicy struct {
	Community   string `arg:"" help:"DID, handle or !name@instance."`
	Admission   string `arg:"" enum:"open,members,approval" help:"open, members or approval."`
	ReviewEdits bool   `help:"Posts that change after they were accepted have to be approved again."`
}

// Run changes a policy.
func (c communitiesPolicy) Run(r *run) error {
	p := community.Policy{Admission: community.Admission(c.Admission), ReviewEdits: c.ReviewEdits}
	return r.withCommunities(func(a *admin.Communities) error { return a.Policy(r.ctx, r.process.Stdout, c.Community, p) })
}

type communitiesWaiting struct {
	Community string `arg:"" help:"DID, handle or !name@instance."`
}

// Run lists what waits.
func (c communitiesWaiting) Run(r *run) error {
	return r.withCommunities(func(a *admin.Communities) error { return a.Waiting(r.ctx, r.process.Stdout, c.Community) })
}

type communitiesApprove struct {
	Post    string `arg:"" help:"AT-URI, as waiting shows it."`
	Version string `arg:"" help:"CID, as waiting shows it."`
	Always  bool   `help:"Its author's posts need no approval from now on."`
}

// Run approves a post.
func (c communitiesApprove) Run(r *run) error {
	post, err := postArgument(c.Post)
	if err != nil {
		return err
	}
	return r.withCommunities(func(a *admin.Communities) error {
		return a.Approve(r.ctx, r.process.Stdout, post, syntax.CID(c.Version), c.Always)
	})
}

type communitiesRemove struct {
	Post   string `arg:"" help:"AT-URI."`
	Code   string `arg:"" help:"rule-violation, spam, off-topic, illegal-content, moderator-discretion, or another word."`
	Reason string `help:"In a sentence, for everybody to read."`
}

// Run removes a post.
func (c communitiesRemove) Run(r *run) error {
	post, err := postArgument(c.Post)
	if err != nil {
		return err
	}
	return r.withCommunities(func(a *admin.Communities) error { return a.Remove(r.ctx, r.process.Stdout, post, c.Code, c.Reason) })
}

func postArgument(text string) (syntax.ATURI, error) {
	uri, err := syntax.ParseATURI(text)
	if err != nil || uri.RecordKey() == "" {
		return "", fmt.Errorf("%q is not the AT-URI of a post", text)
	}
	return uri, nil
}

type communitiesBan struct {
	Community string        `arg:"" help:"DID, handle or !name@instance."`
	Person    string        `arg:"" help:"DID or handle."`
	Reason    string        `required:"" help:"For everybody to read."`
	For       time.Duration `help:"How long, such as 72h; left out: for ever."`
}

// Run bans somebody.
func (c communitiesBan) Run(r *run) error {
	return r.withCommunities(func(a *admin.Communities) error {
		return a.Ban(r.ctx, r.process.Stdout, c.Community, c.Person, c.Reason, c.For)
	})
}

type communitiesUnban struct {
	Community string `arg:"" help:"DID, handle or !name@instance."`
	Person    string `arg:"" help:"DID or handle."`
}

// Run ends a ban.
func (c communitiesUnban) Run(r *run) error {
	return r.withCommunities(func(a *admin.Communities) error { return a.Unban(r.ctx, r.process.Stdout, c.Community, c.Person) })
}

// withCommunities opens the storage and the communities for one command.
func (r *run) withCommunities(do func(*admin.Communities) error) error {
	settings, err := r.settings()
	if err != nil {
		return err
	}
	storage, logger, err := r.storage(settings)
	if err != nil {
		return err
	}
	defer storage.DB.Close()
	s, operator, err := daemon.NewCommunities(r.daemon(settings, logger), storage)
	if err != nil {
		return err
	}
	return do(&admin.Communities{Service: s, Operator: operator})
}
