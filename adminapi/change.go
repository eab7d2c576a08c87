package adminapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/cjson"
	"github.com/sallyport/sallyport/route"
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
	decoded *apisix.Object // doc as Configs
}

func (e *edit) key() string { return keyOf(e.kind, e.id) }

// decode makes Configs of the document of an edit.
func (h *Handler) decode(ctx context.Context, e *edit) error {
	doc, err := apisix.Resolve(e.kind, e.doc, func(reference string) (string, error) { return h.resolve(ctx, reference) })
	if err != nil {
		return err
	}
	if e.decoded, err = apisix.Decode(e.kind, e.id, doc); err != nil {
		return err
	}
	if e.kind != apisix.Services {
		return nil
	}
	// What is wrong with a service's hosts is not to be found only when it has a route.
	c := *e.decoded.Route
	c.Paths, c.Upstream = []string{"/*"}, "some"
	_, err = route.New(c)
	return e.decoded.Translate(err)
}

// changeOf returns what edits change in the gateway. Each of them is decoded. The
// routes of an edited service are a part of it. changeMu is held.
func (h *Handler) changeOf(edits ...*edit) gateway.Change {
	// What documents name is checked here, in the documents' words.
	c := gateway.Change{AllowDangling: true}
	edited := map[string]*edit{}
	for _, e := range edits {
		edited[e.key()] = e
	}
	serviceOf := func(id string) *apisix.Object {
		if e := edited[keyOf(apisix.Services, id)]; e != nil {
			return e.decoded
		}
		if o := h.docs.get(apisix.Services, id); o != nil {
			return o.decoded
		}
		return nil
	}
	for _, e := range edits {
		addTo(&c, e, serviceOf)
		if e.kind != apisix.Services {
			continue
		}
		for _, key := range h.docs.usersOf(e.key()) {
			kind, id, _ := parseKey(key)
			if edited[key] == nil {
				c.Put.Routes = append(c.Put.Routes, routeOf(h.docs.get(kind, id).decoded, serviceOf))
			}
		}
	}
	return c
}

// addTo adds to a change what one edit changes.
func addTo(c *gateway.Change, e *edit, serviceOf func(id string) *apisix.Object) {
	o := e.decoded
	if o == nil {
		switch e.kind {
		case apisix.SSLs:
			c.Delete.SSL = append(c.Delete.SSL, e.id)
		case apisix.Upstreams:
			c.Delete.Upstreams = append(c.Delete.Upstreams, e.id)
		case apisix.Routes:
			c.Delete.Routes = append(c.Delete.Routes, e.id)
			fallthrough
		case apisix.Services:
			c.Delete.Upstreams = append(c.Delete.Upstreams, apisix.InlineID(e.kind, e.id))
		}
		return
	}
	switch e.kind {
	case apisix.SSLs:
		if o.Enabled {
			c.Put.SSL = append(c.Put.SSL, *o.SSL)
		} else {
			c.Delete.SSL = append(c.Delete.SSL, o.ID)
		}
		return
	case apisix.Routes:
		c.Put.Routes = append(c.Put.Routes, routeOf(o, serviceOf))
	}
	if o.Upstream != nil {
		c.Put.Upstreams = append(c.Put.Upstreams, *o.Upstream)
	} else {
		c.Delete.Upstreams = append(c.Delete.Upstreams, apisix.InlineID(e.kind, e.id))
	}
}

// routeOf returns the Config of a route, with what it has from its service.
func routeOf(o *apisix.Object, serviceOf func(id string) *apisix.Object) route.Config {
	if o.Service == "" {
		return *o.Route
	}
	service := serviceOf(o.Service)
	c := *o.Under(service)
	switch {
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
func (h *Handler) prepare(edits ...*edit) (*gateway.Prepared, error) {
	prepared, err := h.server.Prepare(h.changeOf(edits...))
	if err != nil && len(edits) == 1 && edits[0].decoded != nil {
		err = edits[0].decoded.Translate(err)
	}
	return prepared, err
}

// commit stores edits and applies them, in this order: only the storing can fail
// where nothing is wrong, and as long as it has not been done, nothing has moved.
// changeMu is held.
func (h *Handler) commit(ctx context.Context, prepared *gateway.Prepared, edits []*edit, more ...Write) ([]Record, gateway.Report, error) {
	writes := make([]Write, 0, len(edits)+len(more))
	for _, e := range edits {
		w := Write{Key: e.key(), Delete: e.doc == nil, Expires: e.expires}
		if e.old != nil {
			w.Prev = e.old.changed
		}
		if e.doc != nil {
			w.Value = cjson.Encode(e.doc)
		}
		writes = append(writes, w)
	}
	// The client may go away: what was begun is ended.
	records, err := h.storage.Commit(context.WithoutCancel(ctx), append(writes, more...)...)
	if err == nil && len(records) != len(writes)+len(more) {
		panic("adminapi: the storage returned another number of records than it was given writes")
	}
	if err != nil {
		return nil, gateway.Report{}, err
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
	h.logger.Info("configuration changed", "action", action, "kind", string(e.kind), "id", e.id, "revision", revision, "remote", remote)
}

// failed is the answer where nothing was stored, and so nothing changed.
func (h *Handler) failed(r *http.Request, err error) *failure {
	f := &failure{status: http.StatusServiceUnavailable, text: withoutKey(err.Error())}
	if errors.Is(err, ErrConflict) {
		f.text = valueChanged
	}
	if h.logger != nil {
		h.logger.Error("storage failed", "error", f.text, "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr)
	}
	return f
}

// valueChanged is APISIX's text where somebody else was faster.
const valueChanged = "value changed before overwritten"
