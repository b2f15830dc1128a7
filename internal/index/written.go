package index

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/bluesky-social/indigo/atproto/syntax"
)

// Score is how many more have voted a post or comment up than down, posts named
// in either form. It is 0 for what is not here.
func (x *Index) Score(ctx context.Context, uri syntax.ATURI) (int64, error) {
	id, ok, err := x.locate(ctx, uri)
	if err != nil || !ok {
		return 0, err
	}
	var score int64
	_, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT score FROM post_rank WHERE post_id = $1 UNION ALL SELECT score FROM comment_tally WHERE comment_id = $1`, id).Scan(&score))
	if err != nil {
		return 0, fmt.Errorf("read the score of %s: %w", uri, err)
	}
	return score, nil
}

// Written is a post or comment as its author wrote it.
type Written struct {
	URI    syntax.ATURI
	CID    syntax.CID
	Record json.RawMessage
}

// Written returns a post or comment that is there, named by its own URI,
// whatever became of it in its community: it is for whoever wrote it.
func (x *Index) Written(ctx context.Context, uri syntax.ATURI) (w Written, ok bool, err error) {
	id, ok, err := x.locate(ctx, uri)
	if err != nil || !ok {
		return Written{}, false, err
	}
	w.URI = uri
	var record []byte
	ok, err = found(x.db.Read().QueryRowContext(ctx, `
		SELECT cid, record FROM post WHERE id = $1 AND NOT deleted UNION ALL
		SELECT cid, record FROM comment WHERE id = $1 AND NOT deleted`, id).Scan(&w.CID, &record))
	if err != nil {
		return Written{}, false, fmt.Errorf("read %s: %w", uri, err)
	}
	w.Record = record
	return w, ok, nil
}
