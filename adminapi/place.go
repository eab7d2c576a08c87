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
// of type client. When that is enabled it must come to its place, or else another would answer
// until the next start, perhaps one that asks for no certificate.

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

// restorePlaces completes a change that puts ssl objects: of those that share names with them,
// the gateway gets anew what would be in another order there than at a start. changeMu is held.
func (h *Handler) restorePlaces(ctx context.Context, c *gateway.Change, v view, edits []*edit) {
	there := h.server.Profiles()
	var put []string
	for _, e := range edits {
		if e.enablesSSL() {
			put = append(put, e.id)
			h.displaced = h.displaced || h.placeOf(e).created != isNew && there.Get(e.id) == nil
		}
	}
	if put == nil || !h.displaced {
		return // the usual case
	}
	places, names := h.placesAfter(there, v, edits)
	related := sharing(names, put)
	slices.SortStableFunc(related, func(a, b string) int { return places[a].compare(places[b]) })
	ranks, rank := map[string]int{}, 0
	for p := range there.All() {
		rank++
		ranks[p.ID()] = rank
	}
	last, inOrder := 0, true
	for _, id := range related {
		if inOrder = inOrder && ranks[id] > last; inOrder {
			last = ranks[id]
		} else if ranks[id] > 0 {
			h.putAgain(ctx, c, v, id)
		}
	}
	slices.SortStableFunc(c.Put.Profiles, func(a, b ssl.Config) int { return places[a.ID].compare(places[b.ID]) })
}

// placesAfter returns the places and the names of the ssl objects that the gateway has after
// edits, by id.
func (h *Handler) placesAfter(there *ssl.Table, v view, edits []*edit) (places map[string]place, names map[string][]string) {
	places, names = map[string]place{}, map[string][]string{}
	for _, e := range edits {
		if e.enablesSSL() {
			places[e.id], names[e.id] = h.placeOf(e), canonicalNames(*e.decoded.SSL)
		}
	}
	note := func(at place) {
		if p := there.Get(at.id); p != nil && v.edited[keyOf(apisix.SSLs, at.id)] == nil {
			places[at.id], names[at.id] = at, p.Names()
		}
	}
	for _, o := range h.docs.kinds[apisix.SSLs].byAge {
		note(place{o.created, o.id})
	}
	for _, r := range h.rejected {
		if r.refuses != nil && r.refuses.Kind == apisix.SSLs {
			note(place{r.record.Created, r.refuses.ID})
		}
	}
	return places, names
}

// sharing returns some ids, and those of what has a name of one of them, or of what has a name
// of those, and so on.
func sharing(names map[string][]string, ids []string) []string {
	byName := map[string][]string{}
	for id, list := range names {
		for _, name := range list {
			byName[name] = append(byName[name], id)
		}
	}
	found := map[string]bool{}
	for _, id := range ids {
		found[id] = true
	}
	for i := 0; i < len(ids); i++ { // which grows
		for _, name := range names[ids[i]] {
			for _, other := range byName[name] {
				if !found[other] {
					found[other] = true
					ids = append(ids, other)
				}
			}
			delete(byName, name)
		}
	}
	return ids
}

// putAgain adds to a change that the gateway gets an ssl object anew, behind those that it has.
func (h *Handler) putAgain(ctx context.Context, c *gateway.Change, v view, id string) {
	if key := keyOf(apisix.SSLs, id); v.edited[key] == nil {
		e := &edit{kind: apisix.SSLs, id: id}
		if o := h.docs.get(apisix.SSLs, id); o == nil {
			e.decoded = h.rejected[key].refuses
		} else if e.doc = o.doc; h.decode(ctx, v, e) != nil {
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
	case r != nil:
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
