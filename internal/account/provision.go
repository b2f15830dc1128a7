package account

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/job"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// provisionTime is how long one go at the sequence may take.
	provisionTime = 2 * time.Minute
	// provisionKind continues what a process left unfinished. It begins when the
	// first go must be over, so that it usually finds nothing to do.
	provisionKind  = "account_provision"
	provisionAfter = leaseTime + 10*time.Second
	// attempts of the job at one account before it is undone, about two hours.
	provisionAttempts = 12
	// maxRecord bounds the profile, in bytes of JSON.
	maxRecord = 64 << 10
	maxKey    = 512
)

// Request is an account to be made.
type Request struct {
	Name string
	// CreatedBy is who asks, Key what they call the request: the same key again
	// gives the same account. An empty key is a new request.
	CreatedBy syntax.DID
	Key       string
	// Record is the whole social.coves.community.profile.
	Record map[string]any
}

// jobArgs are those of jobs about one account.
type jobArgs struct {
	ID string `json:"id"`
}

// Provision makes an account with a profile, ready to be used, or leaves nothing
// behind. It goes on when ctx ends. Errors: *Error, with a sentence for people.
func (m *Manager) Provision(ctx context.Context, req Request) (Hosted, error) {
	if m.admin == nil {
		e := failure(Off, fault.Forbidden, nil,
			"Communities cannot be created here: this server has no PDS to keep them on. Its operator can configure one (hosting.pds_url).")
		e.public = e.public.WithCode("CommunityCreationRestricted")
		return Hosted{}, e
	}
	handle, err := m.handleOf(req.Name)
	if err != nil {
		return Hosted{}, err
	}
	record, err := json.Marshal(req.Record)
	if err != nil {
		return Hosted{}, fmt.Errorf("provision %s: encode the record: %w", handle, err)
	}
	if len(record) > maxRecord || len(req.Key) > maxKey || req.CreatedBy == "" {
		return Hosted{}, fmt.Errorf("provision %s: the record or the key is too large, or nobody asks", handle)
	}
	if req.Key == "" {
		req.Key = rand.Text()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), provisionTime)
	defer cancel()
	id, err := m.begin(ctx, req, handle, record)
	if err != nil {
		return Hosted{}, err
	}
	h, err := m.holdWaiting(ctx, id)
	if err != nil {
		return Hosted{}, explain(err)
	}
	defer h.release(ctx)
	return m.first(ctx, h)
}

// first is the go that somebody waits for: what fails is undone at once.
func (m *Manager) first(ctx context.Context, h *held) (Hosted, error) {
	over := h.state == undoing // an earlier call failed
	err := m.drive(ctx, h)
	switch {
	case err == nil && h.state == undone:
		return Hosted{}, h.told()
	case err == nil:
		return h.hosted(), nil
	case over || errors.Is(err, errLost):
		return Hosted{}, explain(err)
	}
	failed := explain(err)
	if undoErr := m.fail(ctx, h, failed); undoErr != nil && !errors.Is(undoErr, errAgain) {
		m.log.WarnContext(ctx, "half-made account not removed yet, a job goes on", "account", h.id, "handle", h.handle, "error", undoErr)
	}
	return Hosted{}, failed
}

// told is the failure of an account that came to nothing.
func (h *held) told() error {
	public := h.failure
	if public == nil {
		public = fault.New(fault.Unavailable, "The community could not be made. Please try again.")
	}
	return &Error{Reason: Repeated, public: public}
}

// begin finds the row of a request, or makes it, together with the job that
// continues it after a crash.
func (m *Manager) begin(ctx context.Context, req Request, handle syntax.Handle, record []byte) (id string, err error) {
	fresh, err := m.newRow(req, handle, record)
	if err != nil {
		return "", err
	}
	for range 2 { // the second finds what the same request, sent twice at once, has just written
		id, err = m.reserve(ctx, fresh)
		var known *Error
		if err == nil || !store.IsUnique(err) && !(errors.As(err, &known) && known.Reason == Taken) {
			return id, err
		}
	}
	if store.IsUnique(err) {
		return "", taken(req.Name, err)
	}
	return "", err
}

// reserve writes the row of a request unless it is there.
func (m *Manager) reserve(ctx context.Context, fresh *row) (id string, err error) {
	err = m.cfg.DB.Tx(ctx, func(tx *store.Tx) error {
		old, err := m.earlier(ctx, tx, fresh)
		if err != nil {
			return err
		}
		if old != nil && old.state != undone {
			id = old.id
			return nil
		}
		if err := m.free(ctx, tx, fresh); err != nil {
			return err
		}
		if err := m.within(ctx, tx, fresh); err != nil {
			return err
		}
		if old != nil { // it failed before, and is tried anew
			fresh.id = old.id
		}
		id = fresh.id
		if err := m.put(ctx, tx, fresh); err != nil {
			return err
		}
		_, err = m.cfg.Queue.Enqueue(ctx, tx, job.Insert{Kind: provisionKind, Args: jobArgs{id}, Unique: id,
			RunAt: m.cfg.Now().Add(provisionAfter), Attempts: provisionAttempts})
		return err
	})
	return id, err
}

