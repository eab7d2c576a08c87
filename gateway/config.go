package gateway

import (
	"fmt"

	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// A Config is a whole configuration, or the part of one that a [Change] puts. Within each
// kind, objects are identified by their ID.
type Config struct {
	Profiles  []ssl.Config      // which certificates serve which server names, and whose client certificates are accepted
	Routes    []route.Config    // which requests go where: see [route.Config.Upstream]
	Upstreams []upstream.Config // the nodes that requests are sent to
}

// A Change is what [*Server.Apply] does in one step: it deletes, then puts. A put replaces
// the object with the same ID, in its place; deleting what does not exist is not an error.
type Change struct {
	Put    Config
	Delete IDs

	// AllowDangling permits a route to name an upstream that does not exist, in Put or because
	// of Delete. Its requests are answered with 502 until the upstream exists. Otherwise, such
	// a change is refused.
	AllowDangling bool
}

// IDs name the objects that a [Change] deletes.
type IDs struct {
	Profiles  []string
	Routes    []string
	Upstreams []string
}

// A Report is what an administrator should know about a change that was made.
type Report struct {
	// Warnings are about what does not work the way it may seem to.
	Warnings []Warning
}

// A Kind is one of the three kinds of objects in a [Config].
type Kind string

// The kinds.
const (
	KindProfile  Kind = "profile"
	KindRoute    Kind = "route"
	KindUpstream Kind = "upstream"
)

// A Warning is about one object of a change: a [ssl.Warning], [route.Warning] or
// [upstream.Warning], or one of the gateway itself.
type Warning struct {
	Kind  Kind
	ID    string
	Field string // the path of the field, as in Go; "" if no one field is it
	Text  string

	// Opened is as in [ssl.Warning]: the warning is about the change itself, and comes only
	// once.
	Opened bool
}

// String returns the text, after the object and the field that it is about, as in
// `route "1": it is never found`.
func (w Warning) String() string {
	if w.Field == "" {
		return fmt.Sprintf("%s %q: %s", w.Kind, w.ID, w.Text)
	}
	return fmt.Sprintf("%s %q: %s: %s", w.Kind, w.ID, w.Field, w.Text)
}
