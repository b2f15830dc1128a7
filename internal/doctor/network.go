package doctor

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// maxClockOffset is how far a clock may be off before servers refuse proofs:
// the official one takes 10 s of age and 180 s of tolerance.
const maxClockOffset = 10 * time.Second

// clock compares this machine's time with the directory's.
func (d *Doctor) clock(ctx context.Context) Finding {
	const check = "clock"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.PLCURL+"/_health", nil)
	if err != nil {
		return broken(check, "correct plc_url", "%v", err)
	}
	resp, err := d.HTTP.Do(req)
	if err != nil {
		return warning(check, "see the directory's own line", "cannot be compared: %v", err)
	}
	resp.Body.Close()
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return warning(check, "", "cannot be compared: %s sends no date", d.PLCURL)
	}
	// Date has whole seconds: it is up to a second behind.
	offset := d.Now().Sub(theirs) - time.Second/2
	if offset.Abs() > maxClockOffset {
		return broken(check, "set the clock by NTP (systemd-timesyncd, chrony); sign-ins fail otherwise",
			"is %s off from %s", offset.Round(time.Second), d.PLCURL)
	}
	return fine(check, "agrees with %s", d.PLCURL)
}

func (d *Doctor) directory(ctx context.Context) Finding {
	const check = "PLC directory"
	doc, err := d.get(ctx, d.PLCURL+"/_health")
	switch {
	case err != nil:
		return broken(check, "check the network and plc_url; nobody can sign in without it", "%v", err)
	case doc.status != http.StatusOK:
		return broken(check, "check plc_url", "%s answers with status %d", d.PLCURL, doc.status)
	}
	return fine(check, "%s answers", d.PLCURL)
}

func (d *Doctor) source(ctx context.Context, origin string) Finding {
	check := "source " + strings.TrimSuffix(origin, "/")
	doc, err := d.get(ctx, strings.TrimSuffix(origin, "/")+"/xrpc/com.atproto.sync.listRepos?limit=1")
	switch {
	case err != nil:
		return broken(check, "check its address and the network; new posts from there don't arrive", "%v", err)
	case doc.status != http.StatusOK || doc.contentType != "application/json":
		return broken(check, "check its address: it must be a PDS or a relay", "listRepos answers with status %d as %q", doc.status, doc.contentType)
	}
	return fine(check, "answers")
}

// stream asks for a WebSocket without wanting one, which hosts that have it refuse
// in a way of its own (RFC 6455, section 4.2.1; RFC 9110, section 15.5.22).
func (d *Doctor) stream(ctx context.Context, address string) Finding {
	check := "source " + address
	doc, err := d.get(ctx, address)
	switch {
	case err != nil:
		return broken(check, "check its address and the network; new posts from there don't arrive", "%v", err)
	case doc.status != http.StatusBadRequest && doc.status != http.StatusUpgradeRequired:
		return broken(check, "check its address and its kind: it must be a Jetstream of that version", "there is no stream: it answers with status %d", doc.status)
	}
	return fine(check, "answers")
}
