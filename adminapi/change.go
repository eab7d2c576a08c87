package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/internal/parallel"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
)

// This file makes of edited documents a change of the storage and of the gateway. What
// can go wrong, but for the storage, is found before anything has moved.

// An edit is one document that a change puts or deletes.
type edit struct {
	kind    apisix.Kind
	id      string
	doc     map[string]any // nil deletes
	expires time.Time      // zero: never

	old     *object        // what is replaced or deleted, if anything
	kept    []string       // what is to be told of private keys that doc has from old
	decoded *apisix.Object // doc as Configs

	// Of what others have stored:
	unreadable error // it is no document
	refuses    bool  // decoded only refuses
}

func (e *edit) key() string { return keyOf(e.kind, e.id) }

// A view is the documents as they would be after edits.
type view struct {
	docs     *documents
	rejected map[string]*rejection // by key
	edited   map[string]*edit      // by key
}

// after returns the view that edits make. changeMu is held.
func (h *Handler) after(edits ...*edit) view {
	v := view{docs: h.docs, rejected: h.rejected, edited: map[string]*edit{}}
	for _, e := range edits {
		v.edited[e.key()] = e
	}
	return v
}

// service returns a service, decoded, or what refuses in its place, or nil.
func (v view) service(id string) *apisix.Object {
	key := keyOf(apisix.Services, id)
	if e := v.edited[key]; e != nil {
		return e.decoded
	}
	if o := v.docs.get(apisix.Services, id); o != nil {
		return o.decoded
	}
	if r := v.rejected[key]; r != nil {
		return r.refuses
	}
	return nil
}

// clientCertificate returns the ssl object of type client with an id, or nil.
func (v view) clientCertificate(id string) (doc map[string]any) {
	if e := v.edited[keyOf(apisix.SSLs, id)]; e != nil {
		doc = e.doc
	} else if o := v.docs.get(apisix.SSLs, id); o != nil {
		doc = o.doc
	}
	if doc["type"] != "client" {
		return nil
	}
	return doc
}

// decode makes Configs of the document of an edit.
func (h *Handler) decode(ctx context.Context, v view, e *edit) error {
	doc, dangling := e.doc, false
	if id := apisix.ClientCertificateID(e.kind, doc); id != "" {
		client := v.clientCertificate(id)
		doc, dangling = apisix.WithClientCertificate(e.kind, doc, client), client == nil
	}
	doc, err := apisix.Resolve(e.kind, doc, func(reference string) (string, error) { return h.resolve(ctx, reference) })
	if err != nil {
		return err
	}
	if e.decoded, err = apisix.Decode(e.kind, e.id, doc); err != nil {
		return err
	}
	if dangling {
		// Without the certificate that it should show, nothing is to be sent to a node: as
		// in APISIX, the answer is 502.
		e.decoded.Upstream = nil
	}
	if e.kind != apisix.Services {
		return nil
	}
	return checkService(e.decoded)
}

// checkService finds what is wrong with the hosts of a service, which is not to be found only
// when it has a route.
func checkService(o *apisix.Object) error {
	_, err := routeFor(o)
	return o.Translate(err)
}

// routeFor returns what a route without anything of its own would be under a service.
func routeFor(o *apisix.Object) (*route.Route, error) {
	c := *o.Route
	c.Paths, c.Upstream = []string{"/*"}, "some"
	return route.New(c)
}

// decodeAll decodes the documents of edits, and returns an error or nil for each. Most of
// the time of a start is spent here, on the keys of ssl objects.
func (h *Handler) decodeAll(ctx context.Context, edits []*edit) []error {
	v := h.after(edits...)
	errs := make([]error, len(edits))
	parallel.Do(len(edits), func(i int) {
		if edits[i].toDecode() {
			errs[i] = h.decode(ctx, v, edits[i])
		}
	})
	return errs
}

// toDecode reports whether an edit has a document.
func (e *edit) toDecode() bool { return e.doc != nil && e.unreadable == nil }

// checkIdle finds what is wrong with an ssl object that the gateway does not get: because
// it is disabled, or holds a certificate for upstreams.
func (e *edit) checkIdle() error {
	if e.decoded == nil || e.kind != apisix.SSLs || e.decoded.Enabled {
		return nil
	}
	c := *e.decoded.SSL
	if len(c.Names) == 0 {
		c.Names = []string{"client"}
	}
	_, err := ssl.New(c)
	return e.decoded.Translate(err)
}

