package adminapi

import (
	"net/http"

	"github.com/sallyport/sallyport/internal/apisix"
)

// This file is about what the server has that the program has put there itself. The Admin
// API does not know it, and so must not replace or delete it.

// A foreignError refuses a document whose id an object of the program has.
type foreignError struct{ key string }

// Error implements error.
func (e *foreignError) Error() string {
	return e.key + " is configured by the program, and can be changed by it alone"
}

func foreign(kind apisix.Kind, id string) *foreignError {
	return &foreignError{keyOf(kind, id)[len("/"):]}
}

// foreignFailure is the answer to a request for such an id.
func foreignFailure(kind apisix.Kind, id string) *failure {
	return &failure{status: http.StatusConflict, text: foreign(kind, id).Error()}
}

// isForeign reports whether an id is that of an object which the server has, and of which
// nothing is stored. changeMu is held.
func (h *Handler) isForeign(kind apisix.Kind, id string) bool {
	if h.docs.get(kind, id) != nil {
		return false
	}
	if r := h.rejected[keyOf(kind, id)]; r != nil && r.refuses != nil {
		return false // that which refuses is ours
	}
	switch kind {
	case apisix.Routes:
		return h.server.Routes().Get(id) != nil
	case apisix.SSLs:
		return h.server.Profiles().Get(id) != nil
	case apisix.Upstreams:
		return h.server.Upstream(id) != nil
	}
	return false // services are here alone
}
