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
	"github.com/sallyport/sallyport/internal/hooks"
)

// A Handler is the Admin API of one [gateway.Server]. Use [New]: a zero Handler has no
// Server.
type Handler struct {
	server  *gateway.Server
	storage Storage
	secrets SecretResolver
	keyring apisix.Keyring
	logger  *slog.Logger // nil is silent
	gate    *gate
	now     func() time.Time
	expiry  expiry

	following *following // nil: the storage is not shared

	// changeMu serialises changes, from the checking to the storing and the
	// applying. A storage may take its time, and reads do not wait for it.
	changeMu sync.Mutex

	// told are the warnings that were told of documents and still hold, by key: see fresh.
	// changeMu guards them.
	told map[string][]string

	// displaced says that the gateway may have ssl objects in another order than that of their
	// age: see restorePlaces. changeMu guards it.
	displaced bool

	// mu guards what follows. Changing it takes changeMu as well, so that whoever holds
	// that may read it.
	mu      sync.RWMutex
	docs    *documents
	configs *configsState

	// rejected are the stored documents that are not in force, by key. What docs has of
	// them is their last good version.
	rejected map[string]*rejection

	watched []*FileWatcher
}

// String implements [fmt.Stringer], so that printing a Handler shows no document.
func (h *Handler) String() string { return "adminapi.Handler" }

// New returns the Admin API of a server, and applies what the storage holds. The error says
// which option or which stored document is wrong. In a [SharedStorage], documents that are
// wrong are not applied, but reported by [*Handler.Status]: others write there too, and one
// of their mistakes must not keep a fleet from starting.
//
// The context bounds New alone, not the life of the Handler, which [*Handler.Close] ends.
// New waits for the storage, and for [Options.Secrets], until the context ends, and then
// returns its error; a storage on the network may give up sooner (etcd.Options.Timeout). If
// New returns an error, nothing of what is stored is in force.
//
// The program may have objects of its own on the server, made with [*gateway.Server.Apply]
// before or after. The Admin API neither shows nor changes them: a PUT, PATCH or DELETE of
// the id of one is answered with 409, and a whole configuration that contains such an id is
// refused, as is a PUT of a document that names one. But what the storage holds when New is
// called replaces what the server has under the same id.
//
// Nothing is checked the other way round. The program must not use the ids of documents,
// nor, for upstreams, ids that begin with "routes/" or "services/", nor
// [*gateway.Server.Configure], which deletes everything that it is not given.
func New(ctx context.Context, server *gateway.Server, o *Options) (*Handler, error) {
	if o == nil {
		o = &Options{}
	}
	err := o.check()
	if server == nil {
		err = errors.Join(errors.New("adminapi: New: there is no server"), err)
	}
	if err != nil {
		return nil, err
	}
	h := &Handler{
		server:  server,
		storage: o.Storage,
		secrets: o.Secrets,
		keyring: o.keyring(),
		logger:  hooks.Logger(o.Logger),
		gate:    newGate(o),
		now:     time.Now,
		docs:    newDocuments(),
		configs: newConfigsState(),

		rejected: map[string]*rejection{},
		told:     map[string][]string{},
	}
	h.expiry.handler = h
	if h.storage == nil {
		h.storage = &Memory{}
	}
	if shared, ok := h.storage.(SharedStorage); ok {
		err = h.start(ctx, shared)
	} else if err = h.load(ctx); err == nil {
		h.expire(ctx) // whose time passed while nobody looked
	}
	switch {
	case err == nil:
		return h, nil
	case ctx.Err() != nil: // whatever it has come to be called on its way
		return nil, fmt.Errorf("adminapi: New: the storage was not read to its end: %w", ctx.Err())
	default:
		return nil, err
	}
}

// Close ends what the Handler does by itself: from then on, documents that were stored with
// a ttl stay, and a [SharedStorage] is no longer followed ([Status].Err), nor written to:
// changes are answered with 503. It waits for work in progress, and closes neither the server
// nor the storage.
func (h *Handler) Close() {
	h.expiry.close()
	if h.following != nil {
		h.following.close()
		h.changeMu.Lock() // until what was about to be stored is: of the next, over says why it is not
		defer h.changeMu.Unlock()
	}
}

// load applies what the storage holds, as one change. The error names each
// document that is wrong.
func (h *Handler) load(ctx context.Context) error {
	records, err := stored(ctx, h.storage)
	if err != nil {
		return fmt.Errorf("adminapi: storage: %w", err)
	}
	// Objects of equal rank are older or newer by when they were created.
	records = slices.SortedFunc(slices.Values(records), func(a, b Record) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), strings.Compare(a.Key, b.Key))
	})
	var faults []error
	var edits []*edit
	var taken []Record // theirs
	for _, r := range records {
		kind, id, ok := parseKey(r.Key)
		if !ok {
			continue
		}
		e := &edit{kind: kind, id: id, expires: r.Expires}
		if err := h.read(e, r.Value); err != nil {
			faults = append(faults, storedError(r.Key, err))
			continue
		}
		edits = append(edits, e)
		taken = append(taken, r)
	}
	for i, err := range h.decodeAll(ctx, edits) {
		if err != nil {
			faults = append(faults, storedError(edits[i].key(), err))
		}
	}
	var whole error
	if faults == nil {
		if whole = h.applyStored(ctx, edits, taken); whole == nil {
			if i := slices.IndexFunc(records, func(r Record) bool { return r.Key == configsKey }); i >= 0 {
				h.configs = decodeConfigs(records[i])
			}
			return nil
		}
	}
	// Which document is at fault, each tells by itself.
	for _, e := range edits {
		if e.decoded == nil {
			continue
		}
		if _, err := h.prepare(ctx, e); err != nil {
			faults = append(faults, storedError(e.key(), err))
		}
	}
	if faults == nil {
		return fmt.Errorf("adminapi: stored configuration: %w", whole)
	}
	return errors.Join(faults...)
}

