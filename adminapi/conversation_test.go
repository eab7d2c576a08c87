package adminapi_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/internal/freeport"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// This file runs the conversations in testdata/conversations. Each is one
// behaviour of the Admin API, in this form:
//
//	# What the conversation shows.
//	PUT /apisix/admin/routes/1
//	Content-Type: application/json
//
//	{"uri": "/1", "upstream": {"nodes": {"$ORIGIN": 1}, "type": "roundrobin"}}
//	code == 201
//	header X-API-VERSION == v3
//	body contains "uri":"/1"
//
//	GET http://a.test/1
//	code == 200
//
// A request is a line, then header fields, then after an empty line, or at once if
// it begins as no header field does, a body. What follows is checked: code, header
// (or "header k absent"), body == (as JSON), body is (byte for byte), body contains,
// body excludes, and "fails with" for a handshake. At least one check stands behind
// each request.
//
// A path goes to the Admin API, a whole URL through the gateway on a connection of
// its own, with the client certificate that "Client:" names: people or strangers.
//
// Before the first request there may be "keys NAME:ROLE ..."; otherwise there is
// one key, which every request brings that brings none itself. With "keys none" no
// key is needed. "now N" sets the clock.
//
// $NAME is a variable as it stands between the quotes of a JSON string, $RAW_NAME
// is its bare text, with its line breaks.

type conversation struct {
	keys      []adminapi.Key
	keyless   bool
	exchanges []*exchange
}

type exchange struct {
	line           int
	now            int64 // 0: as before
	method, target string
	header         http.Header
	body           []string
	checks         []check
}

type check struct {
	line int
	text string
}

