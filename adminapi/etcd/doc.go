// Package etcd keeps the configuration of a fleet of gateways in etcd, in the layout of
// Apache APISIX: a gateway may join the etcd of an APISIX cluster as one more data plane,
// and APISIX reads what it writes.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: …})
//	storage, err := etcd.New(client, nil)
//	admin, err := adminapi.New(ctx, gw, &adminapi.Options{Keys: keys, Storage: storage})
//
// A [Storage] is an [adminapi.SharedStorage]: what is put through one gateway is in force on all.
// With [adminapi.Options.Headless], a gateway only follows.
//
// # Layout
//
// The document of route 1 is the value of /apisix/routes/1, and so on. The revisions at which a
// key was made and last written are createdIndex and modifiedIndex; a ttl is a lease.
// /apisix/gen_id is written for each id that is generated. [*Storage.Init] writes what
// "apisix init_etcd" does. /apisix/configs, where the Admin API keeps what PUT /configs
// says about a configuration as a whole, is ignored by APISIX.
//
// Documents that use what this gateway does not have, such as plugins, are kept out and
// reported ([adminapi.Rejected] says what becomes of their requests). A global rule keeps
// nobody out here, whatever its plugins are: it is reported as well. Consumers, stream routes
// and the like have no effect.
//
// Private keys are stored as they are put, or encrypted as APISIX does:
// [adminapi.Options.Keyring] is its data_encryption.keyring.
//
// A change of many documents at once (PUT /configs, [adminapi.Handler.Load]) is one
// transaction of etcd, which has room for 128 by default ([Options.MaxWrites]); more are
// refused. So are, by etcd itself, requests above its --max-request-bytes, 1.5 MiB.
//
// # When etcd is away
//
// A running gateway goes on with what it has, however long that lasts: no request asks etcd.
// [adminapi.Handler.Status] and the log report it within one or two times
// [Options.Heartbeat]; changes are refused (503). When etcd is back, the gateway takes what
// has changed, or everything if etcd no longer knows every change (compaction). A gateway
// needs etcd to start.
//
// If etcd was restored from a copy, its revisions have gone back. A gateway that sees this
// keeps what it has and reports it until it is started again. If etcd was restored with
// --bump-revision and --mark-compacted, the gateways take what it holds by themselves.
//
// If a write was sent and no answer came, it is sent again, on the condition that it has not
// been made. If time runs out in the meantime, the error says that it may have been stored;
// if it was, it takes effect everywhere.
package etcd
