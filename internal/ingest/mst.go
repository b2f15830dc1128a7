package ingest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A repository's tree (AT Protocol repository specification, MST) is a
// function of its keys: so a tree is read into the list of its keys, operations
// are undone in the list, and the list is made a tree again. What an event
// leaves out of a tree stays in the list as one item.

// maxPath is the longest key that is read, in bytes: a collection, a slash and
// a record key, as long as the specification allows.
const maxPath = 1024

var (
	errTree    = errors.New("malformed tree")
	errPartial = errors.New("the commit leaves out parts of the tree that its proof needs")
	errOps     = errors.New("operations do not fit the tree")
)

// item is a key of a tree, or (key empty) a part that is not known.
type item struct {
	key   string
	value digest // the record, or the node at the top of the unknown part
	level int
}

// keyLevel counts a key's levels above the leaves: pairs of leading zero bits
// of its hash.
func keyLevel(key string) int {
	level := 0
	for _, b := range sha256.Sum256([]byte(key)) {
		for shift := 6; shift >= 0; shift -= 2 {
			if b>>shift&3 != 0 {
				return level
			}
			level++
		}
	}
	return level
}

// treeReader walks nodes in key order.
type treeReader struct {
	blocks blocks
	seen   map[digest]bool
	items  []item
	last   string
}

// readTree lists the keys below a root. Every node must be as the
// specification has it: keys in order and on their level, no node twice.
func readTree(b blocks, root digest) ([]item, error) {
	raw, ok := b.get(root)
	if !ok {
		return nil, fmt.Errorf("%w: the root is missing", errTree)
	}
	n, err := parseNode(raw)
	if err != nil {
		return nil, err
	}
	if len(n.entries) == 0 {
		if n.left != nil {
			return nil, fmt.Errorf("%w: the root has no keys", errTree)
		}
		return nil, nil
	}
	r := &treeReader{blocks: b, seen: map[digest]bool{root: true}}
	if err := r.entries(n, keyLevel(string(n.entries[0].suffix))); err != nil {
		return nil, err
	}
	return r.items, nil
}

// child reads what is below a pointer; nil means nothing.
func (r *treeReader) child(d *digest, level int) error {
	if d == nil {
		return nil
	}
	if level < 0 || r.seen[*d] {
		return fmt.Errorf("%w: too deep, or a node twice", errTree)
	}
	r.seen[*d] = true
	raw, ok := r.blocks.get(*d)
	if !ok {
		r.items = append(r.items, item{value: *d, level: level})
		return nil
	}
	n, err := parseNode(raw)
	if err != nil {
		return err
	}
	if len(n.entries) == 0 && n.left == nil {
		return fmt.Errorf("%w: empty node", errTree)
	}
	return r.entries(n, level)
}

func (r *treeReader) entries(n node, level int) error {
	if err := r.child(n.left, level-1); err != nil {
		return err
	}
	previous := ""
	for _, e := range n.entries {
		if e.prefix > len(previous) || e.prefix+len(e.suffix) > maxPath {
			return fmt.Errorf("%w: key", errTree)
		}
		key := previous[:e.prefix] + string(e.suffix)
		if key <= r.last || keyLevel(key) != level || commonPrefix(previous, key) != e.prefix {
			return fmt.Errorf("%w: key out of place", errTree)
		}
		previous, r.last = key, key
		r.items = append(r.items, item{key: key, value: e.value, level: level})
		if err := r.child(e.right, level-1); err != nil {
			return err
		}
	}
	return nil
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// treeRoot computes the root of the tree over items.
func treeRoot(items []item) (digest, error) {
	level := 0
	for _, it := range items {
		level = max(level, it.level)
	}
	if len(items) == 0 {
		return sha256.Sum256(appendNode(nil, node{})), nil
	}
	d, err := buildNode(items, level)
	if err != nil {
		return digest{}, err
	}
	return *d, nil
}

// buildNode makes the node of a level over items; nil when there are none.
func buildNode(items []item, level int) (*digest, error) {
	switch {
	case len(items) == 0:
		return nil, nil //nolint:nilnil // documented: no node
	case len(items) == 1 && items[0].key == "" && items[0].level == level:
		return &items[0].value, nil
	}
	var n node
	var previous string
	start := 0
	for i := 0; i <= len(items); i++ {
		if i < len(items) && items[i].level < level {
			continue
		}
		below, err := buildNode(items[start:i], level-1)
		if err != nil {
			return nil, err
		}
		if last := len(n.entries) - 1; last < 0 {
			n.left = below
		} else {
			n.entries[last].right = below
		}
		if i == len(items) {
			break
		}
		if items[i].key == "" {
			return nil, errPartial // unknown keys would be on this level
		}
		shared := commonPrefix(previous, items[i].key)
		n.entries = append(n.entries, nodeEntry{prefix: shared, suffix: []byte(items[i].key[shared:]), value: items[i].value})
		previous, start = items[i].key, i+1
	}
	sum := digest(sha256.Sum256(appendNode(nil, n)))
	return &sum, nil
}

// pathChange is what a commit did to one path: from the value before it to
// the value after. nil means that there is none.
type pathChange struct {
	path          string
	before, after *digest
}

// undo returns the items as they were before the changes, each of which names
// another path.
func undo(items []item, changes []pathChange) ([]item, error) {
	present := map[string]pathChange{}
	var gone []pathChange // from the tree, or never in it
	for _, c := range changes {
		if c.after != nil {
			present[c.path] = c
		} else {
			gone = append(gone, c)
		}
	}
	slices.SortFunc(gone, func(a, b pathChange) int { return strings.Compare(a.path, b.path) })
	u := &undoing{gone: gone}
	for _, it := range items {
		if it.key == "" {
			u.out, u.unknown = append(u.out, it), true
			continue
		}
		if err := u.restore(it.key, false); err != nil {
			return nil, err
		}
		u.unknown = false
		c, changed := present[it.key]
		switch {
		case !changed:
			u.out = append(u.out, it)
			continue
		case *c.after != it.value:
			return nil, fmt.Errorf("%w: another value", errOps)
		case c.before != nil:
			u.out = append(u.out, item{key: it.key, value: *c.before, level: it.level})
		}
		delete(present, it.key)
	}
	if len(present) > 0 {
		return nil, fmt.Errorf("%w: a written record is not in it", errOps)
	}
	return u.out, u.restore("", true)
}

// undoing is the state of undo.
type undoing struct {
	out     []item
	gone    []pathChange
	unknown bool // since the last key there was an item without one
}

// restore puts deleted keys below next back; with end, all that are left.
func (u *undoing) restore(next string, end bool) error {
	for len(u.gone) > 0 && (end || u.gone[0].path <= next) {
		c := u.gone[0]
		switch {
		case !end && c.path == next:
			return fmt.Errorf("%w: a deleted record is in it", errOps)
		case u.unknown:
			return errPartial
		}
		if c.before != nil {
			u.out = append(u.out, item{key: c.path, value: *c.before, level: keyLevel(c.path)})
		}
		u.gone = u.gone[1:]
	}
	return nil
}
