package login

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/httpserver"
	"github.com/atoll-social/atoll/internal/identity"
	"github.com/atoll-social/atoll/internal/keyring"
	"github.com/atoll-social/atoll/internal/session"
	"github.com/atoll-social/atoll/internal/store"
)

const (
	// HandOffLife is how long the sign-in of an app may take (N7).
	HandOffLife = 30 * time.Minute
	// CodeTries is how many wrong codes end it (N4).
	CodeTries = 5
	// maxAppName bounds what an app may call itself, in characters.
	maxAppName = 64
)

// HandOffsConfig is what HandOffs works with.
type HandOffsConfig struct {
	DB   *store.DB
	Apps *session.Apps
	// Origin is the instance's own, such as https://example.org.
	Origin string
	// MaxPending bounds the sign-ins under way, give or take a hundredth; zero
	// means 20,000. Of one network (IPv4 /24, IPv6 /48) there can be a tenth of it.
	MaxPending int
	// Limit is how many sign-ins one address may begin, and how many wrong
	// secrets it may send; zero means bursts of 30 and one more every two seconds.
	Limit httpserver.LimiterConfig
	// Redirects are the addresses at which apps may be called back; see Redirect.
	Redirects []string
	Logger    *slog.Logger
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// HandOffs keeps the sign-ins of apps: what an app asked for, how far its member
// is in the browser, and the session that waits for it. Everything is in rows, so
// that a restart loses nothing, and the browser and the app may be at different
// processes. Login id, collection secret and OAuth state are three values, none
// of which can be made from the others. It is safe for concurrent use.
type HandOffs struct {
	cfg      HandOffsConfig
	begins   *httpserver.AddrLimiter
	guesses  *httpserver.AddrLimiter
	waiters  waiters
	stopping chan struct{}
	log      *slog.Logger
	now      func() time.Time
	pending  int
	perPlace int
	puts     atomic.Int64
}

// NewHandOffs checks cfg and returns HandOffs. It does no I/O.
func NewHandOffs(cfg HandOffsConfig) (*HandOffs, error) {
	if cfg.DB == nil || cfg.Apps == nil || cfg.Origin == "" || cfg.Logger == nil || cfg.MaxPending < 0 {
		return nil, errors.New("login: hand-offs need DB, Apps, Origin and Logger, and a MaxPending that is not negative")
	}
	if cfg.Limit == (httpserver.LimiterConfig{}) {
		cfg.Limit = httpserver.LimiterConfig{Every: 2 * time.Second, Burst: 30}
	}
	begins, err := httpserver.NewAddrLimiter(cfg.Limit)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	guesses, err := httpserver.NewAddrLimiter(cfg.Limit)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	h := &HandOffs{cfg: cfg, begins: begins, guesses: guesses, stopping: make(chan struct{}), now: cfg.Now,
		log: cfg.Logger.With("component", "hand_off"), pending: cfg.MaxPending}
	if h.now == nil {
		h.now = time.Now
	}
	if h.pending == 0 {
		h.pending = defaultPending
	}
	h.perPlace = max(1, h.pending/10)
	return h, nil
}

// Initiate is an app that wants somebody to sign in.
type Initiate struct {
	// Identifier is what the person typed: a handle, a DID, or their server's address.
	Identifier string
	// Name is what the app calls itself: 1 to 64 printable characters.
	Name string
	// LoopbackPort is where the app listens on 127.0.0.1; 0: it does not.
	LoopbackPort int
	Addr         netip.Addr
}

// Initiated is what the app gets.
type Initiated struct {
	ID        string         // in the address; no secret
	Secret    keyring.Secret // collects the result
	Code      string         // to be shown in the app and typed in the browser
	URL       string         // to be opened in the browser
	ExpiresAt time.Time
}

// Initiate begins a sign-in. No server is asked before the browser comes.
// Newcomers are never refused for being too many (S11). Every error is a fault.
func (h *HandOffs) Initiate(ctx context.Context, in Initiate) (Initiated, error) {
	if _, err := identity.ParseInput(in.Identifier); err != nil {
		return Initiated{}, explain(err)
	}
	if err := checkAppName(in.Name); err != nil {
		return Initiated{}, err
	}
	if in.LoopbackPort != 0 && (in.LoopbackPort < 1024 || in.LoopbackPort > 65535) {
		return Initiated{}, fault.New(fault.Invalid, "The loopback port must be from 1024 to 65535, or 0 for none.")
	}
	if err := h.begins.Spend(in.Addr); err != nil {
		return Initiated{}, err
	}
	out := Initiated{ID: rand.Text(), Secret: newAppSecret(), ExpiresAt: h.now().Add(HandOffLife)}
	out.Code, out.URL = codeOf(out.Secret, out.ID), h.cfg.Origin+AppPath(out.ID)
	err := h.insert(ctx, handOff{
		id: out.ID, state: stateInitiated, identifier: in.Identifier, name: in.Name, origin: session.Origin(in.Addr),
		secretHash: hashOf(out.Secret.Reveal()), codeHash: codeHash(out.ID, out.Code), port: in.LoopbackPort, expires: out.ExpiresAt,
	})
	if err != nil {
		return Initiated{}, explain(err)
	}
	return out, nil
}

// AppPath is the address of the page that begins a sign-in in the browser.
func AppPath(id string) string { return "/app/" + id }

// ApprovePath is the address of the page that asks for the code, and afterwards
// tells how the sign-in ended.
func ApprovePath(id string) string { return AppPath(id) + "/approve" }

// checkAppName refuses names that nobody could read, or that write over the page
// around them: marks of direction are not printable.
func checkAppName(name string) error {
	unreadable := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(name) || strings.TrimSpace(name) == "" || utf8.RuneCountInString(name) > maxAppName ||
		strings.ContainsFunc(name, unreadable) {
		return fault.New(fault.Invalid, fmt.Sprintf("The app's name must have 1 to %d printable characters.", maxAppName))
	}
	return nil
}

// newAppSecret has 260 random bits.
func newAppSecret() keyring.Secret { return keyring.NewSecret(rand.Text() + rand.Text()) }

// hashOf is what the database keeps of a random value: it cannot be searched.
func hashOf(value string) []byte {
	sum := sha256.Sum256([]byte(value))
	return sum[:]
}

// codeLetters look like no other letter, and spell few words.
const codeLetters = "BCDFGHJKLMNPQRSTVWXZ"

// codeOf makes the code of a sign-in from its secret, so that whoever waits
// again can show it again: 34 bits, and five tries.
func codeOf(secret keyring.Secret, id string) string {
	h := hmac.New(sha256.New, []byte(secret.Reveal()))
	h.Write([]byte("atoll app code\x00" + id))
	n := binary.BigEndian.Uint64(h.Sum(nil))
	var code [9]byte
	for i := range code {
		if i == 4 {
			code[i] = '-'
			continue
		}
		code[i] = codeLetters[n%uint64(len(codeLetters))]
		n /= uint64(len(codeLetters))
	}
	return string(code[:])
}

// codeHash is what the database keeps of a code, as somebody typed it: capitals,
// dashes and spaces don't matter.
func codeHash(id, typed string) []byte {
	letters := strings.Map(func(r rune) rune {
		if r == '-' || unicode.IsSpace(r) {
			return -1
		}
		return unicode.ToUpper(r)
	}, typed)
	return hashOf("code\x00" + id + "\x00" + letters)
}
