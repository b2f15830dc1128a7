package xrpc

import (
	"sync"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/lexicon"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/lexicons"
)

// contracts are the lexicons, read once.
var contracts = sync.OnceValues(lexicons.NewCatalog)

// fits compares a successful answer with what the method's lexicon promises. Every answer
// of every test of this package comes by here.
func (a *api) fits(method syntax.NSID, got answer) {
	a.t.Helper()
	catalog := must(contracts())(a.t)
	schema, err := catalog.Resolve(method.String())
	if err != nil {
		a.t.Errorf("%s answers %d and has no lexicon", method, got.status)
		return
	}
	answer, err := atdata.UnmarshalJSON([]byte(got.body))
	if err != nil {
		a.t.Errorf("%s: %v in %s", method, err, got.body)
		return
	}
	var output *lexicon.SchemaBody
	switch def := schema.Def.(type) {
	case lexicon.SchemaQuery:
		output = def.Output
	case lexicon.SchemaProcedure:
		output = def.Output
	}
	if output == nil || output.Schema == nil {
		if len(answer) > 0 {
			a.t.Errorf("%s: an answer that its lexicon does not have: %s", method, got.body)
		}
		return
	}
	shape := output.Schema.Inner
	if r, ok := shape.(lexicon.SchemaRef); ok {
		shape = must(catalog.Resolve(r.Ref))(a.t).Def
	}
	object, ok := shape.(lexicon.SchemaObject)
	if !ok {
		a.t.Fatalf("%s: an output of type %T", method, shape)
	}
	isA(a.t, catalog, method.String(), object, answer)
	posts, _ := answer["posts"].([]any) // a union, whose members lexicons cannot tell apart
	for _, p := range posts {
		if view, _ := p.(map[string]any); view["record"] != nil {
			isA(a.t, catalog, method.String(), must(catalog.Resolve("social.coves.feed.defs#postView"))(a.t).Def.(lexicon.SchemaObject), view)
		}
	}
}

// isA validates a value against a definition, as the SDK validates records.
func isA(t *testing.T, catalog lexicon.Catalog, name string, object lexicon.SchemaObject, value map[string]any) {
	t.Helper()
	value["$type"] = name
	record := lexicon.SchemaRecord{Type: "record", Key: "any", Record: object}
	if err := lexicon.ValidateRecord(only{catalog, name, record}, value, name, 0); err != nil {
		t.Errorf("%s: %v in %v", name, err, value)
	}
}

// only lets one definition be validated as a record is.
type only struct {
	lexicon.Catalog
	name   string
	record lexicon.SchemaRecord
}

func (o only) Resolve(ref string) (*lexicon.Schema, error) {
	if ref == o.name {
		return &lexicon.Schema{ID: ref, Def: o.record}, nil
	}
	return o.Catalog.Resolve(ref)
}
