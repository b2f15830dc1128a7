package store

import (
	"context"
	"encoding/binary"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
)

// longs is a column of numbers, none of them NULL. The driver would look at each
// through an interface, which takes longer than all else about it.
type longs []int64

// Dimensions, Index and IndexType are what the driver asks of an array that it
// writes itself, as text.
func (l longs) Dimensions() []pgtype.ArrayDimension {
	return []pgtype.ArrayDimension{{Length: int32(len(l)), LowerBound: 1}}
}

// Index is an element.
func (l longs) Index(i int) any { return l[i] }

// IndexType is the type of elements.
func (l longs) IndexType() any { return int64(0) }

// teachLongs has a connection take longs.
func teachLongs(_ context.Context, conn *pgx.Conn) error {
	types := conn.TypeMap()
	if number, ok := types.TypeForOID(pgtype.Int8OID); ok {
		types.RegisterType(&pgtype.Type{Name: "_int8", OID: pgtype.Int8ArrayOID, Codec: longsCodec{&pgtype.ArrayCodec{ElementType: number}}})
		types.RegisterDefaultPgType(longs(nil), "_int8")
	}
	return nil
}

// longsCodec is the driver's for BIGINT[], and quick with longs.
type longsCodec struct{ *pgtype.ArrayCodec }

// PlanEncode is pgtype.Codec's.
func (c longsCodec) PlanEncode(m *pgtype.Map, oid uint32, format int16, value any) pgtype.EncodePlan {
	if _, ok := value.(longs); ok && format == pgtype.BinaryFormatCode {
		return encodeLongs{}
	}
	return c.ArrayCodec.PlanEncode(m, oid, format, value)
}

type encodeLongs struct{}

// Encode writes what array_recv of PostgreSQL reads: dimensions, whether there is a
// NULL, type of the elements, length and lower bound, then each with its length.
func (encodeLongs) Encode(value any, buf []byte) ([]byte, error) {
	l := value.(longs)
	for _, n := range [...]uint32{1, 0, pgtype.Int8OID, uint32(len(l)), 1} {
		buf = binary.BigEndian.AppendUint32(buf, n)
	}
	for _, n := range l {
		buf = binary.BigEndian.AppendUint64(append(buf, 0, 0, 0, 8), uint64(n))
	}
	return buf, nil
}
