// Package adminapi is the Admin API of a [gateway.Server]: an http.Handler that
// speaks the dialect of Apache APISIX, so that its curl commands, clients and
// stored documents work unchanged for routes, services, upstreams and ssl objects.
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
// requests for localhost or a loopback address are answered. [Options.AllowClients]
// bounds where requests may come from. A request that a browser makes for a page of
// another origin is refused in any case.
//
// # What an answer means
//
// 200, 201 and 202 mean that the documents are stored and that the next handshake and
// the next request see them. Any other answer means that nothing has changed. An
// answer that has something to tell has a member "warnings", a list of sentences, that of
// a DELETE as well: that a name demands client certificates no more, for one. The answer to
// PUT /configs has a body only then, and the sentences begin with the key of the document,
// "/ssls/1: ...".
//
// What no request for one document has brought about, warns in the log ([Options.Logger]):
// PUT /configs too, the documents that are there at the start, a file, what another gateway
// has stored, what expires, and [*Handler.Refresh]. A warning that a document had before it
// was written again is not repeated. Of one change, 100 are told, and the others counted.
//
// 409 means that the id is that of an object which the program has configured itself: see
// [New].
//
// What is refused has APISIX's text in "error_msg" and, where there is more to say,
// what to do about it in "description".
//
// # What there is
//
//	GET, PUT, POST, PATCH, DELETE  /routes /services /upstreams /ssls, as in APISIX
//	GET                            /schema/route ..., POST /schema/validate/routes ...
//	GET, PUT, HEAD                 /configs: all documents, as one change
//	POST                           /configs/validate
//	POST                           /explain: see below
//
// below /apisix/admin. Kinds that this gateway has nothing for (consumers and the like)
// have lists that are empty, and writing them is refused by name.
//
// A document of GET and of a PUT's answer has an ETag, its modifiedIndex. With
// "If-Match", PUT, PATCH and DELETE do what they do only if it is still that (412
// otherwise); with "If-None-Match: *", PUT makes a document and replaces none.
//
// POST /apisix/admin/explain takes a request, {"url": "https://a.test/path"} with
// "method", "header", "client" and "sni" if need be, and answers which ssl object,
// route, upstream and nodes it would meet, and why no other.
//
// # The status page
//
// [*Handler.StatusPage] shows people how the gateway is doing: which clients were refused and
// what to do about it, names, routes, upstreams. It needs no script and loads nothing, and
// tells programs the same as JSON.
//
//	mux.Handle("/status", admin.StatusPage())
//
// # Without the Admin API
//
// A configuration may come from a file in the format of APISIX's standalone mode:
// [*Handler.WatchFile] follows it, [*Handler.Load] takes it from anywhere. With
// [Options.Headless] nothing else changes it.
//
// # Fleets
//
// Several gateways share a storage that is a [Watcher], such as etcd (module
// adminapi/etcd). Each follows it: a change made anywhere is in force everywhere. A PUT is
// answered when it is in force at the gateway that was asked. Where the storage is out of
// reach, everything goes on as it is, and nothing can be changed; where something stored
// is wrong, it alone is kept out, and the version before it goes on. What never was good
// opens nothing: see [Rejected]. [*Handler.Status] tells of both.
//
// With such a storage an error may come after all: 503 with "stored at revision ..., and
// not in force here yet".
//
// # Secrets
//
// Private keys never leave: in every answer they are "[redacted]". A PUT or PATCH that
// has this in the place of a key keeps the stored key, of the same certificate or of one
// with the same public key. So what GET shows can be edited and put again.
//
// In the place of PEM there may be "$env://NAME", or "$env://NAME/property" where the
// variable holds a JSON object, and with [Options.Secrets] "$secret://...". What is
// stored and shown is the reference; what it stands for is looked up when the document is
// written, when a Handler starts, and by [*Handler.Refresh].
//
// # Concurrency
//
// A Handler may be used by any number of goroutines. Changes are made one after
// the other.
package adminapi
