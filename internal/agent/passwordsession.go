package agent

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/pds"
)

// renewBefore is how long before its end an access token is renewed.
const renewBefore = 5 * time.Minute

// isGood reports that a token can be used for a while. A token that does not
// tell when it ends is used until the server refuses it.
func isGood(token keyring.Secret, expires time.Time, now time.Time) bool {
	return !token.IsZero() && (expires.IsZero() || now.Add(renewBefore).Before(expires))
}

// newSession renews a password session, or begins one where that is not
// possible any more. passwordRefused in the error means that the password itself
// is over.
func newSession(ctx context.Context, server *pds.Client, refresh keyring.Secret,
	begin func(context.Context) (*pds.Session, error)) (*pds.Session, error) {
	if !refresh.IsZero() {
		s, err := server.RefreshSession(ctx, refresh)
		var refused *pds.Error
		if err == nil || !errors.As(err, &refused) || refused.Limited() || refused.Status >= http.StatusInternalServerError {
			return s, err
		}
	}
	s, err := begin(ctx)
	if isPasswordRefused(err) {
		err = fmt.Errorf("%w: %w", errPasswordRefused, err)
	}
	return s, err
}

// errPasswordRefused: the server does not take the password any more.
var errPasswordRefused = errors.New("password is not accepted")

func isPasswordRefused(err error) bool {
	var refused *pds.Error
	return errors.As(err, &refused) &&
		(refused.Name == pds.NameAuthRequired || refused.Name == pds.NameFactorRequired || refused.Status == http.StatusUnauthorized)
}
