package integration

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// Three gateways on three etcds: a PUT to one is in force on all within a second. Then the
// leader is killed, and then all of etcd: no request fails, and everything that was
// acknowledged is there afterwards.
func TestFleet(t *testing.T) {
	c := newCluster(t, 3)
	origin := newOrigin(t)
	var nodes []*node
	for range 3 {
		nodes = append(nodes, newNode(t, newStorage(t, newClient(t, c.Endpoints()...), quick(""))))
	}
	everywhere := func(path string) {
		t.Helper()
		for _, n := range nodes {
			eventually(t, path, func() bool { return n.get(path) == "origin: "+path })
		}
	}
	nodes[0].put("/routes/1", route("/1", origin))
	require.Equal(t, "origin: /1", nodes[0].get("/1"), "when it is answered, it is in force")
	began := time.Now()
	everywhere("/1")
	t.Log("on all after", time.Since(began)) // of which the machine has a say

	// Requests, all the while.
	var stop atomic.Bool
	var failed atomic.Int64
	var requests sync.WaitGroup
	for _, n := range nodes {
		requests.Go(func() {
			for !stop.Load() {
				if n.get("/1") != "origin: /1" {
					failed.Add(1)
				}
			}
		})
	}
	defer requests.Wait()
	defer stop.Store(true)

	eventually(t, "there is a leader", func() bool { return c.Leader() >= 0 })
	c.Kill(c.Leader())
	eventually(t, "the others go on", func() bool {
		status, _ := nodes[1].do("PUT", "/routes/2", route("/2", origin))
		return status == 200 || status == 201
	})
	everywhere("/2")

	for i := range 3 {
		c.Kill(i)
	}
	for _, n := range nodes {
		eventually(t, "it is told", func() bool { return n.admin.Status().Err != nil })
		require.Contains(t, n.logs.String(), "storage cannot be followed: the last good configuration goes on")
		require.Equal(t, "origin: /2", n.get("/2"))
	}
	status, body := nodes[0].do("PUT", "/routes/3", route("/3", origin))
	require.Equal(t, 503, status, body)
	status, _ = nodes[0].do("GET", "/routes/2", "")
	require.Equal(t, 200, status)

	require.NoError(t, c.Start())
	// Somebody is faster than the gateways, and what they have not seen is compacted.
	client := newClient(t, c.Endpoints()...)
	written, err := client.Put(t.Context(), "/apisix/routes/9", route("/9", origin))
	require.NoError(t, err)
	_, err = client.Compact(t.Context(), written.Header.Revision)
	require.NoError(t, err)
	began = time.Now()
	everywhere("/9")
	t.Log("caught up after", time.Since(began))
	for _, n := range nodes {
		eventually(t, "it is told", func() bool { return n.admin.Status().Err == nil })
		require.Contains(t, n.logs.String(), "storage is followed again")
	}
	nodes[2].put("/routes/4", route("/4", origin))
	everywhere("/4")
	require.Zero(t, failed.Load(), "requests failed")
	require.Contains(t, newNode(t, newStorage(t, newClient(t, c.Endpoints()...), quick(""))).get("/2"), "origin")
}

