// Package ssl gives every server name its own certificate and its own rule of
// whose client certificates it takes, and holds each request to the rule of the
// name it is for.
//
// A [Config] is what a person writes about some names. [New] checks it and makes
// a [Profile] of it, which never changes. A [Table] is an immutable set of
// profiles, found by name. A [Terminator] ends TLS connections by the table that
// it is shown; a [Store] is a Terminator with a table of its own, which
// [*Store.Apply] replaces. All that a server of one's own needs:
//
//	store := ssl.NewStore(nil)
//	_, err := store.Put(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: pairs, Client: &ssl.ClientAuth{CAPEM: ca}})
//	server := &http.Server{TLSConfig: store.TLSConfig(), Handler: store.Handler(mux)}
//
// # The guard
//
// The choice of a certificate by server name protects nothing by itself: over a
// connection that was made for pub.test, without a client certificate, a client
// may ask for "Host: mtls.test". [*Terminator.Judge] is what stands against it,
// and [*Terminator.Handler] puts it in front of a handler. A request is governed
// by the profile that its Host has now, and the client must satisfy that profile
// now. So the guard also covers HTTP/2 connections that a client shares between
// names, paths that need no certificate, and a policy that is replaced while the
// connection stays open.
//
// An [Identity] exists only where a client's certificate satisfies the profile
// that governs the request.
//
// # Names
//
// Exact names go before wildcards, longer wildcards before shorter. The star
// stands for one label. A name below a wildcard that demands client certificates
// but more than one label below it (x.y.a.test under *.a.test) never falls
// through to a shorter wildcard that does not demand them: it is refused. Where
// two profiles have the same name, the older one answers. A name that no profile
// has gets the alert unrecognized_name (RFC 6066, section 3), also when it comes
// with a session ticket of another.
//
// # Client policy
//
// [ClientAuth] says whose certificates a profile takes: the roots, the depth,
// revocation lists, an allow-list of names, keys and SPIFFE IDs, and a function of
// one's own. All of it holds in the handshake, on resumed sessions, and for
// requests on connections that are open when it is replaced. [Watch] keeps
// certificates, roots and lists in step with files.
//
// # Private keys
//
// The private key of a certificate is PEM, or a [crypto.Signer] where it cannot be had: in
// an HSM, a KMS, a TPM ([KeyPair.Signer]). [KeyPairOf] takes what an ACME client hands
// out. Files, as [LoadKeyPair] and [Watch] read them, hold PEM. No private key is in what is
// printed or logged of a Config, nor in an error.
//
// # Sessions
//
// crypto/tls lets a session of one name resume at another when both take the same
// root, and does not call VerifyPeerCertificate then. Here a ticket holds a digest
// of the profile's ID and its whole client policy, the same on every machine that
// has the same configuration, and the time until which the client's chain is valid. Where that
// does not fit, the ticket is declined and a full handshake follows.
//
// # Handshakes
//
// [*Terminator.Listener] makes handshakes off the accept loop, bounded in number, in
// time, in the processors that they take and for each address. It goes with any [net/http.Server]. It counts them
// ([*Terminator.Stats]), by profile, version and reason, with how long they took, and
// tells [Trace] of each.
//
// One that failed has a [Reason] of a closed list, and a sentence for the operator that
// says what was wrong with this client and what to do: [*HandshakeError.Advice]. Both are
// logged, with what the client presented, to [Options.Logger], or to
// [Options.HandshakeLog], which also receives a record for each handshake that succeeded.
// How many failures of one reason are logged in a second is bounded.
//
// # Concurrency
//
// Profiles, tables and identities may be shared freely. A Terminator and a Store
// may be used by any number of goroutines; nothing on the way of a handshake or
// a request waits for a writer.
//
// # What it does not do
//
// It obtains no certificates, fetches nothing that a certificate points to, and
// has no default certificate for unknown names.
package ssl
