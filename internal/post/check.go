package post

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/rivo/uniseg"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/index"
)

// Limits of the lexicon, by field.
const (
	titleGraphemes, titleBytes     = 300, 3_000
	contentGraphemes, contentBytes = 10_000, 100_000
	tagGraphemes, tagBytes         = 64, 640
	maxLangs, maxTags              = 3, 8
)

// check refuses what breaks a limit, saying which.
func (in CreateInput) check() error {
	if strings.TrimSpace(in.Title) == "" && strings.TrimSpace(in.Content) == "" && isAbsent(in.Embed) {
		return fault.New(fault.Invalid, "A post needs a title, a text, or something embedded.").WithCode("ContentEmpty")
	}
	if err := checkText("title", in.Title, titleGraphemes, titleBytes); err != nil {
		return err
	}
	if strings.ContainsAny(in.Title, "\n\r\t") {
		return invalid(nil, "The title must be a single line.")
	}
	if err := checkText("text", in.Content, contentGraphemes, contentBytes); err != nil {
		return err
	}
	switch {
	case len(in.Langs) > maxLangs:
		return invalid(nil, fmt.Sprintf("A post has at most %d languages.", maxLangs))
	case len(in.Tags) > maxTags:
		return invalid(nil, fmt.Sprintf("A post has at most %d tags.", maxTags))
	}
	for _, lang := range in.Langs {
		if _, err := syntax.ParseLanguage(lang); err != nil {
			return invalid(err, "A language must be a tag such as en or pt-BR.")
		}
	}
	for _, tag := range in.Tags {
		if strings.TrimSpace(tag) == "" {
			return invalid(nil, "A tag is empty.")
		}
		if err := checkText("tag", tag, tagGraphemes, tagBytes); err != nil {
			return err
		}
	}
	return in.checkFacets()
}

// checkText counts bytes first: counting graphemes of a megabyte is work.
func checkText(field, text string, graphemes, size int) error {
	if len(text) > size || uniseg.GraphemeClusterCount(text) > graphemes {
		return fault.New(fault.Invalid, fmt.Sprintf("The %s is too long: at most %d characters, %d bytes.", field, graphemes, size)).
			WithCode("ContentTooLong")
	}
	if !utf8.ValidString(text) || strings.ContainsFunc(text, isControl) {
		return invalid(nil, fmt.Sprintf("The %s has characters that cannot be shown.", field))
	}
	return nil
}

// isControl accepts the ends of lines and tabs.
func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\r' && r != '\t' }

// checkFacets refuses ranges that are not of the text, or cut a character. The
// rest of a facet is the lexicon's business.
func (in CreateInput) checkFacets() error {
	if isAbsent(in.Facets) {
		return nil
	}
	var facets []struct {
		Index *struct {
			Start *int `json:"byteStart"`
			End   *int `json:"byteEnd"`
		} `json:"index"`
	}
	if err := json.Unmarshal(in.Facets, &facets); err != nil {
		return invalid(err, "The facets cannot be understood.")
	}
	for _, f := range facets {
		if f.Index == nil || f.Index.Start == nil || f.Index.End == nil {
			return invalid(nil, "A facet has no range.")
		}
		start, end := *f.Index.Start, *f.Index.End
		if start < 0 || end <= start || end > len(in.Content) || !Boundary(in.Content, start) || !Boundary(in.Content, end) {
			return invalid(nil, fmt.Sprintf("The facet from byte %d to %d does not fit the text.", start, end))
		}
	}
	return nil
}

// Boundary reports that a character begins, or the text ends, at byte i, which
// lies within the text: a facet may begin or end there.
func Boundary(text string, i int) bool { return i == len(text) || utf8.RuneStart(text[i]) }

func isAbsent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// fields is the record as JSON, without its time, which follows from its key.
func (in CreateInput) fields(community syntax.DID) ([]byte, error) {
	record := map[string]any{"$type": index.PostCollection, "community": community}
	for name, text := range map[string]string{"title": strings.TrimSpace(in.Title), "content": in.Content} {
		if text != "" {
			record[name] = text
		}
	}
	for name, raw := range map[string]json.RawMessage{"facets": in.Facets, "embed": in.Embed, "labels": in.Labels} {
		if !isAbsent(raw) {
			record[name] = raw
		}
	}
	for name, list := range map[string][]string{"langs": in.Langs, "tags": in.Tags} {
		if len(list) > 0 {
			record[name] = list
		}
	}
	fields, err := json.Marshal(record) // map keys are sorted: the same request gives the same bytes
	if err != nil {
		return nil, invalid(err, "Facets, embed or labels are not JSON.")
	}
	return fields, nil
}
