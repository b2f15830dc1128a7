package xrpc

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

type subscribeInput struct {
	Community         string          `json:"community"`
	ContentVisibility json.RawMessage `json:"contentVisibility"`
}

type subscriptionView struct {
	URI      syntax.ATURI `json:"uri"`
	CID      syntax.CID   `json:"cid"`
	Existing bool         `json:"existing"`
}

// subscribe answers social.coves.community.subscribe: whoever asks follows a
// community, or sees more or less of it than before.
func (s *Server) subscribe(w http.ResponseWriter, r *http.Request, who caller) error {
	var in subscribeInput
	actor, err := s.begin(w, r, who, &in)
	if err != nil {
		return err
	}
	visibility, err := wholeNumber("contentVisibility", in.ContentVisibility)
	if err != nil {
		return err
	}
	done, err := s.cfg.Communities.Subscribe(r.Context(), actor, in.Community, visibility)
	if err != nil {
		return err
	}
	return write(w, subscriptionView(done))
}

// wholeNumber reads an integer of any size, the nearest that there is for very
// large ones; nil when it is absent or null.
func wholeNumber(field string, raw json.RawMessage) (*int, error) {
	text := string(raw)
	if text == "" || text == "null" {
		return nil, nil //nolint:nilnil // absent is an answer
	}
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return nil, invalid(nil, "The field "+field+" must be a whole number.")
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		n = math.MaxInt
		if strings.HasPrefix(text, "-") {
			n = math.MinInt
		}
	}
	return &n, nil
}
