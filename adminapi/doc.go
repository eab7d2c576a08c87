// Package adminapi is the Admin API of a [gateway.Server]: an http.Handler that
// speaks the dialect of Apache APISIX, so that its curl commands, clients and
// stored documents work unchanged for routes, upstreams and ssl objects.
//
//	admin, err := adminapi.New(gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "…"}}})
//	...
//	mux.Handle("/apisix/admin", admin)
//	mux.Handle("/apisix/admin/", admin)
//
// It may be mounted on any mux, behind any middleware, under any server. All its
// paths begin with /apisix/admin; a prefix in front of that is the mux's to strip.
// /apisix/admin itself is where clients try their key, with HEAD; without the
// first line an [http.ServeMux] redirects them.
//
// # Who may use it
//
// A request must bring one of [Options.Keys] in the header X-API-KEY. Without any
// key, [New] refuses, unless [Options.AllowUnauthenticated] is set; then only
// requests for localhost or a loopback address are answered. A request that a
// browser makes for a page of another origin is refused in any case.
//
// # What an answer means
//
// 200 and 201 mean that the document is stored and that the next handshake and
// the next request see it. Any other answer means that nothing has changed. An
// answer that has something to tell has a member "warnings", a list of sentences.
//
// What is refused has APISIX's text in "error_msg" and, where there is more to say,
// what to do about it in "description".
//
// Private keys never leave: in every answer they are "[redacted]".
//
// # Concurrency
//
// A Handler may be used by any number of goroutines. Changes are made one after
// the other.
package adminapi
