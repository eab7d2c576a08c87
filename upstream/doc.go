// Package upstream sends a request to one of several servers.
//
// A [Config] is what a person writes: the servers, called nodes, their weights
// and how to talk to them. [New] checks it and returns an [Upstream], which
// never changes. A [Pool] is an Upstream at work: it picks a node for each
// request, tries another where that is safe, and keeps connections open. It is
// an [http.RoundTripper], so it serves under [httputil.ReverseProxy] and
// [http.Client] as well as in a gateway:
//
//	u, err := upstream.New(upstream.Config{
//		ID: "api",
//		Nodes: []upstream.Node{
//			{Host: "10.0.0.1", Port: 8080, Weight: 3},
//			{Host: "10.0.0.2", Port: 8080, Weight: 1},
//		},
//	})
//	if err != nil {
//		return err
//	}
//	pool := upstream.NewPool(u, nil, nil)
//	defer pool.Close()
//	proxy := &httputil.ReverseProxy{
//		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() },
//		Transport: pool,
//	}
//
// # What is sent
//
// The request goes out as it came: method, path and query as they are written,
// header and body. Only where it goes is the pool's choice, and with
// [PassNode] and [PassRewrite] its Host. The pool follows no redirect, asks for
// no compression, adds no User-Agent and reads no proxy from the environment. Fields that belong
// to the client's connection (Connection, Keep-Alive, Upgrade and so on) are for
// the caller to remove; [httputil.ReverseProxy] does.
//
// # Connections
//
// The pool has an HTTP/1.1 client of its own, which is strict: an answer that two
// readers could understand differently is an error (status 502), and its
// connection is closed. A connection is used for another request only if the
// answer before was read to its end, nothing followed it, and the request was
// sent whole. One that the node has closed in the meantime is replaced, unless
// that could do the request twice. An idle connection holds no buffer, and has no
// goroutine, unless a dialer returned one that is no socket to look into, or the
// system is not a Unix. [Options.Transport] puts an [http.Transport] in the client's place.
//
// # Names
//
// A node that is a name is one node, however many addresses the name has. It is
// looked up when a request needs it, and again when the answer is old, without a
// request waiting for that: see [Options.Resolver].
//
// # Retries
//
// A request goes to another node, which it has not been tried on, when the first
// could not be connected to, whatever the method: nothing was sent. After that
// only when doing it twice does no harm: the method is idempotent (RFC 9110,
// section 9.2.2) or the node says that it did nothing (HTTP/2's REFUSED_STREAM and
// GOAWAY), and nothing of an answer came. Of its body nothing was read, or all that
// was is kept: [Config.ReplayBytes]. By the same rule a kept connection that turns
// out to be dead is replaced by a new one to the same node. What a client says in
// Idempotency-Key does not count: the node may not know it. An answer is never
// retried, whatever its status, and it is passed on even if it came before the
// request was sent whole and the connection was lost over it.
//
// When many requests fail, most of their retries are left out: see [RetryBudget].
//
// # HTTP/2
//
// With the schemes "h2c", "grpc" and "grpcs", all requests to a node share a
// connection, or, where the node's name has several addresses, one to each of them.
// More are opened when the node limits the requests over one. The answer may begin
// before the request ends, and trailers go through in both directions. A node that
// is silent for five minutes, with requests going on, is sent PING. WebSocket needs
// HTTP/1.1.
//
// # Balancers
//
// A balancer picks a node for each attempt of a request: [Config.Balancer]. It
// chooses among the nodes of one [Node.Priority] that are usable: not tried in this
// request and not taken out. What a node that is down would have got is shared by the
// others as the balancer says, and is no burst for one neighbour. A [Picker] is a
// balancer of the user's own.
//
// # Health
//
// [Checks] take out nodes that do not answer probes, or real requests, as they
// should, in APISIX's terms. [Outliers] take out, for a while, those at which a great
// part of the real requests fails. Without either, every node is used. [*Pool.Nodes]
// shows what was found out and why.
//
// A check can be wrong about everything at once. So when no node is healthy all of
// them are used, unless [Config.FailWhenUnhealthy] is set.
//
// # Errors
//
// [*Pool.RoundTrip] fails with an [*Error], which names the upstream, the node
// and the cause, and has the status that a gateway answers with.
//
// # TLS
//
// With the schemes "https" and "grpcs" a node's certificate is verified, unless
// [TLS.DangerouslySkipServerVerify] says otherwise. The name that is sent (SNI)
// and verified is that of the Host that the node sees, as in APISIX: with
// [PassClient] it is the client's choice. A connection that was made for one
// name is never used for another. A node that asks for a client certificate is shown
// [TLS.CertPEM]; its private key is PEM, or a [crypto.Signer] where it cannot be had: in an
// HSM, a KMS, a TPM.
//
// # Concurrency
//
// An Upstream may be shared freely. A Pool may be used by any number of
// goroutines. Picking a node takes no lock. With Checks, a pool has a goroutine for
// each node, from the first request until Close.
//
// # Replacing an upstream
//
// [NewPool] takes the pool that it replaces. Nodes that are in both keep their
// counts, their idle connections unless TLS or keep-alive changed, and their health
// unless the Checks changed. Requests in flight on the old pool end in peace.
package upstream
