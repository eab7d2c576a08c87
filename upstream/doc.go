// Package upstream sends a request to one of several servers.
//
// A [Config] is what a person writes: the servers, called nodes, their weights, and how to
// talk to them. [New] checks it and returns an [Upstream], which never changes. A [Pool] is
// an Upstream at work: it picks a node for each request, tries another where that is safe,
// and keeps connections open. It is an [http.RoundTripper], so it works under
// [httputil.ReverseProxy] and [http.Client] as well as in a gateway:
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
//	pool := upstream.NewPool(u, nil)
//	defer pool.Close()
//	proxy := &httputil.ReverseProxy{
//		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() },
//		Transport: pool,
//	}
//
// # What is sent
//
// The request goes out as it came: method, path and query as they are written, header and
// body. The pool chooses only where it goes and, with [PassNode] and [PassRewrite], its
// Host. The pool follows no redirects, does not ask for compression, adds no User-Agent and
// takes no proxy from the environment. Fields that belong to the client's connection
// (Connection, Keep-Alive, Upgrade and so on) are for the caller to remove;
// [httputil.ReverseProxy] does.
//
// # Connections
//
// The pool has its own HTTP/1.1 client, which is strict: an answer that two readers could
// understand differently is an error (status 502), and its connection is closed. A
// connection is reused only if the previous answer was read to its end, nothing followed
// it, and the request was sent completely. Nor is it if the request or the answer speaks
// NTLM or Negotiate, which authenticate a connection: the next client would be taken for the
// one before. So NTLM, which takes several requests over one connection, does not work. A
// connection that the node has closed in the meantime is replaced, unless that could execute
// the request twice. An idle connection holds no buffer and has no goroutine, except on
// systems other than Unix, or if a dialer returned something other than a socket.
// [Options.Transport] substitutes an [http.Transport] for this client.
//
// # Names
//
// A node given by name is one node, however many addresses the name has. The name is
// resolved when a request needs it, and again when the answer is old, without a request
// waiting for that: see [Options.Resolver].
//
// # Retries
//
// If a node could not be connected to, the request goes to another node, which it has not
// been tried on, whatever the method: nothing was sent. After that, it does so only where
// doing it twice does no harm. For that, the method must be idempotent (RFC 9110, section
// 9.2.2) or the node must say that it did nothing (HTTP/2's REFUSED_STREAM and GOAWAY);
// nothing of an answer may have come; and of the body, nothing may have been read, or all
// that was read must have been kept ([Config.ReplayBytes]). By the same rule a kept
// connection that turns out to be dead is replaced by a new one to the same node. A client's
// Idempotency-Key does not count: the node may not know it. An answer is never retried,
// whatever its status, and is passed on even if it came before the request was sent
// completely and the connection was lost because of that.
//
// When many requests fail, most of their retries are skipped: see [RetryBudget].
//
// # HTTP/2
//
// With [SchemeH2C], [SchemeGRPC] and [SchemeGRPCS], all requests to a node share a connection
// or, if the node's name has several addresses, one to each of them. More are opened when the
// node limits the requests on one. The answer may begin before the request ends, and
// trailers pass in both directions. A node that is silent for five minutes while requests
// are going on is sent a PING. WebSocket needs HTTP/1.1.
//
// # Balancers
//
// A balancer ([Config.Balancer]) picks a node for each attempt of a request. It chooses among
// the usable nodes of one [Node.Priority]: those not yet tried for this request and not taken
// out. The share of a node that is down is spread over the others in the balancer's own
// way, and is not a burst for one neighbour. A [Picker] is a balancer of your own.
//
// # Health
//
// [Checks] take out nodes that do not answer probes, or real requests, as they should, by
// APISIX's rules. [Outliers] take out, for a while, nodes that fail a large part of the real
// requests. Without either, every node is used. [*Pool.Nodes] shows what was found out and
// why.
//
// A check can be wrong about everything at once. So if no node is healthy, all of them are
// used, unless [Config.FailWhenUnhealthy] is set.
//
// # Errors
//
// [*Pool.RoundTrip] fails with an [*Error], which names the upstream, the node and the cause,
// and has the status that a gateway should answer with.
//
// # TLS
//
// With [SchemeHTTPS] and [SchemeGRPCS] a node's certificate is verified, unless
// [TLS.DangerouslySkipServerVerify] says otherwise. The name that is sent (SNI) and verified
// is [TLS.ServerName] or, without one, that of the Host that the node sees, as in APISIX:
// with [PassClient] it is then the client's choice, and that a node has another name does not
// count against the node. A connection that was made for one name is never used for another.
// A node that asks for a client certificate is shown [TLS.CertPEM]; its private key is PEM or,
// if it cannot leave an HSM, a KMS or a TPM, a [crypto.Signer].
//
// # Concurrency
//
// An Upstream may be shared freely. A Pool may be used by any number of goroutines. Picking
// a node takes no lock. With Checks, a pool has a goroutine for each node, from the first
// request until Close.
//
// # Replacing an upstream
//
// [*Pool.Replace] returns the pool that takes over. Nodes that are in both keep their
// counts, their idle connections unless TLS or keep-alive changed, and their health
// unless the Checks changed. Requests in flight on the old pool end in peace.
package upstream
