package store

import "context"

// Later is a transaction for statements whose outcome is not waited for: they
// run in their order while the caller goes on. The next statement of the Tx
// waits for them, and so does the commit; what went wrong fails both. Rows that
// were given must not be changed any more.
type Later struct{ tx *Tx }

// Later returns tx for statements that are not waited for.
func (tx *Tx) Later() Later { return Later{tx} }

// Insert is Tx's.
func (l Later) Insert(ctx context.Context, into string, t Table, tail string) {
	l.run(ctx, t, func(c bulkConn) error {
		_, err := c.insertRows(ctx, into, t, tail)
		return err
	})
}

// Update is Tx's.
func (l Later) Update(ctx context.Context, table string, t Table) {
	l.run(ctx, t, func(c bulkConn) error { return c.updateRows(ctx, table, t) })
}

// Add is Tx's.
func (l Later) Add(ctx context.Context, table string, t Table) {
	l.run(ctx, t, func(c bulkConn) error { return c.addRows(ctx, table, t) })
}

// queue is the statements of a Tx that run on their own, one after the other.
type queue struct {
	last chan struct{} // closed when the last one is done; nil when there is none
	err  error         // of the first that failed; whoever has seen last closed may read it
}

func (l Later) run(ctx context.Context, t Table, fn func(bulkConn) error) {
	if l.tx.failed != nil || t.rows() == 0 {
		return
	}
	q, before, done := &l.tx.queue, l.tx.queue.last, make(chan struct{})
	q.last = done
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		if q.err == nil {
			q.err = l.tx.raw(ctx, fn)
		}
	}()
}

// wait waits for statements that run on their own.
func (tx *Tx) wait() {
	if tx.queue.last == nil {
		return
	}
	<-tx.queue.last
	tx.queue.last = nil
	_ = tx.note(tx.queue.err)
}
