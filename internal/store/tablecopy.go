package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// copiedFrom is how many rows go by COPY rather than as arrays: it takes a third
// off what a row costs the server, which then writes whole pages, and has a
// message more.
const copiedFrom = 64

// errColumnsChanged tells that columns have other types than this connection
// knew them to have: another process has migrated the table.
var errColumnsChanged = errors.New("store: the columns of a table have changed")

// copyRows sends rows by COPY. done is false when they cannot go that way, and
// nothing has happened.
func (c postgresConn) copyRows(ctx context.Context, into string, t Table) (written int64, done bool, err error) {
	// What the types are is asked once for each connection.
	columns := "SELECT " + t.Names + " FROM " + into
	known, err := c.Prepare(ctx, columns, columns)
	if err != nil {
		return 0, true, err
	}
	data, ok, err := t.copyData(known.Fields)
	if err != nil || !ok {
		return 0, err != nil, err
	}
	tag, err := c.PgConn().CopyFrom(ctx, bytes.NewReader(data), "COPY "+into+" ("+t.Names+") FROM STDIN (FORMAT binary)")
	// invalid_binary_representation, protocol_violation: too many bytes, too few.
	if code, ok := postgresCode(err); ok && (code == "22P03" || code == "08P01") {
		err = errors.Join(errColumnsChanged, c.Deallocate(context.WithoutCancel(ctx), columns))
	}
	return tag.RowsAffected(), true, err
}

// copyHeader begins binary data, copyTrailer ends it (PostgreSQL documentation,
// COPY, Binary Format).
var (
	copyHeader  = []byte("PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00")
	copyTrailer = []byte{0xff, 0xff}
)

// copyData writes t for columns of the types stated. ok is false where a value
// is none of its column: the server is to say so.
func (t Table) copyData(columns []pgconn.FieldDescription) (data []byte, ok bool, err error) {
	data = append(make([]byte, 0, t.rows()*(2+12*len(columns))), copyHeader...)
	for row := range t.rows() {
		data = binary.BigEndian.AppendUint16(data, uint16(len(columns)))
		for column, c := range columns {
			if t.Numbers != nil {
				n, there := t.number(row, column)
				if data, ok = appendNumber(data, c.DataTypeOID, n, there); !ok {
					return nil, false, nil
				}
				continue
			}
			v, err := t.value(row, column)
			if err != nil {
				return nil, false, err
			}
			if data, ok = appendField(data, c.DataTypeOID, v); !ok {
				return nil, false, nil
			}
		}
	}
	return append(data, copyTrailer...), true, nil
}

// appendField writes a value with its length.
func appendField(data []byte, oid uint32, v any) (_ []byte, ok bool) {
	switch is := v.(type) {
	case nil:
		return appendNumber(data, oid, 0, false)
	case int64:
		return appendNumber(data, oid, is, true)
	case bool:
		return append(data, 0, 0, 0, 1, byte(b2i(is))), oid == pgtype.BoolOID
	case string:
		return append(binary.BigEndian.AppendUint32(data, uint32(len(is))), is...), oid == pgtype.TextOID
	case []byte:
		return append(binary.BigEndian.AppendUint32(data, uint32(len(is))), is...), oid == pgtype.ByteaOID
	}
	return nil, false
}

// appendNumber is appendField for a number, or NULL when it is not there.
func appendNumber(data []byte, oid uint32, n int64, there bool) (_ []byte, ok bool) {
	if !there {
		return binary.BigEndian.AppendUint32(data, math.MaxUint32), true
	}
	switch oid {
	case pgtype.Int8OID:
		return binary.BigEndian.AppendUint64(append(data, 0, 0, 0, 8), uint64(n)), true
	case pgtype.Int4OID:
		return binary.BigEndian.AppendUint32(append(data, 0, 0, 0, 4), uint32(n)), n == int64(int32(n))
	case pgtype.Int2OID:
		return binary.BigEndian.AppendUint16(append(data, 0, 0, 0, 2), uint16(n)), n == int64(int16(n))
	}
	return nil, false
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}
