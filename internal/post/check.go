package post

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/fault"
	"github.com/atoll-social/atoll/internal/record"
)

// Limits of the lexicons, by field.
const (
	titleGraphemes, titleBytes     = 300, 3_000
	contentGraphemes, contentBytes = 10_000, 100_000
	commentGraphemes, commentBytes = 3_000, 30_000
	tagGraphemes, tagBytes         = 64, 640
	maxLangs, maxTags              = 3, 8
)

// draft is what a post or comment is to say, before it is a record.
type draft struct {
	title, content        string
	facets, embed, labels json.RawMessage
	langs, tags           []string
}

// checkPost refuses what breaks a limit, saying which.
func (d draft) checkPost() error {
	if strings.TrimSpace(d.title) == "" && strings.TrimSpace(d.content) == "" && isAbsent(d.embed) {
		return fault.New(fault.Invalid, "A post needs a title, a text, or something embedded.").WithCode("ContentEmpty")
	}
	if err := record.CheckLine("title", d.title, titleGraphemes, titleBytes); err != nil {
		return err
	}
	if err := record.CheckText("text", d.content, contentGraphemes, contentBytes); err != nil {
		return err
	}
	if len(d.tags) > maxTags {
		return invalid(nil, fmt.Sprintf("A post has at most %d tags.", maxTags))
	}
	for _, tag := range d.tags {
		if strings.TrimSpace(tag) == "" {
			return invalid(nil, "A tag is empty.")
		}
		if err := record.CheckText("tag", tag, tagGraphemes, tagBytes); err != nil {
			return err
		}
	}
	return d.checkCommon(inPost)
}

// checkComment is checkPost for comments.
func (d draft) checkComment() error {
	if strings.TrimSpace(d.content) == "" && isAbsent(d.embed) {
		return fault.New(fault.Invalid, "A comment needs a text.").WithCode("ContentEmpty")
	}
	if err := record.CheckText("text", d.content, commentGraphemes, commentBytes); err != nil {
		return err
	}
	return d.checkCommon(inComment)
}

// checkCommon judges what posts and comments have alike.
func (d draft) checkCommon(in place) error {
	if len(d.langs) > maxLangs {
		return invalid(nil, fmt.Sprintf("There can be %d languages at most.", maxLangs))
	}
	for _, lang := range d.langs {
		if _, err := syntax.ParseLanguage(lang); err != nil {
			return invalid(err, "A language must be a tag such as en or pt-BR.")
		}
	}
	if err := checkFacets(d.facets, d.content); err != nil {
		return err
	}
	return checkEmbed(d.embed, in)
}

func isAbsent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || bytes.Equal(raw, []byte("null"))
}

// fields is the record as JSON, of the type and with the fields given, without
// its time, which follows from its key.
func (d draft) fields(collection syntax.NSID, more map[string]any) ([]byte, error) {
	what := map[string]any{"$type": collection}
	for name, value := range more {
		what[name] = value
	}
	for name, text := range map[string]string{"title": strings.TrimSpace(d.title), "content": d.content} {
		if text != "" {
			what[name] = text
		}
	}
	for name, raw := range map[string]json.RawMessage{"facets": d.facets, "embed": d.embed, "labels": d.labels} {
		if !isAbsent(raw) {
			what[name] = raw
		}
	}
	for name, list := range map[string][]string{"langs": d.langs, "tags": d.tags} {
		if len(list) > 0 {
			what[name] = list
		}
	}
	fields, err := json.Marshal(what) // map keys are sorted: the same request gives the same bytes
	if err != nil {
		return nil, invalid(err, "Facets, embed or labels are not JSON.")
	}
	return fields, nil
}