var (
	requestLine = regexp.MustCompile(`^([A-Za-z]+) ((?:/|https?://)\S*)$`)
	headerLine  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9-]*): ?(.*)$`)
	checkLine   = regexp.MustCompile(`^(code ==|header \S+ (==|absent)|body (==|is|contains|excludes)|fails with)( |$)`)
)

// parseConversation reads a conversation.
func parseConversation(text string) (*conversation, error) {
	c := &conversation{}
	if !strings.HasPrefix(text, "# ") {
		return nil, errors.New("line 1: says not what the conversation shows")
	}
	var (
		e   *exchange
		in  string // "", "header", "body" or "checks"
		now int64
	)
	for i, line := range strings.Split(text, "\n") {
		fail := func(why string) error { return fmt.Errorf("line %d: %s: %q", i+1, why, line) }
		switch in {
		case "header":
			if m := headerLine.FindStringSubmatch(line); m != nil {
				e.header.Add(m[1], m[2])
				continue
			}
			in = "body"
			if line == "" {
				continue
			}
			fallthrough
		case "body":
			if !checkLine.MatchString(line) {
				e.body = append(e.body, line)
				continue
			}
			in = "checks"
			fallthrough
		case "checks":
			if checkLine.MatchString(line) {
				e.checks = append(e.checks, check{i + 1, line})
				continue
			}
			in = ""
		}
		key, value, _ := strings.Cut(line, " ")
		m := requestLine.FindStringSubmatch(line)
		switch {
		case line == "", key == "#":
		case m != nil:
			e = &exchange{line: i + 1, now: now, method: m[1], target: m[2], header: http.Header{}}
			c.exchanges = append(c.exchanges, e)
			in, now = "header", 0
		case key == "now":
			var err error
			if now, err = strconv.ParseInt(value, 10, 64); err != nil {
				return nil, fail("no time")
			}
		case key == "keys" && value == "none" && e == nil:
			c.keyless = true
		case key == "keys" && e == nil:
			for k := range strings.FieldsSeq(value) {
				name, role, _ := strings.Cut(k, ":")
				roles := map[string]adminapi.Role{"admin": adminapi.RoleAdmin, "viewer": adminapi.RoleViewer}
				r, ok := roles[role]
				if !ok {
					return nil, fail("no role")
				}
				c.keys = append(c.keys, adminapi.Key{Value: adminapi.Secret(name), Role: r})
			}
		default:
			return nil, fail("is nothing that stands in a conversation")
		}
	}
	for _, e := range c.exchanges {
		if len(e.checks) == 0 {
			return nil, fmt.Errorf("line %d: nothing is checked", e.line)
		}
	}
	if len(c.exchanges) == 0 {
		return nil, errors.New("nothing is asked")
	}
	return c, nil
}

// converse runs a conversation in a world of its own. The error says, line by
// line, which checks failed.
func converse(t testing.TB, text string) error {
	t.Helper()
	c, err := parseConversation(text)
	if err != nil {
		return err
	}
	w := newWorld(t, setup{keys: c.keys, keyless: c.keyless})
	v := w.variables()
	w.environment(v)
	var failed []error
	for _, e := range c.exchanges {
		if e.now != 0 {
			w.now.Store(e.now)
		}
		a, err := w.exchange(e, v)
		var unknown *unknownVariable
		if errors.As(err, &unknown) {
			return fmt.Errorf("line %d: %w", e.line, err)
		}
		for _, check := range e.checks {
			if why := check.failure(a, err, v); why != "" {
				failed = append(failed, fmt.Errorf("line %d: %s\n\t%s", check.line, check.text, why))
			}
		}
		if strings.HasPrefix(e.target, "/") && err == nil {
			if why := wellFormed(e.method, a); why != "" {
				failed = append(failed, fmt.Errorf("line %d: %s %s: %s", e.line, e.method, e.target, why))
			}
		}
		if found := leak(a.body, w.pair.KeyPEM, w.pair2.KeyPEM); found != "" {
			failed = append(failed, fmt.Errorf("line %d: the answer has a private key: %s", e.line, found))
		}
	}
	if failed == nil {
		w.check()
	}
	return errors.Join(failed...)
}

// wellFormed says what of an answer is not as it is for all.
func wellFormed(method string, a answer) string {
	switch {
	case method == "OPTIONS":
		return ""
	case a.header.Get("X-API-VERSION") != "v3":
		return "has no X-API-VERSION: v3"
	case a.header.Get("Access-Control-Allow-Origin") != "":
		return "lets pages of other origins read it"
	case a.body == "", a.body == "page_size must be between 10 and 500" && a.header.Get("Content-Type") == "text/plain; charset=utf-8":
		return ""
	case !strings.HasSuffix(a.body, "}\n") && !strings.HasSuffix(a.body, "]\n"):
		return "does not end with a line feed"
	case !json.Valid([]byte(a.body)):
		return "is no JSON"
	case a.header.Get("Content-Type") != "application/json":
		return "is not called JSON"
	}
	return ""
}

func (w *world) exchange(e *exchange, v map[string]string) (answer, error) {
	target, err := expand(e.target, v)
	if err != nil {
		return answer{}, err
	}
	for len(e.body) > 0 && e.body[len(e.body)-1] == "" {
		e.body = e.body[:len(e.body)-1]
	}
	body, err := expand(strings.Join(e.body, "\n"), v)
	if err != nil {
		return answer{}, err
	}
	through := !strings.HasPrefix(target, "/")
	if !through {
		target = w.admin.URL + target
	}
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequest(e.method, target, reader)
	if err != nil {
		return answer{}, err
	}
	for name, values := range e.header {
		for _, value := range values {
			req.Header.Add(name, value)
		}
	}
	if host := e.header.Get("Host"); host != "" {
		req.Host = host
	}
	if through {
		var certs []tls.Certificate
		switch who := req.Header.Get("Client"); who {
		case "":
		case "people":
			certs = append(certs, w.people.Client("alice"))
		case "strangers":
			certs = append(certs, w.strangers.Client("mallory"))
		default:
			return answer{}, fmt.Errorf("nobody is called %q", who)
		}
		req.Header.Del("Client")
		return w.visit(req, certs...)
	}
	if e.header["X-Api-Key"] == nil && w.key == adminKey {
		req.Header.Set("X-API-KEY", w.key)
	}
	client := *w.admin.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return fetch(&client, req)
}

// failure says why a check fails, or "".
func (c check) failure(a answer, failed error, v map[string]string) string {
	text, err := expand(c.text, v)
	if err != nil {
		return err.Error()
	}
	if want, ok := strings.CutPrefix(text, "fails with "); ok {
		if failed == nil || !strings.Contains(failed.Error(), want) {
			return fmt.Sprintf("got %d, error %v", a.status, failed)
		}
		return ""
	}
	if failed != nil {
		return failed.Error()
	}
	word, rest, _ := strings.Cut(text, " ")
	if word == "header" {
		name, condition, _ := strings.Cut(rest, " ")
		got := strings.Join(a.header.Values(name), ", ")
		if want, ok := strings.CutPrefix(condition, "== "); ok && got != want || condition == "absent" && got != "" {
			return fmt.Sprintf("got %q", got)
		}
		return ""
	}
	condition, want, _ := strings.Cut(rest, " ")
	body := strings.TrimSuffix(a.body, "\n")
	ok := false
	switch word + " " + condition {
	case "code ==":
		ok = strconv.Itoa(a.status) == want
	case "body ==":
		var x, y any
		if err := json.Unmarshal([]byte(want), &x); err != nil {
			return err.Error()
		}
		ok = json.Unmarshal([]byte(a.body), &y) == nil && reflect.DeepEqual(x, y)
	case "body is":
		ok = body == want
	case "body contains":
		ok = strings.Contains(body, want)
	case "body excludes":
		ok = !strings.Contains(body, want)
	}
	if !ok {
		return fmt.Sprintf("got %d %s", a.status, body)
	}
	return ""
}

// variables are what conversations name, as bare text.
func (w *world) variables() map[string]string {
	cert, key := string(w.pair.CertPEM), string([]byte(w.pair.KeyPEM))
	block, _ := pem.Decode(w.pair.KeyPEM)
	closed, port, err := freeport.Hold()
	require.NoError(w.t, err)
	w.t.Cleanup(func() { port.Close() })
	servers := ssltest.NewCA(w.t, "servers")
	expired := servers.ServerWith([]string{"a.test"}, ssltest.Expired)
	elsewhere := servers.Server("elsewhere.test")
	return map[string]string{
		"CERT": cert, "KEY": key,
		"CERT2": string(w.pair2.CertPEM), "KEY2": string([]byte(w.pair2.KeyPEM)),
		"EXPIRED_CERT": string(expired.CertPEM), "EXPIRED_KEY": string([]byte(expired.KeyPEM)),
		"ELSEWHERE_CERT": string(elsewhere.CertPEM), "ELSEWHERE_KEY": string([]byte(elsewhere.KeyPEM)),
		"RENEWED_CERT": renewed(w.t, w.pair),
		"OTHERKEY":     string([]byte(ssltest.NewCA(w.t, "others").Server("a.test").KeyPEM)),
		"CA":           string(w.people.PEM()),

		// The ways in which PEM goes wrong.
		"LOST_CERT": strings.ReplaceAll(cert, "\n", " "), "LOST_KEY": strings.ReplaceAll(key, "\n", " "),
		"JOINED_CERT": strings.ReplaceAll(cert, "\n", ""), "JOINED_KEY": strings.ReplaceAll(key, "\n", ""),
		"BACKSLASHED_CERT": strings.ReplaceAll(cert, "\n", `\n`), "BACKSLASHED_KEY": strings.ReplaceAll(key, "\n", `\n`),
		"LOCKED_KEY": string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: block.Bytes})),
		"BODY_KEY":   base64.StdEncoding.EncodeToString(block.Bytes),
		"CUT_CERT":   cert[:len(cert)/2],

		"ORIGIN": w.origins[0], "ORIGIN2": w.origins[1], "MTLS_ORIGIN": w.mtlsOrigin(), "DEAD": closed,
		"TOO_MUCH": strings.Repeat(" ", adminapi.MaxBody+1), "LONG": strings.Repeat("x", 65),
		"BLANK": " \r\n\t ",
	}
}

// renewed returns another certificate for the key of a pair.
func renewed(t testing.TB, pair ssl.KeyPair) string {
	cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	require.NoError(t, err)
	leaf := *cert.Leaf
	leaf.SerialNumber = new(big.Int).Add(leaf.SerialNumber, big.NewInt(1))
	der, err := x509.CreateCertificate(rand.Reader, &leaf, &leaf, leaf.PublicKey, cert.PrivateKey)
	require.NoError(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// environment puts some of the variables into the environment, and adds the references
// that stand for them there.
func (w *world) environment(v map[string]string) {
	// Conversations run at the same time, and there is one environment.
	prefix := fmt.Sprintf("SALLYPORT_TEST_%d_", environments.Add(1))
	for name, text := range map[string]string{
		"CERT": v["CERT"], "KEY": v["KEY"], "OTHERKEY": v["OTHERKEY"], "CA": v["CA"], "WORD": "hunter2",
		"PAIR": encode(w.t, map[string]any{"cert": v["CERT"], "key": v["KEY"], "number": 1}),
	} {
		require.NoError(w.t, os.Setenv(prefix+name, text))
		w.t.Cleanup(func() { _ = os.Unsetenv(prefix + name) })
		v["ENV_"+name] = "$env://" + prefix + name
	}
	v["ENV_CA"] = "$ENV" + strings.TrimPrefix(v["ENV_CA"], "$env")
}

var environments atomic.Int64

var variable = regexp.MustCompile(`\$(RAW_)?([A-Z][A-Z0-9_]*)`)

type unknownVariable struct{ name string }

func (u *unknownVariable) Error() string { return u.name + " is no variable" }

// expand puts variables in. $env:// and $secret:// are none.
func expand(text string, v map[string]string) (string, error) {
	var unknown error
	out := variable.ReplaceAllStringFunc(text, func(name string) string {
		m := variable.FindStringSubmatch(name)
		value, ok := v[m[2]]
		if !ok {
			unknown = &unknownVariable{name}
		}
		if m[1] != "" {
			return value
		}
		quoted, _ := json.Marshal(value)
		return string(quoted[1 : len(quoted)-1])
	})
	return out, unknown
}

func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/conversations/*.txt")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 150)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			require.NoError(t, converse(t, string(text)))
		})
	}
}

// What runs the conversations must be able to fail.
func TestConversationsFail(t *testing.T) {
	const put = `# A route.
