package store

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"
)

// sqliteRow is a row of an answer, read without the detours of database/sql,
// which turns numbers into text and back.
type sqliteRow []driver.Value

// Scan copies the columns.
func (r sqliteRow) Scan(dest ...any) error {
	if len(dest) != len(r) {
		return fmt.Errorf("scan %d columns into %d variables", len(r), len(dest))
	}
	for i, v := range r {
		if err := scanValue(v, dest[i]); err != nil {
			return fmt.Errorf("scan column %d: %w", i, err)
		}
	}
	return nil
}

func scanValue(v driver.Value, dest any) error {
	switch d := dest.(type) {
	case *int64:
		if n, ok := v.(int64); ok {
			*d = n
			return nil
		}
	case *string:
		if s, ok := v.(string); ok {
			*d = s
			return nil
		}
	case *bool:
		// SQLite keeps a BOOLEAN as 0 or 1.
		if n, ok := v.(int64); ok && (n == 0 || n == 1) {
			*d = n == 1
			return nil
		}
	case *[]byte:
		switch b := v.(type) {
		case nil:
			*d = nil
			return nil
		case []byte:
			*d = b
			return nil
		}
	case sql.Scanner:
		return d.Scan(v)
	default:
		return scanKind(v, dest)
	}
	return fmt.Errorf("a %T does not go into a %T", v, dest)
}

// scanKind fills variables of types made from numbers or strings.
func scanKind(v driver.Value, dest any) error {
	target := reflect.ValueOf(dest)
	if target.Kind() != reflect.Pointer || target.IsNil() {
		return fmt.Errorf("%T is no variable", dest)
	}
	target = target.Elem()
	switch is := v.(type) {
	case int64:
		if target.CanInt() && !target.OverflowInt(is) {
			target.SetInt(is)
			return nil
		}
	case string:
		if target.Kind() == reflect.String {
			target.SetString(is)
			return nil
		}
	}
	return fmt.Errorf("a %T does not go into a %T", v, dest)
}
