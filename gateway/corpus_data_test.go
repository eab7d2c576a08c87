package gateway_test

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The corpus is what a client may write to have one request taken for two, or for
// another: files of cases in testdata/corpus, in http1 as bytes and in http2 as
// frames. A file has lines "key: value"; what begins with # is a comment, and an
// empty line means nothing. Wherever bytes stand, \r \n \t \" \\ and \xNN are
// escapes, and \{text*9} is the text nine times.
//
//	case: CL and TE                    a new case, and its name
//	rule: RFC 9112, section 6.1        what it is about; must be there
//	method: HEAD                       of the request, where the end of an answer depends on it
//	> POST / HTTP/1.1\r\n              what the client writes, no more and no less
//	< 100                              the client goes on when it has an answer with this status
//	half: yes                          the client ends its side, and does not ask for /probe
//	answers: 400 close                 what the client gets: see below
//	origin: POST / "hello"             a request that the origin gets: method, target, body
//	has: X-A: b                        a field of that request
//	lacks: X-B                         a name, in every spelling, or a text that no line of it has
//	cut: POST /x                       a request that may begin to go out, but not come to its end
//	net/http answers: 200 open         what differs where net/http is in front; also with origin (or
//	                                   none) and cut, and with the name of a door for net/http
//	net/http may: POST /               a request that the origin may get as well, as events fall,
//	                                   even when the next case is on
//	net/http skip: why                 that nothing can be said of it
//	nginx: accepts 1: why              what an oracle does otherwise, and why that is no fault of ours
//
// After its bytes, in the same write as the last of them, the client asks for /probe
// on the same connection. The last word of the answers says what becomes of that:
// "open" if it is answered, "close" if the connection ends before. "400|501" is either
// status, "400?" one that may be missing.
//
// In http2 the lines with > are fields, one a line: of the head, and after a line
// with data (a DATA frame) of the trailer. The stream ends with the last of them, or
// with "half" in a reset by the client, of which there is no answer. An answer is
// "reset" if the stream is reset by the other side. The probe is another stream.
type corpusCase struct {
	file, name, rule string
	line             int
	steps            []corpusStep
	method           string
	half             bool

	want    corpusWant
	others  map[string]corpusWant // by front, or "net/http"
	oracles map[string]oracleNote
}

// A corpusStep is something that the client writes or waits for.
type corpusStep struct {
	kind   byte // '>' writes bytes or has fields, '<' waits for a status, 'd' is DATA
	bytes  string
	status int
	fields []string // name, value, name, value
}

// A corpusWant is what must become of a case.
type corpusWant struct {
	answers string
	origin  []wantRequest
	cut     []string // "POST /x"
	may     []string // requests that the origin may get as well
	skip    string   // why nothing can be said
}

// A wantRequest is a request as the origin must get it.
type wantRequest struct {
	text       string // as received.text has it
	has, lacks []string
}

// An oracleNote says that an oracle differs from us, how, and why.
type oracleNote struct{ verdict, reason string }

// pattern returns the pattern of the answers.
func (w *corpusWant) pattern() *regexp.Regexp {
	var b strings.Builder
	b.WriteByte('^')
	words := strings.Fields(w.answers)
	for i, word := range words {
		word, optional := strings.CutSuffix(word, "?")
		b.WriteString("(?:(?:" + word + ")")
		if i < len(words)-1 {
			b.WriteByte(' ')
		}
		b.WriteByte(')')
		if optional {
			b.WriteByte('?')
		}
	}
	return regexp.MustCompile(b.String() + "$")
}

// text is a request as the corpus writes it.
func (r *received) text() string {
	method, _, _ := strings.Cut(r.line, " ")
	text := method + " " + r.target()
	if len(r.body) > 0 {
		text += " " + strconv.Quote(string(r.body))
	}
	return text
}

// corpus reads the cases of a directory.
func corpus(t testing.TB, dir string) []*corpusCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "corpus", dir, "*.txt"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var all []*corpusCase
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		cases, err := parseCorpus(filepath.Base(file), string(data), dir == "http2")
		require.NoError(t, err, file)
		all = append(all, cases...)
	}
	cuts := map[string]string{}
	for _, c := range all {
		for front, want := range c.wants() {
			for _, cut := range want.cut {
				// When the origin sees the end of such a request is nobody's to
				// say: it is told from those of other cases by its target.
				other := cmp.Or(cuts[cut], c.id())
				require.Equal(t, c.id(), other, "%q of %s may be cut in another case as well", cut, front)
				cuts[cut] = c.id()
			}
		}
	}
	return all
}

func (c *corpusCase) id() string { return strings.TrimSuffix(c.file, ".txt") + ": " + c.name }

// wants are all that the case says, by front.
func (c *corpusCase) wants() map[string]corpusWant {
	all := map[string]corpusWant{"": c.want}
	maps.Copy(all, c.others)
	return all
}