PUT /apisix/admin/routes/1
{"uri":"/1","upstream":{"nodes":{"$ORIGIN":1},"type":"roundrobin"}}
`
	for _, test := range []struct{ text, want string }{
		{put + "code == 201\nbody contains /1\nbody excludes /2\nheader Content-Type == application/json\nheader X-Other absent", ""},
		{put + "code == 200", `line 4: code == 200`},
		{put + "header Content-Type == text/plain", `got "application/json"`},
		{put + "header Content-Type absent", `got "application/json"`},
		{put + "header X-Other == x", `got ""`},
		{put + "body contains /2", `line 4: body contains /2`},
		{put + "body excludes /1", `line 4: body excludes /1`},
		{put + "body is {}", `line 4: body is {}`},
		{put + `body == {"key":"/apisix/routes/1"}`, `line 4: body ==`},
		{put + `body == {`, `unexpected end of JSON`},
		{put + "fails with alert", `line 4: fails with alert`},
		{put + "code == 201\ncode == 200\nbody is {}", "line 6: body is {}"},
		{put + "code == 201\n\nGET http://a.test/1\nbody is origin 2", "body is origin 2"},
		{put + "code == 201\n\nGET https://a.test/1\ncode == 200", "unrecognized name"},
		{put, "line 2: nothing is checked"},
		{put + "\ncode = 201", "line 2: nothing is checked"},
		{put + "code == 201\nbody has /1", "is nothing that stands in a conversation"},
		{put + "code == 201\nGET /\n" + put, "line 5: nothing is checked"},
		{put + "code == $NOBODY", "$NOBODY is no variable"},
		{"# x\nPUT /apisix/admin/ssls/$NOBODY\ncode == 200", "$NOBODY is no variable"},
		{"# x\nkeys a:king\nGET /\ncode == 404", "no role"},
		{"# x\nGET http://a.test/\nClient: bob\n\ncode == 404", `nobody is called "bob"`},
		{"# x", "nothing is asked"},
		{"GET /\ncode == 404", "says not what"},
	} {
		err := converse(t, test.text)
		if test.want == "" {
			require.NoError(t, err, test.text)
		} else {
			require.ErrorContains(t, err, test.want, test.text)
		}
	}
	for _, a := range []answer{
		{200, http.Header{"Content-Type": {"application/json"}}, "{}\n"},
		{200, http.Header{"X-Api-Version": {"v3"}, "Content-Type": {"text/html"}}, "{}\n"},
		{200, http.Header{"X-Api-Version": {"v3"}, "Content-Type": {"application/json"}}, "{}"},
		{200, http.Header{"X-Api-Version": {"v3"}, "Content-Type": {"application/json"}}, "{{}\n"},
		{200, http.Header{"X-Api-Version": {"v3"}, "Access-Control-Allow-Origin": {"*"}}, ""},
	} {
		require.NotEmpty(t, wellFormed("GET", a))
	}
}
