// Package adminapi is the Admin API of a [gateway.Server]: an http.Handler that speaks the
// dialect of Apache APISIX, so that its curl commands, clients and stored documents work
// unchanged for routes, services, upstreams and ssl objects.
//
//	admin, err := adminapi.New(ctx, gw, &adminapi.Options{Keys: []adminapi.Key{{Value: "…"}}})
//	...
//	mux.Handle("/apisix/admin", admin)
//	mux.Handle("/apisix/admin/", admin)
//
// It may be mounted on any mux, behind any middleware, under any server. All its paths
// begin with /apisix/admin; if you mount it below a prefix, strip that
// ([http.StripPrefix]). Clients try their key with a HEAD of /apisix/admin itself; without
// the first of the two Handle lines, an [http.ServeMux] would redirect them.
//
// # Who may use it
//
// A request must bring one of [Options.Keys] in the header X-API-KEY. Without any key, [New]
// refuses, unless [Options.AllowUnauthenticated] is set; then only requests for localhost or
// a loopback address are answered. [Options.AllowClients] limits where requests may come
// from. Requests that a browser makes for a page of another origin are always refused.
//
// # What an answer means
//
// 200, 201 and 202 mean that the documents are stored and that the next handshake and the
// next request see them. Any other answer means that nothing has changed. An answer may have
// a member "warnings", a list of sentences, each after the property that it is about if it
// is one, as in "timeout.read: ..."; so may that of a DELETE: for example, that a name no
// longer demands client certificates. The answer to PUT /configs has a body only if there
// are warnings, and each begins with the key of the document, "/ssls/1: ...".
//
// Warnings that do not belong to a request for a single document go to the log
// ([Options.Logger]): those of PUT /configs too, of the documents that are there at the
// start, of a file, of what another gateway has stored, of what expires, and of
// [*Handler.Refresh]. A warning that a document already had before it was written again is
// not repeated. A change logs at most 100 warnings, and how many more there were.
//
// 409 means that the id belongs to an object that the program has configured itself: see
// [New].
//
// A refusal has APISIX's text in "error_msg" and, where there is more to say, what to do
// about it in "description".
//
// # What there is
//
//	GET, PUT, POST, PATCH, DELETE  /routes /services /upstreams /ssls, as in APISIX
//	GET                            /schema/route ..., POST /schema/validate/routes ...
//	GET                            /plugins/list, /plugins/proxy-rewrite
//	GET, PUT, HEAD                 /configs: all documents, as one change
//	POST                           /configs/validate
//	POST                           /explain: see below
//
// below /apisix/admin. Kinds that this gateway does not have (consumers and the like) have
// empty lists, and a write of them is refused by name.
//
// The document that a GET returns, and that in the answer to a PUT, has an ETag, its
// modifiedIndex. With "If-Match", PUT, PATCH and DELETE take effect only if that is still
// the same (412 otherwise); with "If-None-Match: *", PUT creates a document and never
// replaces one.
//
// POST /apisix/admin/explain takes a request, {"url": "https://a.test/path"} with "method",
// "header", "client" and "sni" if need be, and answers which ssl object, route, upstream and
// nodes it would meet, and why no others, as [*gateway.Server.Explain] does. Without "sni",
// the client sends the host of the URL as the server name, or none if that is an address.
//
// # The status page
//
// [*Handler.StatusPage] shows people how the gateway is doing: which clients were refused
// and what to do about it, names, routes, upstreams. It needs no script, loads nothing, and
// gives programs the same as JSON.
//
//	mux.Handle("/status", admin.StatusPage())
//
// # Without the Admin API
//
// A configuration may come from a file in the format of APISIX's standalone mode:
// [*Handler.WatchFile] follows the file, [*Handler.Load] reads it from anywhere. With
// [Options.Headless], nothing else changes the configuration.
//
// # Fleets
//
// Several gateways can share a [SharedStorage], such as etcd (module
// adminapi/etcd). Each follows it: a change made anywhere is in force everywhere. A PUT is
// answered when it is in force at the gateway that was asked. While the storage is
// unreachable, everything goes on as it is, and nothing can be changed. If something stored
// is invalid, only that is kept out, and the version before it stays in force; what never
// was valid opens nothing: see [Rejected]. [*Handler.Status] reports both.
//
// With such a storage a change may take effect in spite of an error: 503 with "stored at
// revision ..., and not in force here yet".
//
// # Secrets
//
// Private keys never leave: in every answer they are "[redacted]". A PUT or PATCH with this
// in the place of a key keeps the stored key, if the certificate is the same or has the same
// public key. So what GET shows can be edited and put back.
//
// In the place of PEM there may be "$env://NAME", or "$env://NAME/property" if the variable
// holds a JSON object, and with [Options.Secrets] "$secret://...". The reference is what is
// stored and shown; what it stands for is looked up when the document is written, when a
// Handler starts, and by [*Handler.Refresh].
//
// # Concurrency
//
// A Handler may be used by any number of goroutines. Changes are made one after the other.
package adminapi