// changeOf returns what edits change in the gateway, which are all of a view's or some. Each
// of them is decoded. What else is made of an edited document is a part of it: the routes of
// a service, and what shows a client certificate. changeMu is held.
func (h *Handler) changeOf(ctx context.Context, v view, edits ...*edit) (gateway.Change, error) {
	// What documents name is checked here, in the documents' words.
	c := changeFor(edits)
	c.AllowDangling = true
	// What names an edited service or certificate, once each, however many of them it names:
	// true if it has to be decoded anew.
	users := map[string]bool{}
	services := map[string]bool{} // edited, by id
	for _, e := range edits {
		if e.doc == nil && !e.refuses && h.isForeign(e.kind, e.id) {
			continue // stored by others, and never in force
		}
		addTo(&c, v, e)
		if e.kind != apisix.Services && e.kind != apisix.SSLs {
			continue
		}
		for key := range h.docs.usersOf(e.key()) {
			if v.edited[key] == nil {
				users[key] = users[key] || e.kind == apisix.SSLs
			}
		}
		services[e.id] = services[e.id] || e.kind == apisix.Services
	}
	if len(services) > 0 {
		for key, r := range h.rejected {
			if v.edited[key] == nil && r.refuses != nil && services[r.refuses.Service] {
				users[key] = false
			}
		}
	}
	for _, key := range slices.Sorted(maps.Keys(users)) {
		kind, id, _ := parseKey(key)
		o := h.docs.get(kind, id)
		switch {
		case o == nil:
			refuses := routeOf(h.rejected[key].refuses, v)
			if _, err := route.New(refuses); err == nil { // or else it goes on where it was: a service is not wrong for what cannot be used
				c.Put.Routes = append(c.Put.Routes, refuses)
			}
			continue
		case !users[key]:
			c.Put.Routes = append(c.Put.Routes, routeOf(o.decoded, v))
			continue
		}
		user := &edit{kind: kind, id: id, doc: o.doc}
		if err := h.decode(ctx, v, user); err != nil {
			return c, fmt.Errorf("%s [%s], which uses it: %w", kind.Singular(), id, err)
		}
		addTo(&c, v, user)
	}
	h.restorePlaces(ctx, &c, v, edits)
	return c, nil
}

// changeFor returns an empty change with room for what edits put: the configurations are
// large, and of a start's, growing lists would be copied many times over.
func changeFor(edits []*edit) (c gateway.Change) {
	routes, upstreams, profiles := 0, 0, 0
	for _, e := range edits {
		if e.decoded == nil {
			continue
		}
		switch e.kind {
		case apisix.SSLs:
			profiles++
		case apisix.Routes:
			routes++
		}
		if e.decoded.Upstream != nil {
			upstreams++
		}
	}
	c.Put.Routes = slices.Grow(c.Put.Routes, routes)
	c.Put.Upstreams = slices.Grow(c.Put.Upstreams, upstreams)
	c.Put.Profiles = slices.Grow(c.Put.Profiles, profiles)
	return c
}

// addTo adds to a change what one edit changes.
func addTo(c *gateway.Change, v view, e *edit) {
	o := e.decoded
	if o == nil {
		o = &apisix.Object{} // of which there is nothing
	}
	switch {
	case e.kind == apisix.SSLs && o.Enabled:
		c.Put.Profiles = append(c.Put.Profiles, *o.SSL)
	case e.kind == apisix.SSLs:
		c.Delete.Profiles = append(c.Delete.Profiles, e.id)
	case e.kind == apisix.Routes && e.decoded == nil:
		c.Delete.Routes = append(c.Delete.Routes, e.id)
	case e.kind == apisix.Routes:
		c.Put.Routes = append(c.Put.Routes, routeOf(o, v))
	}
	switch {
	case e.kind == apisix.SSLs:
	case o.Upstream != nil:
		c.Put.Upstreams = append(c.Put.Upstreams, *o.Upstream)
	case e.kind == apisix.Upstreams:
		c.Delete.Upstreams = append(c.Delete.Upstreams, e.id)
	default:
		c.Delete.Upstreams = append(c.Delete.Upstreams, apisix.InlineID(e.kind, e.id))
	}
}

// routeOf returns the Config of a route, with what it has from its service.
func routeOf(o *apisix.Object, v view) route.Config {
	if o.Service == "" {
		return *o.Route
	}
	service := v.service(o.Service)
	c := *o.Under(service)
	switch {
	case o.Route.Handler != nil: // which refuses
		c.Upstream = ""
	case service != nil && service.Route.Handler != nil:
		c.Upstream, c.Handler = "", service.Route.Handler
	case service == nil:
		c.Upstream, c.Handler = "", unserved{http.StatusNotFound, "the service of the route does not exist"}
	case c.Upstream == "":
		c.Handler = unserved{http.StatusServiceUnavailable, "missing upstream configuration in Route or Service"}
	}
	return c
}

