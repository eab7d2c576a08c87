package adminapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
)

// A Handler is the Admin API of one [gateway.Server].
type Handler struct {
	server  *gateway.Server
	storage Storage
	logger  *slog.Logger // nil is silent
	gate    *gate
	now     func() time.Time

	// changeMu serialises changes, from the checking to the storing and the
	// applying. A storage may take its time, and reads do not wait for it.
	changeMu sync.Mutex

	// mu guards objects. Changing them takes changeMu as well, so that whoever
	// holds that may read them.
	mu      sync.RWMutex
	objects map[apisix.Kind]map[string]*object // by id
}

// String implements [fmt.Stringer], so that printing a Handler shows no document.
func (h *Handler) String() string { return "adminapi.Handler" }

// An object is a stored document. It never changes.
type object struct {
	doc     map[string]any
	id      string
	created int64 // revisions of the storage
	changed int64
}

// New returns the Admin API of a server, and applies what the storage holds. The
// error says which option or which stored document is wrong.
//
// The server should be changed by nobody else: what the Admin API does not know,
// it does not show, and a change of its own may overwrite.
func New(server *gateway.Server, o *Options) (*Handler, error) {
	if o == nil {
		o = &Options{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	h := &Handler{
		server:  server,
		storage: o.Storage,
		logger:  o.Logger,
		gate:    newGate(o.Keys),
		now:     time.Now,
		objects: map[apisix.Kind]map[string]*object{},
	}
	if h.storage == nil {
		h.storage = &Memory{}
	}
	for _, kind := range apisix.Kinds {
		h.objects[kind] = map[string]*object{}
	}
	if err := h.load(context.Background()); err != nil {
		return nil, err
	}
	return h, nil
}

// load applies what the storage holds, as one change. The error names each
// document that is wrong.
func (h *Handler) load(ctx context.Context) error {
	records, err := h.storage.Load(ctx)
	if err != nil {
		return fmt.Errorf("adminapi: storage: %w", err)
	}
	// Objects of equal rank are older or newer by when they were created.
	records = slices.SortedFunc(slices.Values(records), func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Key, b.Key))
	})
	var faults []error
	var loaded []*apisix.Object
	change := gateway.Change{AllowDangling: true}
	for _, r := range records {
		kind, id, ok := parseKey(r.Key)
		if !ok {
			continue
		}
		doc, decoded, err := decodeStored(kind, id, r.Value)
		if err != nil {
			faults = append(faults, storedError(r.Key, err))
			continue
		}
		put := changeOf(decoded).Put
		change.Put.SSL = append(change.Put.SSL, put.SSL...)
		change.Put.Routes = append(change.Put.Routes, put.Routes...)
		change.Put.Upstreams = append(change.Put.Upstreams, put.Upstreams...)
		h.objects[kind][id] = &object{doc: doc, id: id, created: r.Created, changed: r.Modified}
		loaded = append(loaded, decoded)
	}
	if faults == nil {
		if _, err = h.server.Apply(change); err == nil {
			return nil
		}
	}
	// Which document is at fault, each tells by itself.
	for _, decoded := range loaded {
		alone := changeOf(decoded)
		alone.AllowDangling = true
		if _, err := h.server.Prepare(alone); err != nil {
			faults = append(faults, storedError(keyOf(decoded.Kind, decoded.ID), decoded.Translate(err)))
		}
	}
	if faults == nil {
		return fmt.Errorf("adminapi: stored configuration: %w", err)
	}
	return errors.Join(faults...)
}

func storedError(key string, err error) error {
	return fmt.Errorf("adminapi: stored %s: %s", key, withoutKey(err.Error()))
}

func decodeStored(kind apisix.Kind, id string, value []byte) (map[string]any, *apisix.Object, error) {
	body, err := cjson.Decode(value)
	if err != nil {
		return nil, nil, err
	}
	doc, err := apisix.Document(body)
	if err != nil {
		return nil, nil, err
	}
	decoded, err := apisix.Decode(kind, id, doc)
	return doc, decoded, err
}

// keyOf is the key of a document in the storage; with the prefix it is the key
// that clients see.
func keyOf(kind apisix.Kind, id string) string { return "/" + string(kind) + "/" + id }

const keyPrefix = "/apisix"

func parseKey(key string) (kind apisix.Kind, id string, ok bool) {
	rest, ok := strings.CutPrefix(key, "/")
	if !ok {
		return "", "", false
	}
	name, id, ok := strings.Cut(rest, "/")
	if !ok || id == "" || !slices.Contains(apisix.Kinds, apisix.Kind(name)) {
		return "", "", false
	}
	return apisix.Kind(name), id, true
}

