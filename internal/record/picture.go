package record

import (
	"context"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/media"
)

// Picture is an image as JSON carries it.
type Picture struct {
	// Base64 is the file. null takes the picture away; empty text keeps it, as
	// clients send it for fields that were not filled in.
	Base64 Change[string]
	MIME   string // what the sender takes it for; may be empty
}

// Sent is a picture and what it is to be.
type Sent struct {
	Picture
	Use media.Use
}

// Studio checks pictures, a few at once: it takes memory, and all of a core.
type Studio struct{ painters chan struct{} }

// maxPainters is how many pictures may be checked at once.
const maxPainters = 4

// NewStudio returns a studio that nobody is in.
func NewStudio() *Studio { return &Studio{make(chan struct{}, maxPainters)} }

// Look checks a picture when there is a painter free. Errors: those of check,
// and Unavailable when ctx ends before.
func (s *Studio) Look(ctx context.Context, check func() (media.Image, error)) (media.Image, error) {
	select {
	case s.painters <- struct{}{}:
	case <-ctx.Done():
		return media.Image{}, fault.Wrap(fault.Unavailable, ctx.Err(), "Too many pictures are coming in. Please try again in a moment.")
	}
	defer func() { <-s.painters }()
	return check()
}

// Pictures checks the pictures of a request, by the names of their fields. What
// is to be taken away is noted in change as nil; what is to be stored comes back
// when all of it is in order. Errors: those of media.CheckBase64 and of Look.
func (s *Studio) Pictures(ctx context.Context, all map[string]Sent, change map[string]any) (map[string]media.Image, error) {
	checked := map[string]media.Image{}
	for name, sent := range all {
		switch {
		case sent.Base64.Null:
			change[name] = nil
		case sent.Base64.Value != "":
			picture, err := s.Look(ctx, func() (media.Image, error) {
				return media.CheckBase64(sent.Use, sent.Base64.Value, sent.MIME)
			})
			if err != nil {
				return nil, err
			}
			checked[name] = picture
		}
	}
	return checked, nil
}
