package index

import (
	"context"
	"slices"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atdata"
	"github.com/bluesky-social/indigo/atproto/syntax"

	"github.com/atoll-social/atoll/internal/store"
)

// sheet is a table of records that stand for themselves: nothing is counted,
// and one statement is gate and write.
type sheet struct {
	table string
	// keys is how many of the columns, the first ones, are the key.
	keys    int
	columns []column
	// set says how a column is to be updated where that is not by the new value.
	set map[string]string
}

// column is a column and what a change puts there. A value of nil is NULL.
type column struct {
	name, typ string
	of        func(b *batch, ch change) any
}

// document is a record of a sheet. Fields that a type lacks are empty.
type document struct {
	fields  map[string]any
	account syntax.DID // whom it names
	record  []byte
}

func (d document) refs() refs { return refs{d.account} }

// The columns that sheets have in common.
func byAccount(name string) column {
	return column{name, "BIGINT", func(b *batch, ch change) any { return ch.account }}
}

func byTID() column {
	return column{"tid", "BIGINT", func(_ *batch, ch change) any { return ch.tid }}
}

func byKey() column {
	return column{"rkey", "TEXT", func(_ *batch, ch change) any { return ch.rkey }}
}

func gate() column {
	return column{"rev", "BIGINT", func(_ *batch, ch change) any { return ch.rev }}
}

func contentID() column {
	return column{"cid", "TEXT", func(_ *batch, ch change) any { return orNull(string(ch.cid)) }}
}

// named is the account that the record names.
func named(name string) column {
	return column{name, "BIGINT", func(b *batch, ch change) any {
		d, _ := ch.value.(document)
		return idOrNull(b.accounts.id(d.account))
	}}
}

func field(name, typ string) column {
	return column{name, typ, func(_ *batch, ch change) any {
		d, _ := ch.value.(document)
		return d.fields[name]
	}}
}

// made is when the record says it was made, clamped to now.
func made() column {
	return column{"created_at", "BIGINT", func(b *batch, ch change) any {
		d, _ := ch.value.(document)
		if at, ok := d.fields["created_at"].(int64); ok {
			return clampCreated(at, ch.rkey, b.now)
		}
		return nil
	}}
}

func whole() column {
	return column{"record", "BYTEA", func(_ *batch, ch change) any {
		if d, ok := ch.value.(document); ok {
			return d.record
		}
		return nil
	}}
}

// apply writes changes. Rows whose revision is not newer are left alone.
func (s sheet) apply(ctx context.Context, b *batch, changes []change) (int64, error) {
	names, types := make([]string, len(s.columns)), make([]string, len(s.columns))
	var set []string
	for i, c := range s.columns {
		names[i], types[i] = c.name, c.typ
		switch how, ok := s.set[c.name]; {
		case ok:
			set = append(set, c.name+" = "+how)
		case i >= s.keys:
			set = append(set, c.name+" = excluded."+c.name)
		}
	}
	rows := make([][]any, len(changes))
	for i, ch := range changes {
		for _, c := range s.columns {
			rows[i] = append(rows[i], c.of(b, ch))
		}
	}
	return b.tx.Insert(ctx, s.table, store.Table{Names: strings.Join(names, ", "), Types: types, Rows: rows},
		`ON CONFLICT (`+strings.Join(names[:s.keys], ", ")+`) DO UPDATE SET `+strings.Join(set, ", ")+
			` WHERE excluded.rev > `+s.table+`.rev`)
}

// isSelf holds the rule "key": "literal:self" of a lexicon.
func isSelf(k syntax.RecordKey) bool { return k == "self" }

// isAnyKey holds the rule "key": "any".
func isAnyKey(k syntax.RecordKey) bool {
	_, err := syntax.ParseRecordKey(string(k))
	return err == nil
}

// ownedBy refuses records that name another account than their repository
// where they must name that.
func ownedBy(in input, fieldName string) error {
	if text(in.record, fieldName) != string(in.did) {
		return flawed(ReasonOwner, fieldName+" is not the repository")
	}
	return nil
}

// blobCID is the CID of a blob at a field, nil when there is none.
func blobCID(record map[string]any, name string) any {
	blob, ok := record[name].(atdata.Blob)
	if !ok {
		return nil
	}
	return orNull(blob.Ref.String())
}

// momentOrNil is moment for a field that may be absent.
func momentOrNil(record map[string]any, name string) (any, error) {
	if _, ok := record[name]; !ok {
		return nil, nil //nolint:nilnil // NULL is what is stored
	}
	return moment(record, name)
}

// wordOr reads a field that holds one of a few words, by their place in words.
func wordOr(record map[string]any, name string, words []string, absent, unknown int64) int64 {
	word, ok := record[name].(string)
	if !ok {
		return absent
	}
	if i := slices.Index(words, word); i >= 0 {
		return int64(i)
	}
	return unknown
}
