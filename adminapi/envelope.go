package adminapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/internal/secret"
)

// A reply is an answer to a request.
type reply struct {
	status   int
	body     any               // what cjson.Encode takes; nil is no body
	text     string            // instead of body
	revision int64             // of the document that it is about, if not 0
	header   map[string]string // besides that of every answer
}

// A failure is an answer that says why nothing was done.
type failure struct {
	status      int
	text        string // "error_msg"
	description string // "description", if not empty
	message     string // "message" instead, as APISIX has it for a missing key
	plain       bool   // text alone, as APISIX has it for the size of a page
	empty       bool   // no body at all
}

func (f *failure) reply() *reply {
	a := &reply{status: f.status}
	switch {
	case f.empty:
		return a
	case f.plain:
		a.text = f.text
	case f.message != "":
		a.body = map[string]any{"message": f.message}
	case f.description != "":
		a.body = map[string]any{"error_msg": f.text, "description": f.description}
	default:
		a.body = map[string]any{"error_msg": f.text}
	}
	return a
}

var (
	pageNotFound = &failure{status: http.StatusNotFound, empty: true}
	// A mux has brought here what it should not, or has not stripped its prefix.
	elsewhere   = &failure{status: http.StatusNotFound, text: "not found", description: "the paths of the Admin API begin with /apisix/admin: below another prefix, mount it with http.StripPrefix"}
	notFound    = &failure{status: http.StatusNotFound, text: "not found"}
	keyNotFound = &failure{status: http.StatusNotFound, message: "Key not found"}

	missingDocument = &failure{status: http.StatusBadRequest, text: "missing configurations", description: "send the document as the body, a JSON object"}
)

// badRequest is the answer to what is wrong with a request. The words of APISIX
// stand alone in "error_msg", where its clients look for them, and what to do
// stands beside.
func badRequest(err error) *failure {
	f := &failure{status: http.StatusBadRequest, text: withoutKey(err.Error())}
	var refused *apisix.Error
	if errors.As(err, &refused) {
		f.text, f.description = withoutKey(refused.Text), withoutKey(refused.Hint)
	}
	return f
}

// withoutKey returns a text that an answer or a log may repeat. Whatever says what
// is wrong with a document may quote from it, and somebody may have put a private
// key anywhere.
func withoutKey(text string) string {
	if secret.In(text) {
		return "[redacted: the reason repeats a private key]"
	}
	return text
}

// hidden returns a text of a document for those who may look at it: as GET shows it.
func hidden(text string) string {
	if secret.In(text) {
		return secret.Redacted
	}
	return text
}

// server is what answers say of the program. Clients look for APISIX's version behind
// "APISIX/", and leave out what it did not have yet: it is the one whose documents and
// texts these are. Some take all that stands there for a semantic version, and fail where
// it is none: that this is not APISIX itself, its build metadata says, which no comparison
// looks at.
const server = "APISIX/3.18.0+sallyport"

func write(w http.ResponseWriter, r *http.Request, a *reply) {
	head := w.Header()
	for name, value := range a.header {
		head.Set(name, value)
	}
	if a.revision != 0 {
		head.Set("ETag", fmt.Sprintf(`"%d"`, a.revision))
	}
	head.Set("Server", server)
	head.Set("X-API-VERSION", "v3")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Cache-Control", "no-store")
	var body []byte
	switch {
	case a.text != "":
		head.Set("Content-Type", "text/plain; charset=utf-8")
		body = []byte(a.text) // without a line feed, as in APISIX
	case a.body != nil:
		head.Set("Content-Type", "application/json")
		body = append(cjson.Encode(a.body), '\n')
	}
	w.WriteHeader(a.status)
	if body != nil && r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}

// maxBody is the size of a request body, as in APISIX.
const maxBody = 1536 << 10

// A body is what a request brings, if it brings anything.
type body struct {
	value   any
	present bool
}

// explain adds to the answer to a body that is no object what is wrong with it. APISIX says
// it in words of Lua, and of an empty list, which is an empty object there, not at all.
func (b body) explain(f *failure) *failure {
	if _, ok := b.value.(map[string]any); ok || !b.present || f == nil || f.status != http.StatusBadRequest {
		return f
	}
	explained := *f
	explained.description = "the body must be a JSON object"
	if f.description != "" {
		explained.description += "; " + f.description
	}
	return &explained
}

// readBody reads the body of a request as JSON. Its Content-Type does not matter:
// curl -d says that it is a form.
func readBody(r *http.Request, most int) (body, *failure) {
	if r.Body == nil {
		return body{}, nil
	}
	data, err := io.ReadAll(io.LimitReader(r.Body, int64(most)+1))
	if err != nil {
		return body{}, badRequest(errors.New("invalid request body: it could not be read to its end"))
	}
	if len(data) > most {
		size := max(r.ContentLength, int64(len(data)))
		return body{}, badRequest(fmt.Errorf("invalid request body: request size %d is greater than the maximum size %d allowed", size, most))
	}
	if len(data) == 0 {
		return body{}, nil
	}
	value, err := cjson.Decode(data)
	if err != nil {
		// Without APISIX's req_body: it would repeat the private key.
		return body{}, badRequest(fmt.Errorf("invalid request body: %w", err))
	}
	return body{value, true}, nil
}

// printable returns a part of a path or of a document for an answer. A private key does
// not belong there, and is not repeated.
func printable(s string) string {
	const most = 100
	switch {
	case secret.In(s):
		return secret.Redacted
	case len(s) > most:
		s = s[:most] + "..."
	}
	return strings.ToValidUTF8(s, "?")
}