// A gateway that is cut off for long goes on, and takes everything when it is back: also
// where etcd does not know each change any more.
func TestPartition(t *testing.T) {
	c := newCluster(t, 1)
	origin := newOrigin(t)
	k := newLink(t, c.Endpoints()[0])
	client := newClient(t, c.Endpoints()...)
	far := newNode(t, newStorage(t, newClient(t, k.addr()), quick("")))
	near := newNode(t, newStorage(t, client, quick("")))
	near.put("/routes/1", route("/1", origin))
	near.put("/routes/2", route("/2", origin))
	eventually(t, "both have it", func() bool { return far.get("/2") == "origin: /2" })
	for _, compacted := range []bool{false, true} {
		for _, way := range []string{"cut", "silent"} {
			t.Run(fmt.Sprintf("compacted=%t/%s", compacted, way), func(t *testing.T) {
				if way == "cut" {
					k.setCut(true)
				} else {
					k.silent.Store(true)
				}
				eventually(t, "it is told", func() bool { return far.admin.Status().Err != nil })
				path := "/" + way + fmt.Sprint(compacted)
				near.put("/routes/1", route(path, origin))
				status, _ := near.do("DELETE", "/routes/2", "")
				require.Equal(t, 200, status)
				require.Equal(t, "origin: /2", far.get("/2"))
				if compacted {
					_, err := client.Compact(t.Context(), near.admin.Status().Revision, clientv3.WithCompactPhysical())
					require.NoError(t, err)
				}
				k.silent.Store(false)
				k.setCut(true)
				k.setCut(false)
				eventually(t, "it has caught up", func() bool { return far.get(path) == "origin: "+path && far.admin.Status().Err == nil })
				require.NotContains(t, far.get("/2"), "origin")
				near.put("/routes/2", route("/2", origin))
				eventually(t, "it follows", func() bool { return far.get("/2") == "origin: /2" })
			})
		}
	}
}

// After etcd was restored from a copy, its revisions say nothing of what a gateway has in
// force. One that sees them go back keeps what it has, also once they are beyond it: of what
// was changed meanwhile it knows nothing. One that comes to revisions of which it cannot be
// told, as after a restore with --bump-revision and --mark-compacted, takes everything.
func TestRestored(t *testing.T) {
	c := newCluster(t, 1)
	origin := newOrigin(t)
	k := newLink(t, c.Endpoints()[0])
	client := newClient(t, c.Endpoints()...)
	far := newNode(t, newStorage(t, newClient(t, k.addr()), quick("")))
	near := newNode(t, newStorage(t, client, quick("")))
	near.put("/routes/1", route("/kept", origin))
	backup := filepath.Join(t.TempDir(), "backup")
	c.Kill(0)
	require.NoError(t, os.CopyFS(backup, os.DirFS(c.configs[0].Dir)))
	require.NoError(t, c.Start())
	for _, n := range []*node{near, far} {
		eventually(t, "it is back", func() bool { return n.admin.Status().Err == nil && n.get("/kept") == "origin: /kept" })
	}
	near.put("/routes/1", route("/lost", origin))
	near.put("/routes/2", route("/lost/2", origin))
	eventually(t, "both have it", func() bool { return far.get("/lost/2") == "origin: /lost/2" })

	k.setCut(true)
	c.Kill(0)
	require.NoError(t, os.RemoveAll(c.configs[0].Dir))
	require.NoError(t, os.CopyFS(c.configs[0].Dir, os.DirFS(backup)))
	require.NoError(t, c.Start())
	restored := func() bool {
		err := near.admin.Status().Err
		return err != nil && strings.Contains(err.Error(), "restored from a copy")
	}
	eventually(t, "it is told", restored)

	var last int64
	for i := range 20 {
		res, err := client.Put(t.Context(), "/apisix/routes/3", route(fmt.Sprint("/new/", i), origin))
		require.NoError(t, err)
		last = res.Header.Revision
	}
	require.Greater(t, last, near.admin.Status().Revision)
	_, err := client.Compact(t.Context(), last, clientv3.WithCompactPhysical())
	require.NoError(t, err)
	k.setCut(false)
	eventually(t, "it has taken everything", func() bool { return far.get("/new/19") == "origin: /new/19" && far.admin.Status().Err == nil })
	require.Equal(t, "origin: /kept", far.get("/kept"))
	require.NotContains(t, far.get("/lost"), "origin")
	require.NotContains(t, far.get("/lost/2"), "origin")

	// The other keeps what it has, unless it was not connected when the revisions before were
	// forgotten: then it is like the first.
	eventually(t, "it has what it had, or everything", func() bool {
		lost, kept, added := near.get("/lost"), near.get("/kept"), near.get("/new/19")
		if restored() {
			return lost == "origin: /lost" && !strings.Contains(added, "origin")
		}
		return near.admin.Status().Err == nil && added == "origin: /new/19" && kept == "origin: /kept" && !strings.Contains(lost, "origin")
	})
	started := newNode(t, newStorage(t, client, quick("")))
	require.Equal(t, "origin: /kept", started.get("/kept"))
	require.Equal(t, "origin: /new/19", started.get("/new/19"))
}