// changeOf is what putting a document changes in the gateway.
func changeOf(o *apisix.Object) (c gateway.Change) {
	inline := apisix.InlineID(o.Kind, o.ID)
	switch o.Kind {
	case apisix.SSLs:
		if o.Enabled && o.SSL != nil {
			c.Put.SSL = append(c.Put.SSL, *o.SSL)
		} else {
			c.Delete.SSL = []string{o.ID}
		}
	case apisix.Upstreams:
		c.Put.Upstreams = append(c.Put.Upstreams, *o.Upstream)
	case apisix.Routes:
		c.Put.Routes = append(c.Put.Routes, *o.Route)
		if o.Upstream != nil {
			c.Put.Upstreams = append(c.Put.Upstreams, *o.Upstream)
		} else {
			c.Delete.Upstreams = []string{inline}
		}
	}
	return c
}

// deletionOf is what deleting a document changes in the gateway.
func deletionOf(kind apisix.Kind, id string) (c gateway.Change) {
	switch kind {
	case apisix.SSLs:
		c.Delete.SSL = []string{id}
	case apisix.Upstreams:
		c.Delete.Upstreams = []string{id}
	case apisix.Routes:
		c.Delete.Routes = []string{id}
		c.Delete.Upstreams = []string{apisix.InlineID(kind, id)}
	}
	return c
}

// absent are the kinds of APISIX that this gateway has nothing for. Clients list
// them; a list is empty, and a write is refused by name.
var absent = []string{
	"consumers", "consumer_groups", "credentials", "global_rules", "plugin_configs", "plugin_metadata",
	"plugins", "protos", "secrets", "services", "stream_routes",
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		// APISIX allows every origin here. A page of another origin has no
		// business with an Admin API, so no CORS header is sent.
		w.Header().Set("Allow", allowed)
		w.WriteHeader(http.StatusOK)
		return
	}
	if f := h.gate.check(r); f != nil {
		if h.logger != nil {
			h.logger.Warn("admin request refused", "status", f.status, "reason", cmp.Or(f.description, f.text), "remote", r.RemoteAddr, "host", r.Host)
		}
		write(w, r, f.status, f.body())
		return
	}
	status, body, f := h.serve(r)
	if f != nil {
		status, body = f.status, f.body()
	}
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", allowed)
	}
	write(w, r, status, body)
}

const allowed = "GET, HEAD, PUT, POST, DELETE, OPTIONS"

// serve routes a request. Segments are compared as they were sent, before any
// decoding: "%2f" is no slash, and an id has nothing that would be encoded.
func (h *Handler) serve(r *http.Request) (status int, body map[string]any, _ *failure) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/apisix/admin")
	if !ok || rest != "" && rest[0] != '/' {
		return 0, nil, pageNotFound
	}
	rest = strings.TrimPrefix(rest, "/")
	if rest == "" {
		if r.Method == http.MethodHead { // how clients try their key
			return http.StatusOK, nil, nil
		}
		return 0, nil, pageNotFound
	}
	name, id, nested := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if slices.Contains(absent, name) {
		return h.serveAbsent(r, name, nested)
	}
	kind := apisix.Kind(name)
	if _, known := h.objects[kind]; !known {
		return 0, nil, &failure{status: http.StatusNotFound, text: "Unsupported resource type: " + printable(name)}
	}
	if nested && id == "" || strings.Contains(id, "/") || isDots(id) {
		return 0, nil, notFound
	}
	sent, f := readBody(r)
	if f != nil {
		return 0, nil, f
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if id == "" {
			return h.list(kind, r.URL.Query())
		}
		return h.get(kind, id)
	case http.MethodPut:
		return h.put(r, kind, id, sent)
	case http.MethodPost:
		return h.post(r, kind, id, sent)
	case http.MethodDelete:
		return h.delete(r, kind, id)
	case http.MethodPatch:
		return 0, nil, &failure{
			status:      http.StatusMethodNotAllowed,
			text:        "not supported `PATCH` method for " + kind.Singular(),
			description: "PUT the whole document instead",
		}
	}
	return 0, nil, notFound
}

func (h *Handler) serveAbsent(r *http.Request, name string, nested bool) (int, map[string]any, *failure) {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		if !nested {
			return http.StatusOK, map[string]any{"list": []any{}, "total": float64(0)}, nil
		}
		return 0, nil, keyNotFound
	}
	return 0, nil, &failure{status: http.StatusBadRequest, text: "this gateway has no " + name}
}

// isDots reports whether an id would be a step in a path. APISIX takes it, but
// whoever resolves paths in between would never let it be found again.
func isDots(id string) bool { return id == "." || id == ".." }