// unserved answers for a route that leads nowhere, with the status that APISIX has for it.
type unserved struct {
	status int
	text   string
}

// ServeHTTP implements [http.Handler].
func (u unserved) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	body, _ := json.Marshal(map[string]string{"error_msg": u.text}) // strings: cannot fail
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(u.status)
	_, _ = w.Write(append(body, '\n'))
}

// prepare checks edits that were decoded against each other and the gateway. The error
// is about one of them, if there is one alone. changeMu is held.
func (h *Handler) prepare(ctx context.Context, edits ...*edit) (*gateway.Prepared, error) {
	return h.prepareIn(ctx, h.after(edits...), edits...)
}

// prepareIn is prepare for some of the edits of a view.
func (h *Handler) prepareIn(ctx context.Context, v view, edits ...*edit) (*gateway.Prepared, error) {
	change, err := h.changeOf(ctx, v, edits...)
	if err != nil {
		return nil, err
	}
	prepared, err := h.server.Prepare(change)
	if err != nil && len(edits) == 1 && edits[0].decoded != nil {
		err = edits[0].decoded.Translate(err)
	}
	return prepared, err
}

// commit stores edits and applies them, in this order: only the storing can fail
// where nothing is wrong, and as long as it has not been done, nothing has moved. A storage
// that is followed applies them: then changeMu, which is held, is given up meanwhile.
func (h *Handler) commit(ctx context.Context, prepared *gateway.Prepared, edits []*edit, more ...Write) ([]Record, gateway.Report, error) {
	writes := make([]Write, 0, len(edits)+len(more))
	for _, e := range edits {
		w := Write{Key: e.key(), Delete: e.doc == nil, Expires: e.expires}
		if e.old != nil {
			w.Prev = e.old.changed
		}
		if r := h.rejected[e.key()]; r != nil {
			w.Prev = r.record.Modified
		}
		if e.doc != nil {
			w.Value = cjson.Encode(h.keyring.Encrypt(e.kind, e.doc))
		}
		writes = append(writes, w)
	}
	// The client may go away: what was begun is ended.
	records, err := h.record(context.WithoutCancel(ctx), append(writes, more...)...)
	if err != nil {
		return nil, gateway.Report{}, err
	}
	if h.following != nil {
		report, err := h.await(edits, records)
		return records, report, err
	}
	report := prepared.Commit()
	h.mu.Lock()
	for i, e := range edits {
		h.docs.apply(e, records[i])
	}
	h.mu.Unlock()
	h.expiry.plan(edits, records)
	return records, report, nil
}

// apply makes an edit that was stored.
func (d *documents) apply(e *edit, r Record) {
	if e.doc == nil {
		d.delete(e.kind, e.id)
		return
	}
	o := &object{doc: e.doc, id: e.id, created: r.Created, changed: r.Modified, expires: e.expires}
	if e.kind == apisix.Services || e.decoded.Service != "" {
		kept := *e.decoded
		kept.Upstream = nil
		o.decoded = &kept
	}
	d.put(e.kind, o)
}

func (h *Handler) logChange(r *http.Request, e *edit, revision int64) {
	if h.logger == nil {
		return
	}
	action := "put"
	if e.doc == nil {
		action = "delete"
	}
	remote := ""
	if r != nil {
		remote = r.RemoteAddr
	}
	change := []any{"action", action, "kind", string(e.kind), "id", e.id}
	if revision != 0 { // what is deleted has none
		change = append(change, "revision", revision)
	}
	h.logger.Info("configuration changed", append(change, "remote", remote)...)
}

// failed is the answer where nothing was stored, and so nothing changed.
func (h *Handler) failed(r *http.Request, err error) *failure {
	f := &failure{status: http.StatusServiceUnavailable, text: withoutKey(err.Error())}
	if errors.Is(err, ErrConflict) {
		f.text = valueChanged
	}
	if h.logger != nil {
		h.logger.Error("storage failed", "error", f.text, "method", r.Method, "path", hidden(r.URL.Path), "remote", r.RemoteAddr)
	}
	return f
}

// valueChanged is APISIX's text where somebody else was faster.
const valueChanged = "value changed before overwritten"
