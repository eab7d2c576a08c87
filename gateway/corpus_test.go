package gateway_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/upstream"
)

// onNetHTTP are the doors behind which net/http reads the requests. What it takes,
// hides or answers itself is what the corpus says of "net/http".
var onNetHTTP = []string{"ServeTLS h2" + byNetHTTP, "ServeHTTP http/1.1", "ServeHTTP h2"}

// A front is something that the corpus is tried on: a door of the gateway, or an
// oracle.
type front struct {
	name   string
	http2  bool
	open   func() *rawConn
	origin *recorder // behind it
	may    []string  // what the origin may get, of this case or, late, of one before
}

// A corpusResult is what became of a case.
type corpusResult struct {
	answers []string // statuses, and how it ended
	whole   []*received
	faults  []string
}

func (r *corpusResult) end() string { return r.answers[len(r.answers)-1] }

const (
	probeRequest    = "GET /probe HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
	sentinelRequest = "GET /sentinel HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
)

// play sends the case to a front.
func (c *corpusCase) play(f *front) *corpusResult {
	send := c.sendHTTP1
	if f.http2 {
		send = c.sendHTTP2
	}
	result := &corpusResult{answers: send(f)}

	// Whatever is left on the connection to the origin comes before this.
	if got := f.sentinel(); !slices.Equal(got, []string{"200", "close"}) {
		result.faults = append(result.faults, fmt.Sprintf("the next request, over another connection, gets %v", got))
	}

	whole, faults := f.origin.take()
	result.faults = append(result.faults, faults...)
	probes, sentinels := 0, 0
	for _, req := range whole {
		switch req.text() {
		case "GET /probe":
			probes++
		case "GET /sentinel":
			sentinels++
		default:
			result.whole = append(result.whole, req)
			continue
		}
	}
	if probes > 1 || sentinels != 1 {
		result.faults = append(result.faults, fmt.Sprintf("%d probes, %d sentinels", probes, sentinels))
	}
	if n := len(result.answers); probes == 1 && n > 1 && result.answers[n-2] == "200" {
		result.answers = append(result.answers[:n-2], "open")
	}
	return result
}

// sentinel makes a request over a new connection.
func (f *front) sentinel() []string {
	conn := f.open()
	defer conn.Close()
	if f.http2 {
		h2 := quietH2(conn)
		h2.get(1, "https", "a.test", "/sentinel")
		status, _ := h2.status(1)
		return []string{status, "close"}
	}
	_, _ = io.WriteString(conn, sentinelRequest)
	return conn.answers("GET", nil)
}

// sendHTTP1 sends the case, and returns the answers.
func (c *corpusCase) sendHTTP1(f *front) []string {
	conn := f.open()
	said := make(chan int, 100)
	var writing sync.WaitGroup
	writing.Go(func() { c.write(conn, said) })
	answers := conn.answers(c.method, said)
	close(said)
	conn.Close()
	writing.Wait()
	return answers
}

// write writes what the client of the case does, and stops where nobody reads it.
// said has the statuses of the answers, and is closed at their end.
func (c *corpusCase) write(conn *rawConn, said <-chan int) {
	probed := c.half
	for i, step := range c.steps {
		if step.kind == '<' {
			for status := range said {
				if status == step.status {
					break
				}
			}
			continue
		}
		text := step.bytes
		if i == len(c.steps)-1 && !probed {
			text, probed = text+probeRequest, true
		}
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
	switch {
	case c.half:
		_ = conn.Conn.(interface{ CloseWrite() error }).CloseWrite()
	case !probed:
		_, _ = io.WriteString(conn, probeRequest)
	}
}

// answers reads answers to the end of the connection: their statuses, and how that
// ends. method is that of the first request, those of all others are GET.
func (c *rawConn) answers(method string, said chan<- int) (all []string) {
	for {
		if _, err := c.r.Peek(1); err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return append(all, "waits")
			}
			return append(all, "close")
		}
		res, err := http.ReadResponse(c.r, &http.Request{Method: method})
		if err != nil {
			_, _ = io.Copy(io.Discard, c.r)
			return append(all, "junk", "close")
		}
		all = append(all, strconv.Itoa(res.StatusCode))
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			return append(all, "broken", "close")
		}
		select {
		case said <- res.StatusCode:
		default:
		}
		if res.StatusCode >= 200 {
			method = "GET"
		}
	}
}