// wantAt is what must become of the case at a front. What is said of one takes the
// place of what is said of net/http, and that of what is said of all.
func (c *corpusCase) wantAt(front string) corpusWant {
	if want, ok := c.others[front]; ok {
		return want
	}
	if want, ok := c.others["net/http"]; ok && slices.Contains(onNetHTTP, front) {
		return want
	}
	return c.want
}

// parseCorpus reads a file of cases.
func parseCorpus(file, text string, fields bool) (all []*corpusCase, err error) {
	var c *corpusCase
	number := 0
	fail := func(format string, args ...any) error {
		return fmt.Errorf("line %d: %s", number, fmt.Sprintf(format, args...))
	}
	names := map[string]bool{}
	var last *wantRequest    // that "has" and "lacks" are about
	var partial []corpusPart // what differs at other fronts, in the order of the file
	end := func() error {
		switch {
		case c == nil:
			return nil
		case c.rule == "" || c.want.answers == "" || len(c.steps) == 0:
			return fail("the case %q before has no rule, no answers or nothing to send", c.name)
		}
		for _, p := range partial {
			want, ok := c.others[p.front]
			if !ok {
				want = c.want
			}
			want.may, want.skip = p.may, p.skip
			if p.answers != "" {
				want.answers = p.answers
			}
			if p.origin != nil {
				want.origin = *p.origin
			}
			if p.cut != nil {
				want.cut = p.cut
			}
			c.others[p.front] = want
			if reflect.DeepEqual(want, c.want) {
				return fail("the case %q before has nothing else for %s", c.name, p.front)
			}
		}
		partial = nil
		return nil
	}
	at := func(front string) *corpusPart {
		for i := range partial {
			if partial[i].front == front {
				return &partial[i]
			}
		}
		partial = append(partial, corpusPart{front: front})
		return &partial[len(partial)-1]
	}
	for line := range strings.SplitSeq(text, "\n") {
		number++
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "case: "); ok {
			if err := end(); err != nil {
				return nil, err
			}
			if names[name] {
				return nil, fail("a second %q", name)
			}
			names[name] = true
			c = &corpusCase{file: file, name: name, line: number, method: "GET", others: map[string]corpusWant{}, oracles: map[string]oracleNote{}}
			all = append(all, c)
			last = nil
			continue
		}
		if c == nil {
			return nil, fail("no case yet")
		}
		if raw, ok := strings.CutPrefix(line, "> "); ok {
			if err := c.addBytes(raw, fields); err != nil {
				return nil, fail("%v", err)
			}
			continue
		}
		if raw, ok := strings.CutPrefix(line, "< "); ok {
			status, err := strconv.Atoi(raw)
			if err != nil {
				return nil, fail("%v", err)
			}
			c.steps = append(c.steps, corpusStep{kind: '<', status: status})
			continue
		}
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return nil, fail("%q", line)
		}
		front, of := key[:max(0, strings.LastIndexByte(key, ' '))], key[strings.LastIndexByte(key, ' ')+1:]
		other := front != ""
		switch {
		case key == "rule":
			c.rule = value
		case key == "method":
			c.method = value
		case key == "half":
			c.half = value == "yes"
		case key == "data":
			raw, err := unescape(value)
			if err != nil {
				return nil, fail("%v", err)
			}
			c.steps = append(c.steps, corpusStep{kind: 'd', bytes: raw})
		case key == "answers":
			c.want.answers = value
		case key == "origin":
			text, err := unescapeRequest(value)
			if err != nil {
				return nil, fail("%v", err)
			}
			c.want.origin = append(c.want.origin, wantRequest{text: text})
			last = &c.want.origin[len(c.want.origin)-1]
		case key == "cut":
			c.want.cut = append(c.want.cut, value)
		case key == "has" && last != nil:
			field, err := unescape(value)
			if err != nil {
				return nil, fail("%v", err)
			}
			last.has = append(last.has, field)
		case key == "lacks" && last != nil:
			last.lacks = append(last.lacks, value)
		case key == "nginx" || key == "haproxy":
			verdict, reason, ok := strings.Cut(value, ": ")
			if !ok || reason == "" {
				return nil, fail("no reason in %q", line)
			}
			c.oracles[key] = oracleNote{verdict, reason}
		case other && of == "answers":
			at(front).answers = value
		case other && of == "may":
			at(front).may = append(at(front).may, value)
		case other && of == "skip":
			at(front).skip = value
		case other && of == "cut":
			at(front).cut = append(at(front).cut, value)
		case other && of == "origin":
			p := at(front)
			if p.origin == nil {
				p.origin = new([]wantRequest)
			}
			if value == "none" {
				continue
			}
			text, err := unescapeRequest(value)
			if err != nil {
				return nil, fail("%v", err)
			}
			*p.origin = append(*p.origin, wantRequest{text: text})
		default:
			return nil, fail("%q", line)
		}
	}
	return all, end()
}

