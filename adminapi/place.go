package adminapi

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/ssl"
)

// This file keeps the ssl objects of one name in the order of their age: the oldest answers. The
// gateway has them in the order in which it got them, and does not have one that is disabled or
// of type client. When that is enabled it must come back to its place, or else another would
// answer until the next start, perhaps one that asks for no certificate.

// A place is where an ssl object stands among the others, as at a start.
type place struct {
	created int64
	id      string
}

// isNew is when what is stored for the first time was created.
const isNew = math.MaxInt64

func (p place) compare(q place) int {
	if p.created == isNew && q.created == isNew {
		return 0 // they come in their order
	}
	return cmp.Or(cmp.Compare(p.created, q.created), strings.Compare(p.id, q.id))
}

// restorePlaces completes a change that enables ssl objects: what was created after one of them
// and has a name of it is put again, behind it. changeMu is held.
func (h *Handler) restorePlaces(ctx context.Context, c *gateway.Change, v view, edits []*edit) {
	there := h.server.Profiles()
	var back []string
	for _, e := range edits {
		if e.enablesSSL() && h.placeOf(e).created != isNew && there.Get(e.id) == nil {
			back = append(back, e.id)
		}
	}
	if back == nil {
		return
	}
	places, names, byName := map[string]place{}, map[string][]string{}, map[string][]string{}
	note := func(at place, of []string) {
		places[at.id], names[at.id] = at, of
		for _, name := range of {
			byName[name] = append(byName[name], at.id)
		}
	}
	for _, e := range edits {
		if e.enablesSSL() {
			note(h.placeOf(e), canonicalNames(*e.decoded.SSL))
		}
	}
	for _, o := range h.docs.kinds[apisix.SSLs].byAge {
		if p := there.Get(o.id); p != nil && v.edited[keyOf(apisix.SSLs, o.id)] == nil {
			note(place{o.created, o.id}, p.Names())
		}
	}
	for moved := map[string]bool{}; len(back) > 0; {
		id := back[0]
		back = back[1:]
		for _, name := range names[id] {
			for _, other := range byName[name] {
				if !moved[other] && places[other].compare(places[id]) > 0 {
					moved[other] = true
					back = append(back, other)
					h.putAgain(ctx, c, v, other)
				}
			}
		}
	}
	slices.SortStableFunc(c.Put.Profiles, func(a, b ssl.Config) int { return places[a.ID].compare(places[b.ID]) })
}

// putAgain adds to a change that the gateway gets an ssl object anew, behind those that it has.
func (h *Handler) putAgain(ctx context.Context, c *gateway.Change, v view, id string) {
	key := keyOf(apisix.SSLs, id)
	if v.edited[key] == nil {
		e := &edit{kind: apisix.SSLs, id: id, doc: h.docs.get(apisix.SSLs, id).doc}
		if h.decode(ctx, v, e) != nil {
			return // a reference cannot be resolved now: it stays as it is, and where it is
		}
		addTo(c, v, e)
	}
	c.Delete.Profiles = append(c.Delete.Profiles, id)
}

// enablesSSL reports whether the gateway gets an ssl object by an edit.
func (e *edit) enablesSSL() bool {
	return e.kind == apisix.SSLs && e.decoded != nil && e.decoded.Enabled
}

// placeOf returns where the document of an edit belongs.
func (h *Handler) placeOf(e *edit) place {
	switch r := h.rejected[e.key()]; {
	case e.old != nil:
		return place{e.old.created, e.id}
	case r != nil && e.doc != nil:
		return place{r.record.Created, e.id}
	}
	return place{isNew, e.id}
}

// canonicalNames returns the names of a Config as the gateway compares them. Of one that is
// wrong, which is found elsewhere, it returns none.
func canonicalNames(c ssl.Config) []string {
	p, err := ssl.New(c)
	if err != nil {
		return nil
	}
	return p.Names()
}