// Two gateways that write one document: one gets the conflict. Sixteen that write their own
// lose nothing.
func TestWriters(t *testing.T) {
	c := newCluster(t, 1)
	origin := newOrigin(t)
	client := newClient(t, c.Endpoints()...)
	a, b := newNode(t, newStorage(t, client, quick(""))), newNode(t, newStorage(t, client, quick("")))
	won := 0
	for i := range 10 {
		statuses := [2]int{}
		var wg sync.WaitGroup
		for j, n := range []*node{a, b} {
			wg.Go(func() {
				status, body := n.do("PUT", "/routes/1", route(fmt.Sprintf("/%d/%d", i, j), origin))
				if statuses[j] = status; status == 503 && !strings.Contains(body, "value changed before overwritten") {
					t.Error(body)
				}
			})
		}
		wg.Wait()
		for _, status := range statuses {
			if status != 503 {
				won++
			}
		}
	}
	require.GreaterOrEqual(t, won, 10)

	var wg sync.WaitGroup
	for i := range 16 {
		n := []*node{a, b}[i%2]
		wg.Go(func() {
			for j := range 10 {
				status, body := n.do("PUT", fmt.Sprintf("/routes/w%d", i), route(fmt.Sprintf("/w%d/%d", i, j), origin))
				if status != 200 && status != 201 {
					t.Error(status, body)
				}
			}
		})
	}
	wg.Wait()
	records, err := newStorage(t, client, nil).Load(t.Context())
	require.NoError(t, err)
	require.Len(t, records, 17)
	for i := range 16 {
		path := fmt.Sprintf("/w%d/9", i)
		for _, n := range []*node{a, b} {
			eventually(t, path, func() bool { return n.get(path) == "origin: "+path })
		}
	}
}

// encrypted is a private key as APISIX stores it.
func encrypted(key string, pem []byte) string {
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		panic(err)
	}
	n := aes.BlockSize - len(pem)%aes.BlockSize
	data := append(bytes.Clone(pem), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, []byte(key)).CryptBlocks(data, data)
	return base64.StdEncoding.EncodeToString(data)
}