// A corpusPart is what a case says of one front.
type corpusPart struct {
	may                  []string
	front, answers, skip string
	origin               *[]wantRequest
	cut                  []string
}

// addBytes adds a line of what is sent: bytes, or a field.
func (c *corpusCase) addBytes(raw string, field bool) error {
	if field {
		at := strings.Index(raw[1:], ":") + 1 // a pseudo-field has one before
		name, err := unescape(raw[:at])
		if err != nil {
			return err
		}
		value, err := unescape(strings.TrimPrefix(raw[at+1:], " "))
		if err != nil {
			return err
		}
		if n := len(c.steps); n == 0 || c.steps[n-1].kind != '>' {
			c.steps = append(c.steps, corpusStep{kind: '>'})
		}
		block := &c.steps[len(c.steps)-1]
		block.fields = append(block.fields, name, value)
		return nil
	}
	raw, err := unescape(raw)
	if err != nil {
		return err
	}
	if n := len(c.steps); n > 0 && c.steps[n-1].kind == '>' {
		c.steps[n-1].bytes += raw
		return nil
	}
	c.steps = append(c.steps, corpusStep{kind: '>', bytes: raw})
	return nil
}

// unescapeRequest reads a request as the origin must get it.
func unescapeRequest(s string) (string, error) {
	head, body, ok := strings.Cut(s, ` "`)
	head, err := unescape(head)
	if !ok || err != nil {
		return head, err
	}
	body, ok = strings.CutSuffix(body, `"`)
	if !ok {
		return "", fmt.Errorf("the body of %q does not end", s)
	}
	body, err = unescape(body)
	return head + " " + strconv.Quote(body), err
}

// unescape reads bytes as the corpus writes them.
func unescape(s string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			return "", fmt.Errorf("%q ends in an escape", s)
		}
		switch s[i] {
		case 'r':
			b.WriteByte('\r')
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case '"', '\\':
			b.WriteByte(s[i])
		case 'x':
			if len(s) < i+3 {
				return "", fmt.Errorf("%q ends in an escape", s)
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", err
			}
			b.WriteByte(byte(n))
			i += 2
		case '{':
			inner, _, ok := strings.Cut(s[i+1:], "}")
			star := strings.LastIndexByte(inner, '*')
			if !ok || star < 0 {
				return "", fmt.Errorf("no repetition in %q", s)
			}
			n, err := strconv.Atoi(inner[star+1:])
			if err != nil {
				return "", err
			}
			text, err := unescape(inner[:star])
			if err != nil {
				return "", err
			}
			b.WriteString(strings.Repeat(text, n))
			i += len(inner) + 1
		default:
			return "", fmt.Errorf("no escape: %q", s[i-1:])
		}
	}
	return b.String(), nil
}

// What stands in the files means what it says.
func TestCorpusFiles(t *testing.T) {
	require.GreaterOrEqual(t, len(corpus(t, "http1")), 150)
	require.NotEmpty(t, corpus(t, "http2"))

	for in, want := range map[string]string{
		`a\r\n\t\x00\\\"`: "a\r\n\t\x00\\\"",
		`\{ab*3}c`:        "abababc",
		`\{a\r\n*2}`:      "a\r\na\r\n",
		`\{**2}`:          "**",
	} {
		got, err := unescape(in)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, in := range []string{`\`, `\q`, `\x0`, `\xzz`, `\{a}`, `\{a*x}`, `\{a*2`} {
		_, err := unescape(in)
		require.Error(t, err, in)
	}
	w := corpusWant{answers: "100 200|204 400? close"}
	for _, s := range []string{"100 200 400 close", "100 204 close"} {
		require.Regexp(t, w.pattern(), s)
	}
	for _, s := range []string{"100 200 400 400 close", "100 close", "100 200 open", "1002 200 close", "100 200 400 close open"} {
		require.NotRegexp(t, w.pattern(), s)
	}
	for _, bad := range []string{
		"rule: x\n", "case: a\nrule: x\n> x\n", "case: a\n> x\nanswers: 200 open\n", "case: a\nrule: x\n> x\nanswers: 200 open\nnginx: accepts 1\n",
		"case: a\nrule: x\n> \\q\n", "case: a\nrule: x\n> x\nanswers: 200 open\nwhat: x\n", "case: a\nrule: x\n> x\nanswers: 200 open\ncase: a\n",
		"case: a\nrule: x\n> x\nanswers: 200 open\nnet/http answers: 200 open\n",
	} {
		_, err := parseCorpus("x", bad, false)
		require.Error(t, err, bad)
	}
}