// check compares what became of a case with what must.
func (c *corpusCase) check(t *testing.T, f *front, got *corpusResult) {
	t.Helper()
	want := c.wantAt(f.name)
	answers := strings.Join(got.answers, " ")
	var texts, wantTexts []string
	var whole []*received
	f.may = append(f.may, want.may...)
	for _, req := range got.whole {
		if i := slices.Index(f.may, req.text()); i >= 0 {
			f.may = slices.Delete(f.may, i, i+1)
			continue
		}
		whole, texts = append(whole, req), append(texts, req.text())
	}
	for _, req := range want.origin {
		wantTexts = append(wantTexts, req.text)
	}
	if !want.pattern().MatchString(answers) || !slices.Equal(wantTexts, texts) {
		t.Errorf("%s, line %d (%s), through %s\nanswers: %s\nwant:    %s\norigin:  %q\nwant:    %q", c.file, c.line, c.rule, f.name, answers, want.answers, texts, wantTexts)
	}
	if len(got.faults) > 0 {
		t.Errorf("%s, line %d, through %s: what the origin got is not requests alone:\n%s", c.file, c.line, f.name, strings.Join(got.faults, "\n"))
	}
	for i, req := range want.origin[:min(len(want.origin), len(whole))] {
		for _, has := range req.has {
			if !slices.ContainsFunc(whole[i].header, func(line string) bool { return strings.EqualFold(line, has) }) {
				t.Errorf("%s, line %d, through %s: no %q in %q", c.file, c.line, f.name, has, got.whole[i].header)
			}
		}
		for _, lacks := range req.lacks {
			if lines := whole[i].saying(lacks); len(lines) > 0 {
				t.Errorf("%s, line %d, through %s: the origin got %q", c.file, c.line, f.name, lines)
			}
		}
	}
}

// checkCut closes the origin of a front and looks at the requests that did not come
// to their end. When they are over is nobody's to say, so that they are judged last.
func checkCut(t *testing.T, f *front, cases []*corpusCase) {
	t.Helper()
	f.origin.close()
	var may []string
	for _, c := range cases {
		want := c.wantAt(f.name)
		may = append(may, want.cut...)
	}
	for _, cut := range f.origin.cut {
		if !slices.Contains(may, cut) {
			t.Errorf("%s: the origin got the beginning of a request: %s", f.name, cut)
		}
	}
}

// runCorpus plays cases through doors of a gateway.
func runCorpus(t *testing.T, o *gateway.Options, cases []*corpusCase, pick func(*harness) []door) {
	h := swallowedHarness(t, o)
	for _, d := range pick(h) {
		f := &front{name: d.name, http2: d.major == 2, open: func() *rawConn { return h.raw(d, "a.test") }, origin: newRecorder(t)}
		h.apply(gateway.Config{Upstreams: []upstream.Config{upstreamTo("1", f.origin.address())}})
		t.Run(f.name, func(t *testing.T) {
			for _, c := range cases {
				t.Run(c.id(), func(t *testing.T) {
					if why := c.wantAt(f.name).skip; why != "" {
						t.Skip(why)
					}
					c.check(t, f, c.play(f))
				})
			}
			checkCut(t, f, cases)
		})
	}
}

// One request that comes in is at most one that goes out, and nothing else is left
// on the way to the origin: the corpus over HTTP/1.1.
func TestCorpus(t *testing.T) { runCorpus(t, nil, corpus(t, "http1"), (*harness).http1Doors) }
