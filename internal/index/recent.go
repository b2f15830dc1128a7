package index

// recent remembers the values used last, between most and twice as many. With
// weigh most is their weight together.
type recent[K comparable, V any] struct {
	most       int
	weigh      func(V) int
	young, old map[K]V
	load       int // weight of the young
}

func (r *recent[K, V]) get(key K) (V, bool) {
	v, ok := r.young[key]
	if !ok {
		if v, ok = r.old[key]; ok {
			r.put(key, v)
		}
	}
	return v, ok
}

func (r *recent[K, V]) put(key K, v V) {
	if r.weigh != nil {
		r.drop(key) // what goes weighs no more
	}
	if r.full() {
		// The older map is used again: making one as large costs more.
		r.young, r.old, r.load = r.old, r.young, 0
		clear(r.young)
	}
	if r.young == nil {
		r.young = make(map[K]V)
	}
	r.young[key] = v
	if r.weigh != nil {
		r.load += r.weigh(v)
	}
}

func (r *recent[K, V]) full() bool {
	if r.weigh != nil {
		return r.load > r.most
	}
	return len(r.young) >= r.most
}

func (r *recent[K, V]) drop(key K) {
	if v, ok := r.young[key]; ok && r.weigh != nil {
		r.load -= r.weigh(v)
	}
	delete(r.young, key)
	delete(r.old, key)
}

func (r *recent[K, V]) clear() {
	clear(r.young)
	clear(r.old)
	r.load = 0
}
