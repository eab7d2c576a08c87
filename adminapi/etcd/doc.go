// Package etcd keeps the configuration of a fleet of gateways in etcd, in the layout of
// Apache APISIX: a gateway may join the etcd of an APISIX cluster as one more data plane,
// and APISIX reads what it writes.
//
//	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: …})
//	storage, err := etcd.New(client, nil)
//	admin, err := adminapi.New(gw, &adminapi.Options{Keys: keys, Storage: storage})
//
// A [Storage] is an [adminapi.Watcher]: what is put through one gateway is in force on all.
// With [adminapi.Options.Headless], a gateway only follows.
//
// # Layout
//
// The document of route 1 is the value of /apisix/routes/1, and so on. The revisions at which a
// key was made and last written are createdIndex and modifiedIndex; a ttl is a lease.
// /apisix/gen_id is written for each id that is made. [*Storage.Init] writes what
// "apisix init_etcd" does. /apisix/configs, where the Admin API keeps what PUT /configs
// says of a configuration as a whole, is of no interest to APISIX.
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
// A gateway that runs goes on with what it has, however long it lasts: nothing on the way of
// a request asks etcd. [adminapi.Handler.Status] and the log say so within
// [Options.Heartbeat] or two; changes are refused (503). When etcd is back, what has
// changed is taken, or everything where etcd does not know each change any more
// (compaction). A gateway that starts needs etcd.
//
// Where a write was sent and the answer did not come, it is sent again, with the condition that
// it has not been made. If the time runs out over that, the error says that it may have been
// stored; if it was, it takes effect everywhere.
package etcd