// What APISIX has written is understood: placeholders, ids that are numbers, encrypted keys,
// leases, the defaults that it stored up to 3.13; and what is of no use here is kept out, and told.
func TestWrittenByAPISIX(t *testing.T) {
	const key = "edd1c9f0985e76a2"
	client := newClient(t, newCluster(t, 1).Endpoints()...)
	pair := ssltest.NewCA(t, "servers").Server("a.test", "b.test")
	put := func(key, value string, options ...clientv3.OpOption) int64 {
		res, err := client.Put(t.Context(), "/apisix"+key, value, options...)
		require.NoError(t, err)
		return res.Header.Revision
	}
	doc := func(v map[string]any) string {
		text, err := json.Marshal(v)
		require.NoError(t, err)
		return string(text)
	}
	origin := newOrigin(t)
	for _, kind := range []string{"routes", "ssls", "upstreams", "services", "plugins", "consumers"} {
		put("/"+kind+"/", "init_dir")
	}
	put("/gen_id", "1")
	put("/plugins", `[{"name":"limit-count"}]`)
	put("/ssls/1", doc(map[string]any{"id": "1", "sni": "a.test", "cert": string(pair.CertPEM), "key": encrypted(key, pair.KeyPEM),
		"create_time": 1700000000, "update_time": 1700000000}))
	put("/routes/00000000000000000123", doc(map[string]any{"id": "00000000000000000123", "uri": "/x", "upstream_id": 7, "status": 1}))
	put("/upstreams/7", doc(map[string]any{"id": 7, "type": "roundrobin", "scheme": "http", "hash_on": "vars", "pass_host": "pass", "nodes": map[string]any{origin: 1}}))
	put("/routes/identity", doc(map[string]any{"id": "identity", "uri": "/identity", "priority": 0, "status": 1, "upstream_id": "7",
		"plugins": map[string]any{"proxy-rewrite": map[string]any{"use_real_request_uri_unsafe": false,
			"headers": map[string]any{"X-Ssl-Client-S-DN": "$ssl_client_s_dn"}}}}))
	bad := put("/routes/limited", doc(map[string]any{"id": "limited", "uri": "/l", "plugins": map[string]any{"limit-count": map[string]any{}}}))
	n := newNode(t, newStorage(t, client, quick("")), "0123456789abcdef", key)
	require.Equal(t, "origin: /x", n.get("/x"))
	require.Equal(t, "origin: /identity", n.get("/identity"))
	status := n.admin.Status()
	require.Len(t, status.Rejected, 1)
	require.Equal(t, "/routes/limited", status.Rejected[0].Key)
	require.Equal(t, bad, status.Rejected[0].Revision)
	require.ErrorContains(t, status.Rejected[0].Err, "limit-count")
	require.Contains(t, n.get("/l"), "cannot be used", "and no other route answers for it")
	require.Equal(t, pair.CertPEM, served(n.gw, "a.test"))
	_, body := n.do("GET", "/ssls/1", "")
	require.Contains(t, body, `"key":"[redacted]"`)

	// And what we write, APISIX decrypts by the first key of the same keyring.
	both := doc(map[string]any{"snis": []string{"b.test"}, "cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM))})
	n.put("/ssls/2", both)
	res, err := client.Get(t.Context(), "/apisix/ssls/2")
	require.NoError(t, err)
	var stored map[string]any
	require.NoError(t, json.Unmarshal(res.Kvs[0].Value, &stored))
	require.Equal(t, encrypted("0123456789abcdef", pair.KeyPEM), stored["key"])

	lease, err := client.Grant(t.Context(), 1000)
	require.NoError(t, err)
	put("/routes/short", route("/short", origin), clientv3.WithLease(lease.ID))
	eventually(t, "it is there", func() bool { return n.get("/short") == "origin: /short" })
	_, err = client.Revoke(t.Context(), lease.ID)
	require.NoError(t, err)
	eventually(t, "it is gone", func() bool { return !strings.HasPrefix(n.get("/short"), "origin") })
	require.NotContains(t, n.logs.String(), "PRIVATE KEY")
}

// served returns the certificate for a server name, in PEM.
func served(gw *gateway.Server, name string) []byte {
	client, server := net.Pipe()
	defer client.Close()
	go func() {
		defer server.Close()
		_ = tls.Server(server, gw.TLSConfig()).Handshake()
	}()
	conn := tls.Client(client, ssltest.ClientConfig(name))
	if conn.Handshake() != nil {
		return nil
	}
	return pemOf(conn.ConnectionState().PeerCertificates[0].Raw)
}

// A gateway without an Admin API follows too.
func TestHeadless(t *testing.T) {
	client := newClient(t, newCluster(t, 1).Endpoints()...)
	origin := newOrigin(t)
	gw := must(gateway.New(nil))
	defer gw.Close()
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true, Storage: newStorage(t, client, quick(""))})
	require.NoError(t, err)
	defer h.Close()
	newNode(t, newStorage(t, client, quick(""))).put("/routes/1", route("/1", origin))
	eventually(t, "it follows", func() bool {
		_, body := ask(gw, "GET", "http://a.test/1", "")
		return body == "origin: /1"
	})

	// Without etcd, nothing starts.
	_, err = adminapi.New(t.Context(), gw, &adminapi.Options{Headless: true, Storage: newStorage(t, newClient(t, "127.0.0.1:1"), quick(""))})
	require.ErrorContains(t, err, "adminapi: storage: etcd: ")
}
