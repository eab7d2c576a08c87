package adminapi

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/apisix"
)

// An object is a stored document. It never changes.
type object struct {
	doc     map[string]any
	id      string
	created int64 // revisions of the storage
	changed int64
	expires time.Time // zero: never

	// decoded is kept for services and for routes that belong to one: when
	// either changes, the other is needed to make a route of both. It is nil for all
	// others, whose Configs the gateway has.
	decoded *apisix.Object
}

// documents are the stored documents, and how they hang together.
type documents struct {
	kinds map[apisix.Kind]*collection

	// users are the keys of the documents that name another, by its key. What is
	// named need not be there.
	users map[string]map[string]struct{}
}

// A collection is the documents of one kind.
type collection struct {
	byID map[string]*object

	// byAge has the same, the oldest first, and by id those that are of one revision.
	// A page of a list is cut out of it.
	byAge []*object
}

func newDocuments() *documents {
	d := &documents{kinds: map[apisix.Kind]*collection{}, users: map[string]map[string]struct{}{}}
	for _, kind := range apisix.Kinds {
		d.kinds[kind] = &collection{byID: map[string]*object{}}
	}
	return d
}

// get returns a document, or nil.
func (d *documents) get(kind apisix.Kind, id string) *object { return d.kinds[kind].byID[id] }

// put adds a document, or replaces the one of its id.
func (d *documents) put(kind apisix.Kind, o *object) {
	c := d.kinds[kind]
	if old := c.byID[o.id]; old != nil {
		d.release(kind, old)
		c.remove(old)
	}
	c.byID[o.id] = o
	at, _ := slices.BinarySearchFunc(c.byAge, o, byAge)
	c.byAge = slices.Insert(c.byAge, at, o)
	key := keyOf(kind, o.id)
	for _, named := range references(kind, o.doc) {
		if d.users[named] == nil {
			d.users[named] = map[string]struct{}{}
		}
		d.users[named][key] = struct{}{}
	}
}

// delete takes a document away.
func (d *documents) delete(kind apisix.Kind, id string) {
	c := d.kinds[kind]
	if old := c.byID[id]; old != nil {
		d.release(kind, old)
		c.remove(old)
		delete(c.byID, id)
	}
}

func (d *documents) release(kind apisix.Kind, o *object) {
	key := keyOf(kind, o.id)
	for _, named := range references(kind, o.doc) {
		delete(d.users[named], key)
		if len(d.users[named]) == 0 {
			delete(d.users, named)
		}
	}
}

func (c *collection) remove(o *object) {
	if at, ok := slices.BinarySearchFunc(c.byAge, o, byAge); ok {
		c.byAge = slices.Delete(c.byAge, at, at+1)
	}
}

func byAge(a, b *object) int {
	return cmp.Or(cmp.Compare(a.created, b.created), strings.Compare(a.id, b.id))
}

// user returns the first document of a kind, by id, that names another.
func (d *documents) user(kind apisix.Kind, of string) (id string, used bool) {
	for key := range d.users[of] {
		k, userID, _ := parseKey(key)
		if k == kind && (!used || userID < id) {
			id, used = userID, true
		}
	}
	return id, used
}

// usersOf returns the keys of all that name a document, in any order.
func (d *documents) usersOf(key string) iter.Seq[string] { return maps.Keys(d.users[key]) }

// references returns the keys of the documents that a document names.
func references(kind apisix.Kind, doc map[string]any) (keys []string) {
	if id := apisix.ClientCertificateID(kind, doc); id != "" {
		keys = append(keys, keyOf(apisix.SSLs, id))
	}
	if kind != apisix.Routes && kind != apisix.Services {
		return keys
	}
	if id := apisix.IDString(doc["upstream_id"]); id != "" {
		keys = append(keys, keyOf(apisix.Upstreams, id))
	}
	if id := apisix.IDString(doc["service_id"]); id != "" && kind == apisix.Routes {
		keys = append(keys, keyOf(apisix.Services, id))
	}
	return keys
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
