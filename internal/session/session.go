// Package session owns devices, the accounts that are signed in on them, their
// OAuth sessions with members' servers, the client's signing keys and the audit
// trail. Manager is the session store of oauth/client; browsers are known by one
// cookie, whose value is stored hashed and changes at every sign-in and sign-out.
package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/store"
)

// DefaultDeviceLife is how long a device that nobody uses stays signed in.
const DefaultDeviceLife = 180 * 24 * time.Hour

// maxAccounts bounds the accounts of one device, and with them the rows that
// looking it up reads.
const maxAccounts = 20

// slideEvery is the least time between two writes of a device's expiry.
const slideEvery = time.Hour

// slideTimeout is how long a page waits for that write, slidePause how long
// nobody tries after one that failed.
const (
	slideTimeout = time.Second
	slidePause   = time.Minute
)

// Config is what a Manager works with.
type Config struct {
	DB     *store.DB
	Ring   *keyring.Ring
	Logger *slog.Logger
	// Now is the clock of stored times and expiry; nil means time.Now.
	Now func() time.Time
	// ClientID is the OAuth client that this instance is today, as servers see
	// it. Sessions that were given to another one, or whose client key is
	// withdrawn, are then asked to sign in again (S46). Empty: not judged.
	ClientID string
	// DeviceLife is how long a device stays signed in without being used;
	// zero means DefaultDeviceLife. Cookies must be made with the same value.
	DeviceLife time.Duration
}

// Manager keeps devices and sessions. It is safe for concurrent use, also by
// several processes on one database.
type Manager struct {
	db   *store.DB
	ring *keyring.Ring
	log  *slog.Logger
	now  func() time.Time
	life time.Duration

	noSlideUntil atomic.Int64 // microseconds; see pauseSlides

	clientID    string
	subscribers struct {
		sync.Mutex
		list []*func(Event) // replaced, never changed
	}
	// ended wakes the Revoker of this process; one pending wake-up is enough.
	ended chan struct{}
}

// New checks cfg and returns a Manager. It does no I/O.
func New(cfg Config) (*Manager, error) {
	if cfg.DB == nil || cfg.Ring == nil || cfg.Logger == nil {
		return nil, errors.New("session: DB, Ring and Logger are required")
	}
	if cfg.DeviceLife < 0 {
		return nil, errors.New("session: DeviceLife is negative")
	}
	m := &Manager{
		db: cfg.DB, ring: cfg.Ring, log: cfg.Logger.With("component", "session"),
		now: cfg.Now, life: cfg.DeviceLife, clientID: cfg.ClientID, ended: make(chan struct{}, 1),
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.life == 0 {
		m.life = DefaultDeviceLife
	}
	return m, nil
}

// tokenBytes is the entropy of a device cookie.
const tokenBytes = 32

// newToken returns a cookie value that nobody has known before, and its hash.
func newToken() (keyring.Secret, []byte) {
	raw := make([]byte, tokenBytes)
	rand.Read(raw) // never fails
	value := base64.RawURLEncoding.EncodeToString(raw)
	return keyring.NewSecret(value), hashToken(value)
}

// hashToken is what the database keeps of a cookie value. The value has 256
// random bits, so a plain hash cannot be searched.
func hashToken(value string) []byte {
	sum := sha256.Sum256([]byte(value))
	return sum[:]
}

// wellFormed tells whether a presented value can be one of ours at all.
func wellFormed(token keyring.Secret) bool {
	return len(token.Reveal()) == base64.RawURLEncoding.EncodedLen(tokenBytes)
}
