// Package ssl gives each server name its own certificate and its own rule about whose
// client certificates are accepted, and holds every request to the rule of the name that
// it is for.
//
// A [Config] is what a person writes about some names. [New] checks it and makes it a
// [Profile], which never changes. A [Table] is an immutable set of profiles, found by
// name. A [Terminator] terminates TLS connections by a table that it is given; a [Store]
// is a Terminator with a table of its own, which [*Store.Apply] replaces. This is all
// that your own server needs:
//
//	store, err := ssl.NewStore(nil)
//	...
//	_, err = store.Put(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: pairs, Client: &ssl.ClientAuth{CAPEM: ca}})
//	server := &http.Server{TLSConfig: store.TLSConfig(), Handler: store.Handler(mux)}
//
// # The guard
//
// Choosing a certificate by server name protects nothing by itself: over a connection
// made for pub.test, without a client certificate, a client may ask for
// "Host: mtls.test". [*Terminator.Judge] stands in the way of that, and
// [*Terminator.Handler] puts it in front of a handler. A request is governed by the
// profile that its Host has now, and the client must satisfy that profile now. So the
// guard also covers HTTP/2 connections that a client shares between names, paths that
// need no certificate, and a policy that is replaced while the connection stays open.
//
// An [Identity] exists only where a client's certificate satisfies the profile that
// governs the request.
//
// # Names
//
// Exact names come before wildcards, and longer wildcards before shorter ones. The star
// stands for one label. A name that is below a wildcard which demands client
// certificates, but more than one label below it (x.y.a.test under *.a.test), never falls
// through to a shorter wildcard that does not demand them: it is refused. If two profiles
// have the same name, the older one answers. A name that no profile has gets the alert
// unrecognized_name (RFC 6066, section 3), even with a session ticket issued for another
// name.
//
// # Client policy
//
// [ClientAuth] says whose certificates a profile accepts: the roots, the depth,
// revocation lists, an allow-list of names, keys and SPIFFE IDs, and a function of your
// own. All of it applies to handshakes, to resumed sessions, and to requests on
// connections that were open when it was replaced. [Watch] keeps certificates, roots and
// revocation lists in step with files.
//
// # Private keys
//
// The private key of a certificate is PEM or, if it cannot leave an HSM, a KMS or a TPM,
// a [crypto.Signer] ([KeyPair.Signer]). [KeyPairOf] takes what an ACME client hands out.
// Files, as [LoadKeyPair] and [Watch] read them, hold PEM. No private key appears in what
// is printed or logged of a Config, nor in an error.
//
// # Sessions
//
// crypto/tls lets a session of one name resume at another if both accept the same root,
// and does not call VerifyPeerCertificate when it does. Here a ticket holds a digest of
// the profile's ID and its whole client policy, which is the same on every machine with
// the same configuration, and the time until which the client's chain is valid. If these
// do not match, the ticket is declined and a full handshake follows. A client whose
// certificates make a ticket of more than 32 KiB gets none.
//
// # Handshakes
//
// [*Terminator.Listener] performs handshakes off the accept loop, bounded in number, in
// time, in the processors that they use, and per address. It works with any
// [net/http.Server]. It counts handshakes by profile, version and reason, with their
// durations ([*Terminator.Stats]), and tells [Trace] of each. Without it, as in the lines
// above, net/http performs the handshakes, and they are neither bounded nor counted,
// logged or traced.
//
// A handshake that failed has a [Reason] from a closed list, and a sentence that tells
// the operator what was wrong with this client and what to do about it:
// [*HandshakeError.Advice]. Both are logged, with what the client presented, to
// [Options.Logger], or to [Options.HandshakeLog], which also receives a record for each
// handshake that succeeded. The number of failures logged per second is bounded for each
// reason.
//
// # Concurrency
//
// Profiles, tables and identities may be shared freely. A Terminator and a Store may be
// used by any number of goroutines; no handshake and no request waits for a writer.
//
// # What it does not do
//
// It obtains no certificates, fetches nothing that a certificate points to, and has no
// default certificate for unknown names.
package ssl