// applyStored applies stored documents, all or none.
func (h *Handler) applyStored(ctx context.Context, edits []*edit, stored []Record) error {
	change, err := h.changeOf(ctx, h.after(edits...), edits...)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	report, err := h.server.Apply(change)
	if err != nil {
		return err
	}
	for i, e := range edits {
		h.docs.apply(e, stored[i])
	}
	h.warn(edits, report)
	h.expiry.plan(edits, stored) // last: from here on, documents may go out
	return nil
}

func storedError(key string, err error) error {
	return fmt.Errorf("adminapi: stored %s: %s", key, withoutKey(err.Error()))
}

// read takes a stored document.
func (h *Handler) read(e *edit, value []byte) error {
	body, err := cjson.Decode(value)
	if err != nil {
		return err
	}
	doc, err := apisix.Document(body)
	e.doc = h.keyring.Decrypt(e.kind, doc)
	return err
}

// absent are the kinds of APISIX that this gateway has nothing for. Clients list
// them; a list is empty, nothing is found to be deleted, and a write is refused by name.
var absent = []string{
	"consumers", "consumer_groups", "credentials", "global_rules", "plugin_configs", "plugin_metadata",
	"plugins", "protos", "secrets", "stream_routes",
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f := h.gate.check(r); f != nil {
		if h.logger != nil {
			h.logger.Warn("admin request refused", "status", f.status, "reason", cmp.Or(f.description, f.text), "remote", r.RemoteAddr, "host", r.Host)
		}
		write(w, r, f.reply())
		return
	}
	if r.Method == http.MethodOptions {
		// APISIX allows every origin here. A page of another origin has no
		// business with an Admin API, so no CORS header is sent.
		w.Header().Set("Allow", allowed)
		write(w, r, &reply{status: http.StatusOK})
		return
	}
	answer, f := h.serve(r)
	if f != nil {
		answer = f.reply()
	}
	write(w, r, answer)
}

const allowed = "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"

// serve routes a request. Segments are compared as they were sent, before any
// decoding: "%2f" is no slash, and an id has nothing that would be encoded.
func (h *Handler) serve(r *http.Request) (*reply, *failure) {
	rest, ok := strings.CutPrefix(r.URL.EscapedPath(), "/apisix/admin")
	if !ok || rest != "" && rest[0] != '/' {
		return nil, elsewhere
	}
	rest = strings.TrimPrefix(rest, "/")
	if rest == "" {
		if r.Method == http.MethodHead { // how clients try their key
			return &reply{status: http.StatusOK}, nil
		}
		return nil, pageNotFound
	}
	name, below, nested := strings.Cut(strings.TrimSuffix(rest, "/"), "/")
	if name == "plugins" && (r.Method == http.MethodGet || r.Method == http.MethodHead) && (below != "" || r.URL.Query().Get("all") == "true") {
		return h.servePlugins(r, below)
	}
	if slices.Contains(absent, name) {
		return h.serveAbsent(r, name, nested)
	}
	switch name {
	case "schema":
		return h.serveSchema(r, below)
	case "configs":
		return h.serveConfigs(r, below)
	case "explain":
		if nested || r.Method != http.MethodPost {
			return nil, notFound
		}
		return h.serveExplain(r)
	}
	kind := apisix.Kind(name)
	if !slices.Contains(apisix.Kinds, kind) {
		return nil, &failure{status: http.StatusNotFound, text: "Unsupported resource type: " + printable(name)}
	}
	// Only PATCH goes into a document.
	id, path, _ := strings.Cut(below, "/")
	if nested && id == "" || strings.Contains(below, "/") && (path == "" || r.Method != http.MethodPatch) || isDots(id) {
		return nil, notFound
	}
	sent, f := readBody(r, maxBody)
	if f != nil {
		return nil, f
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if id == "" {
			return h.list(r.Context(), kind, r.URL.Query())
		}
		return h.get(kind, id)
	case http.MethodPut:
		answer, f := h.put(r, kind, id, sent)
		return answer, sent.explain(f)
	case http.MethodPost:
		answer, f := h.post(r, kind, id, sent)
		return answer, sent.explain(f)
	case http.MethodPatch:
		return h.patch(r, kind, id, path, sent)
	case http.MethodDelete:
		return h.delete(r, kind, id)
	}
	return nil, notFound
}

func (h *Handler) serveAbsent(r *http.Request, name string, nested bool) (*reply, *failure) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	switch {
	case read && !nested:
		return &reply{status: http.StatusOK, body: listOf(nil, 0)}, nil
	case read, nested && r.Method == http.MethodDelete: // clients are content if it is gone, and else try again
		return nil, keyNotFound
	}
	return nil, badRequest(errors.New("this gateway has no " + name))
}

// isDots reports whether an id would be a step in a path. APISIX takes it, but
// whoever resolves paths in between would never let it be found again.
func isDots(id string) bool { return id == "." || id == ".." }
