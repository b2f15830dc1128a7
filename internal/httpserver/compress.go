package httpserver

import (
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/klauspost/compress/gzip"
)

const (
	// worthwhile is the size of the smallest answer that is compressed, in bytes:
	// below it, it fits into a packet anyway.
	worthwhile = 1 << 10
	// effort is gzip's level: pages shrink to a sixth at a tenth of what rendering
	// them costs; more effort gains little.
	effort = 2
)

// Compress sends answers to GET compressed where the client takes gzip (RFC
// 9110, section 12.5.3) and it is worth the effort: texts of some size, whole
// ones. Answers to other methods stay as they are, streams and those with tokens
// among them: of nothing that is compressed a stranger chooses one part and
// guesses another.
func Compress(next http.Handler) http.Handler {
	writers := &sync.Pool{New: func() any {
		z, _ := gzip.NewWriterLevel(nil, effort) // the level is one that there is
		return z
	}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet || r.Header.Get("Range") != "" || r.Header.Get("Upgrade") != "" {
			next.ServeHTTP(w, r)
			return
		}
		c := &compressed{ResponseWriter: w, writers: writers, taken: takesGzip(r.Header.Values("Accept-Encoding"))}
		next.ServeHTTP(c, r)
		c.end() // not after a panic: a cut answer must not look whole
	})
}

// takesGzip reads Accept-Encoding.
func takesGzip(values []string) bool {
	for coding := range strings.SplitSeq(strings.Join(values, ","), ",") {
		name, weight, weighted := strings.Cut(coding, ";")
		if !strings.EqualFold(strings.TrimSpace(name), "gzip") {
			continue
		}
		_, number, _ := strings.Cut(weight, "=")
		q, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		return !weighted || err == nil && q > 0
	}
	return false
}

// compressed holds an answer's status back until its first bytes tell whether
// they are worth compressing.
type compressed struct {
	http.ResponseWriter
	writers *sync.Pool
	taken   bool // by the client

	status int // held back; 0 when there is none or it is sent
	begun  bool
	gzip   *gzip.Writer // nil when the answer goes as it is
}

// WriteHeader implements http.ResponseWriter.
func (c *compressed) WriteHeader(status int) {
	if status < http.StatusOK {
		c.ResponseWriter.WriteHeader(status)
		return
	}
	if !c.begun {
		c.status = status // the last counts: an error can still take the place of success
	}
}

// Write implements http.ResponseWriter.
func (c *compressed) Write(p []byte) (int, error) {
	c.begin(len(p))
	if c.gzip != nil {
		return c.gzip.Write(p)
	}
	return c.ResponseWriter.Write(p)
}

// begin sends the header. size is that of the first piece of the body, negative
// when it has none or its size is not known.
func (c *compressed) begin(size int) {
	if c.begun {
		return
	}
	c.begun = true
	h := c.Header()
	status := c.status
	if status == 0 {
		status = http.StatusOK
	}
	if (isText(h) || status == http.StatusNotModified) && h.Get("Content-Encoding") == "" {
		h.Add("Vary", "Accept-Encoding")
		if declared, err := strconv.Atoi(h.Get("Content-Length")); err == nil && size >= 0 {
			size = declared
		}
		if c.taken && size >= worthwhile {
			c.encode(h)
		}
	}
	if c.status != 0 {
		c.ResponseWriter.WriteHeader(c.status)
	}
}

// encode makes the answer another representation: of another length, and with a
// tag that is equivalent but no longer the same to the byte.
func (c *compressed) encode(h http.Header) {
	h.Set("Content-Encoding", "gzip")
	h.Del("Content-Length")
	h.Del("Accept-Ranges")
	if tag := h.Get("ETag"); tag != "" && !strings.HasPrefix(tag, "W/") {
		h.Set("ETag", "W/"+tag)
	}
	c.gzip = c.writers.Get().(*gzip.Writer)
	c.gzip.Reset(c.ResponseWriter)
}

// isText reports whether an answer is of a kind that shrinks.
func isText(h http.Header) bool {
	kind, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	switch kind = strings.ToLower(strings.TrimSpace(kind)); kind {
	case "application/json", "application/did+json", "application/jwk-set+json", "application/xml", "image/svg+xml":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

// FlushError sends what there is, for http.ResponseController.
func (c *compressed) FlushError() error {
	c.begin(-1)
	if c.gzip != nil {
		if err := c.gzip.Flush(); err != nil {
			return err
		}
	}
	return http.NewResponseController(c.ResponseWriter).Flush()
}

// Flush implements http.Flusher.
func (c *compressed) Flush() { _ = c.FlushError() }

// Unwrap is for http.ResponseController.
func (c *compressed) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// end sends what is left of an answer.
func (c *compressed) end() {
	if c.status != 0 {
		c.begin(-1)
	}
	if c.gzip != nil {
		_ = c.gzip.Close() // whoever went away needs no answer
		c.writers.Put(c.gzip)
	}
}
