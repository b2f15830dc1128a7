package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// Hosting says where communities get their accounts.
type Hosting struct {
	PDS           string // origin
	AdminPassword keyring.Secret
	HandleDomain  string
	Mint          bool // whether invite codes are asked for
	// Mapped says that handles are not looked up by their names, which is for
	// development.
	Mapped bool
}

// CheckHosting checks what making a community will need: the PDS, its administrator's
// password, and that handles lead somewhere.
func (d *Doctor) CheckHosting(ctx context.Context) []Finding {
	if d.Hosting == nil {
		return []Finding{fine("hosting", "is off: communities cannot be created here (hosting.pds_url)")}
	}
	findings := []Finding{d.homePDS(ctx), d.homeAdmin(ctx)}
	if !d.Hosting.Mapped {
		findings = append(findings, d.wildcard(ctx))
	}
	return findings
}

func (d *Doctor) homePDS(ctx context.Context) Finding {
	const check = "hosting: PDS"
	h := d.Hosting
	server, err := d.home(d.HTTP)
	if err != nil {
		return broken(check, "correct hosting.pds_url", "%v", err)
	}
	said, err := server.DescribeServer(ctx)
	switch {
	case err != nil:
		return broken(check, "check hosting.pds_url and that the PDS runs; on a private network it needs egress_allow", "%v", err)
	case !slices.Contains(said.HandleDomains, "."+h.HandleDomain):
		return broken(check, "let the PDS give them out (PDS_SERVICE_HANDLE_DOMAINS), or correct hosting.handle_domain",
			"gives out handles under %s, not under .%s", strings.Join(said.HandleDomains, ", "), h.HandleDomain)
	case said.InviteRequired && !h.Mint:
		return broken(check, `set hosting.invite = "mint"`, "takes accounts with an invite code only")
	}
	return fine(check, "%s gives out handles under .%s", h.PDS, h.HandleDomain)
}

func (d *Doctor) home(doer pds.Doer) (*pds.Client, error) {
	return pds.New(pds.Config{Origin: d.Hosting.PDS, HTTP: doer, Now: d.Now})
}

// homeAdmin asks, as the administrator, for an account that cannot be there.
func (d *Doctor) homeAdmin(ctx context.Context) Finding {
	const check = "hosting: administrator"
	server, err := d.home(pds.Admin{HTTP: d.HTTP, Password: d.Hosting.AdminPassword})
	if err != nil {
		return broken(check, "correct hosting.pds_url", "%v", err)
	}
	_, err = server.AccountHandle(ctx, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa")
	var refused *pds.Error
	switch {
	case errors.As(err, &refused) && (refused.Status == http.StatusUnauthorized || refused.Status == http.StatusForbidden):
		return broken(check, "set hosting.pds_admin_password to the PDS_ADMIN_PASSWORD of the PDS", "the password is refused: %v", err)
	case err != nil && (!errors.As(err, &refused) || refused.Status >= http.StatusInternalServerError):
		return broken(check, "see the line about the PDS", "%v", err)
	}
	return fine(check, "the password is accepted")
}

// wildcard asks at a name that nobody has: what answers there will answer for
// handles, too.
func (d *Doctor) wildcard(ctx context.Context) Finding {
	const check = "hosting: handles"
	host := "doctor-" + strings.ToLower(rand.Text()[:8]) + "." + d.Hosting.HandleDomain
	if _, err := d.get(ctx, "https://"+host+"/.well-known/atproto-did"); err != nil {
		return broken(check, "let *."+d.Hosting.HandleDomain+" lead to the PDS or to Atoll in DNS, with a certificate for it",
			"nothing answers at https://%s, so handles of communities will not be found: %v", host, err)
	}
	return fine(check, "names under .%s lead to a server", d.Hosting.HandleDomain)
}