// earlier is the row of the same request; nil if there is none.
func (m *Manager) earlier(ctx context.Context, tx *store.Tx, fresh *row) (*row, error) {
	var id string
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(min(id), '') FROM hosted_account WHERE created_by = $1 AND request_key = $2`,
		fresh.createdBy.String(), fresh.requestKey).Scan(&id)
	if err != nil || id == "" {
		return nil, err
	}
	old, err := m.get(ctx, tx, `id = $1`, id)
	if err == nil && (old.name != fresh.name || !bytes.Equal(old.record, fresh.record)) {
		return nil, failure(Repeated, fault.Conflict, nil, "This request was sent before with other contents. Please begin anew.")
	}
	return old, err
}

// free makes sure that nobody has the name here.
func (m *Manager) free(ctx context.Context, tx *store.Tx, fresh *row) error {
	var by string
	var is state
	err := tx.QueryRowContext(ctx, `SELECT COALESCE(min(created_by), ''), COALESCE(min(state), '') FROM hosted_account
		WHERE handle = $1 AND state <> 'undone'`, fresh.handle.String()).Scan(&by, &is)
	switch {
	case err != nil || by == "":
		return err
	case is == undoing && by == fresh.createdBy.String():
		return failure(Unreachable, fault.Unavailable, nil,
			"An earlier attempt at this community is still being cleaned up. Please try again in a few minutes.")
	}
	return taken(fresh.name, errors.New("it is taken here"))
}

// within holds a member to what one may have made in a day: each is an account
// on the PDS and an identity in the public directory, which stay.
func (m *Manager) within(ctx context.Context, tx *store.Tx, fresh *row) error {
	if m.cfg.Daily == 0 {
		return nil
	}
	var made int
	err := tx.QueryRowContext(ctx, `SELECT count(*) FROM hosted_account WHERE created_by = $1 AND created_at > $2 AND state <> 'undone'`,
		fresh.createdBy.String(), store.Micros(fresh.createdAt.Add(-24*time.Hour))).Scan(&made)
	if err != nil || made < m.cfg.Daily {
		return err
	}
	return failure(TooMany, fault.Limited, nil,
		fmt.Sprintf("You have created %d communities within a day, which is what this server allows. Please go on tomorrow.", made))
}

// newRow draws all that an account needs, before anybody is asked for it.
func (m *Manager) newRow(req Request, handle syntax.Handle, record []byte) (*row, error) {
	now := m.cfg.Now()
	r := &row{
		id: strings.ToLower(rand.Text()), createdBy: req.CreatedBy, requestKey: req.Key, name: req.Name, handle: handle,
		pds: m.cfg.Hosting.PDS, state: reserved, status: statusActive, record: record,
		recoveryDID: m.cfg.Hosting.RecoveryKey, createdAt: now, checkedAt: now,
		secrets: map[string]keyring.Secret{password: newPassword()},
	}
	// Nobody else may have an account with this address, so it is not guessable.
	r.email = req.Name + "-" + strings.ToLower(rand.Text()[:8]) + "@" + m.cfg.Hosting.EmailDomain
	if r.recoveryDID == "" {
		key, err := atcrypto.GeneratePrivateKeyP256()
		if err != nil {
			return nil, fmt.Errorf("make a recovery key: %w", err)
		}
		public, err := key.PublicKey()
		if err != nil {
			return nil, fmt.Errorf("make a recovery key: %w", err)
		}
		r.recoveryDID = public.DIDKey()
		r.secrets[recoveryKey] = keyring.NewSecret(key.Multibase())
	}
	return r, nil
}

// newPassword has 260 bits, more than anybody guesses.
func newPassword() keyring.Secret { return keyring.NewSecret(rand.Text() + rand.Text()) }

// provisionJob continues what a process left unfinished.
func (m *Manager) provisionJob(ctx context.Context, j job.Job) error {
	var args jobArgs
	if err := j.Decode(&args); err != nil {
		return err
	}
	h, err := m.hold(ctx, args.ID)
	switch {
	case errors.Is(err, errHeld):
		return job.Park(m.cfg.Now().Add(provisionAfter), err)
	case errors.Is(err, errNone):
		return job.Discard(err)
	case err != nil:
		return err
	}
	defer h.release(ctx)
	if h.state == active || h.state == undone {
		return nil
	}
	m.log.InfoContext(ctx, "unfinished account is continued", "account", h.id, "handle", h.handle, "state", string(h.state))
	err = m.drive(ctx, h)
	switch {
	case err == nil || h.state == undone:
		return nil
	case h.state == undoing: // until it is done, however long the PDS is away
		return job.Park(m.cfg.Now().Add(time.Minute), err)
	case isTransient(err) && j.Attempt < j.MaxAttempts:
		h.problem = problemText(err)
		return errors.Join(err, h.save(ctx))
	}
	if err := m.fail(ctx, h, explain(err)); err != nil {
		return job.Park(m.cfg.Now().Add(time.Minute), err)
	}
	return nil
}
