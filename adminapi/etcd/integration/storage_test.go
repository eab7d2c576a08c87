package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/adminapi/etcd"
	"github.com/sallyport/sallyport/adminapi/storagetest"
	"github.com/sallyport/sallyport/internal/freeport"
)

// testStorage runs all that is promised, each in a directory of its own.
func testStorage(t *testing.T, client *clientv3.Client) {
	storagetest.RunShared(t, func(t *testing.T) adminapi.SharedStorage {
		_, name, _ := strings.Cut(t.Name(), "/")
		// Beside another whose prefix begins alike.
		other := newStorage(t, client, &etcd.Options{Prefix: "/" + name + "2"})
		_, err := other.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte("{}")})
		require.NoError(t, err)
		s := newStorage(t, client, &etcd.Options{Prefix: "/" + name})
		require.NoError(t, s.Init(t.Context()))
		return s
	})
}

func TestStorage(t *testing.T) {
	testStorage(t, newClient(t, newCluster(t, 1).Endpoints()...))
}

// A watch tells nothing of what others have whose keys begin alike: neither before nor after
// the first of its own changes.
func TestWatchOfAnother(t *testing.T) {
	client := newClient(t, newCluster(t, 1).Endpoints()...)
	s := newStorage(t, client, quick("/a"))
	put := func() {
		for _, key := range []string{"/ab/routes/1", "/a2/routes/1", "/aroutes/1", "/A/routes/1", "/routes/1", "/a", "a/routes/1"} {
			_, err := client.Put(t.Context(), key, "{}")
			require.NoError(t, err)
		}
	}
	put()
	ctx, cancel := context.WithCancel(t.Context())
	updates := make(chan adminapi.Update, 100)
	var watching sync.WaitGroup
	watching.Go(func() { s.Watch(ctx, func(u adminapi.Update) { updates <- u }) })
	defer watching.Wait()
	defer cancel()
	first := <-updates
	require.True(t, first.Whole)
	require.Empty(t, first.Records)
	for i := range 2 {
		put()
		key := fmt.Sprint("/routes/", i)
		_, err := s.Commit(t.Context(), adminapi.Write{Key: key, Value: []byte("{}")})
		require.NoError(t, err)
		var keys []string
		for len(keys) == 0 {
			u := <-updates
			require.NoError(t, u.Err)
			for _, r := range u.Records {
				keys = append(keys, r.Key)
			}
		}
		require.Equal(t, []string{key}, keys)
	}
}

// What is read in pages is from one revision, also if etcd has forgotten that meanwhile.
func TestLoadOfWhatIsForgotten(t *testing.T) {
	client := newClient(t, newCluster(t, 1).Endpoints()...)
	s := newStorage(t, client, nil)
	var want []string
	for i := range 6 {
		var writes []adminapi.Write
		for j := range 100 {
			key := fmt.Sprintf("/routes/%d", 1000+100*i+j)
			writes = append(writes, adminapi.Write{Key: key, Value: []byte("{}")})
			want = append(want, key)
		}
		_, err := s.Commit(t.Context(), writes...)
		require.NoError(t, err)
	}
	forgets := &forgetful{KV: client.KV}
	client.KV = forgets
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	records, err := s.Load(ctx)
	require.NoError(t, err)
	require.True(t, forgets.forgot.Load())
	var got []string
	for _, r := range records {
		got = append(got, r.Key)
	}
	require.True(t, slices.Equal(append(want, "/routes/9"), got), "%d documents", len(got))
}

// A forgetful etcd gets another document, and forgets what was before, after the first page.
type forgetful struct {
	clientv3.KV
	forgot atomic.Bool
}

func (f *forgetful) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	res, err := f.KV.Get(ctx, key, opts...)
	if err == nil && res.More && f.forgot.CompareAndSwap(false, true) {
		put, err := f.KV.Put(ctx, "/apisix/routes/9", "{}")
		if err != nil {
			return nil, err
		}
		if _, err := f.KV.Compact(ctx, put.Header.Revision); err != nil {
			return nil, err
		}
	}
	return res, err
}

// The etcd of Debian 12 is of version 3.4, as those of many who use APISIX.
func TestDebian(t *testing.T) {
	binary, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("needs etcd, of Debian's etcd-server, which is not installed")
	}
	address, port, err := freeport.Hold()
	require.NoError(t, err)
	defer port.Close()
	peerAddress, peerPort, err := freeport.Hold()
	require.NoError(t, err)
	defer peerPort.Close()
	client, peer := "http://"+address, "http://"+peerAddress
	cmd := exec.Command(binary, "--data-dir", t.TempDir(), "--unsafe-no-fsync", "--max-request-bytes", fmt.Sprint(8<<20),
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", "default="+peer, "--heartbeat-interval", "50", "--election-timeout", "500")
	cmd.Env = append(os.Environ(), "ETCD_UNSUPPORTED_ARCH=arm64")
	version, err := exec.Command(binary, "--version").Output()
	require.NoError(t, err)
	if strings.Contains(string(version), "etcd Version: 3.4") { // which does not know the flag
		cmd.Args = append(cmd.Args[:3], cmd.Args[4:]...)
	}
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	c := newClient(t, address)
	eventually(t, "etcd serves", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Get(ctx, "x")
		return err == nil
	})
	testStorage(t, c)
	t.Run("fleet", func(t *testing.T) {
		origin := newOrigin(t)
		a, b := newNode(t, newStorage(t, c, quick(""))), newNode(t, newStorage(t, c, quick("")))
		a.put("/routes/1", route("/1", origin))
		eventually(t, "all have it", func() bool { return b.get("/1") == "origin: /1" })
		require.NoError(t, cmd.Process.Kill())
		eventually(t, "it is told", func() bool { return a.admin.Status().Err != nil && b.admin.Status().Err != nil })
		require.Equal(t, "origin: /1", a.get("/1"))
	})
}

// What is stored has the shape that APISIX gives it.
func TestLayout(t *testing.T) {
	client := newClient(t, newCluster(t, 1).Endpoints()...)
	s := newStorage(t, client, nil)
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, s.Init(t.Context()))
	n := newNode(t, s)
	doc := `{"uri":"/hello","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1980":1}}}`
	n.put("/routes/1", doc)
	n.put("/routes/1?ttl=100", doc)
	status, body := n.do("POST", "/services", `{"desc":"x"}`)
	require.Equal(t, 201, status, body)

	res, err := client.Get(t.Context(), "", clientv3.WithPrefix())
	require.NoError(t, err)
	values, keys := map[string]string{}, []string{}
	for _, kv := range res.Kvs {
		keys = append(keys, string(kv.Key))
		values[string(kv.Key)] = string(kv.Value)
		switch string(kv.Key) {
		case "/apisix/routes/1":
			require.NotZero(t, kv.Lease)
			ttl, err := client.TimeToLive(t.Context(), clientv3.LeaseID(kv.Lease))
			require.NoError(t, err)
			require.InDelta(t, 100, ttl.GrantedTTL, 1)
			_, body := n.do("GET", "/routes/1", "")
			require.Contains(t, body, fmt.Sprintf(`"createdIndex":%d`, kv.CreateRevision))
			require.Contains(t, body, fmt.Sprintf(`"modifiedIndex":%d`, kv.ModRevision))
			var got map[string]any
			require.NoError(t, json.Unmarshal(kv.Value, &got))
			require.NotZero(t, got["create_time"])
			require.NotZero(t, got["update_time"])
			delete(got, "create_time")
			delete(got, "update_time")
			require.Equal(t, map[string]any{"id": "1", "uri": "/hello",
				"upstream": map[string]any{"type": "roundrobin", "nodes": map[string]any{"127.0.0.1:1980": 1.0}}}, got)
		case "/apisix/gen_id":
			require.Equal(t, "1", string(kv.Value))
			require.Contains(t, values, "/apisix/consumers/")
			require.Contains(t, body, fmt.Sprintf(`"key":"/apisix/services/%020d"`, kv.ModRevision))
		default:
			require.Zero(t, kv.Lease)
		}
	}
	require.Subset(t, keys, []string{"/apisix/gen_id", "/apisix/routes/", "/apisix/routes/1", "/apisix/ssls/", "/apisix/plugin_metadata/"})
	require.Len(t, keys, 13+3)
	require.Equal(t, "init_dir", values["/apisix/routes/"])
}

// Several writes to many documents are one transaction, and more than it has room for are
// refused before anything has moved.
func TestTransactions(t *testing.T) {
	s := newStorage(t, newClient(t, newCluster(t, 1).Endpoints()...), nil)
	writes := func(n int) (writes []adminapi.Write) {
		for i := range n {
			writes = append(writes, adminapi.Write{Key: fmt.Sprintf("/routes/%d", i), Value: []byte("{}")})
		}
		return writes
	}
	_, err := s.Commit(t.Context(), writes(129)...)
	require.ErrorContains(t, err, "--max-txn-ops")
	records, err := s.Commit(t.Context(), writes(128)...)
	require.NoError(t, err)
	require.Equal(t, records[0].Modified, records[127].Modified)
	big := adminapi.Write{Key: "/routes/big", Value: make([]byte, 20<<20)}
	_, err = s.Commit(t.Context(), big)
	require.ErrorContains(t, err, "etcd: ")
	require.NotContains(t, err.Error(), "not known", "etcd has never seen it")
	for _, key := range []string{"", "routes/1", "/routes/"} {
		_, err = s.Commit(t.Context(), adminapi.Write{Key: key})
		require.ErrorContains(t, err, "must begin with a slash")
	}
	for _, prefix := range []string{"apisix", "/apisix/", "/"} {
		_, err = etcd.New(nil, &etcd.Options{Prefix: prefix})
		require.ErrorContains(t, err, "Options.Prefix")
	}
}

// An answer that does not come is asked for again: what was stored is not stored twice, and
// not taken for another's.
func TestAnswerLost(t *testing.T) {
	k := newLink(t, newCluster(t, 1).Endpoints()[0])
	s := newStorage(t, newClient(t, k.addr()), quick(""))
	first, err := s.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte(`{"n":1}`)})
	require.NoError(t, err)

	k.silent.Store(true)
	var wg sync.WaitGroup
	var records []adminapi.Record
	wg.Go(func() {
		records, err = s.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte(`{"n":2}`), Prev: first[0].Modified},
			adminapi.Write{Key: "/routes/2", Value: []byte(`{}`)})
	})
	direct := newStorage(t, newClient(t, k.to), quick(""))
	eventually(t, "etcd has it", func() bool {
		there, err := direct.Load(t.Context())
		return err == nil && len(there) == 2
	})
	k.silent.Store(false)
	k.setCut(true)
	k.setCut(false)
	wg.Wait()
	require.NoError(t, err)
	there, err := direct.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, there, records)
	require.Equal(t, first[0].Modified+1, records[0].Modified, "once")

	k.setCut(true)
	_, err = newStorage(t, newClient(t, k.addr()), &etcd.Options{Timeout: 300 * time.Millisecond}).Commit(t.Context(), adminapi.Write{Key: "/routes/3"})
	require.ErrorContains(t, err, "not known whether it was stored")
}

// Where the answer is lost for good, what was stored stays until it expires. Without its
// lease it would be gone at once, and what it has replaced too.
func TestAnswerLostOfLease(t *testing.T) {
	c := newCluster(t, 1)
	direct := newStorage(t, newClient(t, c.Endpoints()...), quick(""))
	first, err := direct.Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte(`{"n":1}`)})
	require.NoError(t, err)
	deaf := newClient(t, c.Endpoints()...)
	deaf.KV = lossy{deaf.KV}
	s := newStorage(t, deaf, &etcd.Options{Timeout: 300 * time.Millisecond})
	expires := time.Now().Add(time.Hour)
	for name, write := range map[string]adminapi.Write{
		"replaced":     {Key: "/routes/1", Value: []byte(`{"n":2}`), Prev: first[0].Modified, Expires: expires},
		"made":         {Key: "/routes/2", Value: []byte(`{"n":2}`), Expires: expires},
		"whatever was": {Key: "/routes/3", Value: []byte(`{"n":2}`), Prev: adminapi.AnyRevision, Expires: expires},
	} {
		_, err = s.Commit(t.Context(), write)
		require.ErrorContains(t, err, "not known whether it was stored", name)
		there, err := direct.Load(t.Context())
		require.NoError(t, err)
		i := slices.IndexFunc(there, func(r adminapi.Record) bool { return r.Key == write.Key })
		require.GreaterOrEqual(t, i, 0, name)
		require.Equal(t, `{"n":2}`, string(there[i].Value), name)
		require.WithinDuration(t, expires, there[i].Expires, 2*time.Second, name)
	}

	// Of what was not stored, no lease stays.
	client := newClient(t, c.Endpoints()...)
	before, err := client.Leases(t.Context())
	require.NoError(t, err)
	_, err = newStorage(t, client, nil).Commit(t.Context(), adminapi.Write{Key: "/routes/1", Value: []byte("{}"), Prev: first[0].Modified, Expires: expires})
	require.ErrorIs(t, err, adminapi.ErrConflict)
	after, err := client.Leases(t.Context())
	require.NoError(t, err)
	require.Len(t, after.Leases, len(before.Leases))
}

// A lossy client never hears what became of a transaction.
type lossy struct{ clientv3.KV }

func (l lossy) Txn(ctx context.Context) clientv3.Txn { return lossyTxn{l.KV.Txn(ctx)} }

type lossyTxn struct{ clientv3.Txn }

func (l lossyTxn) If(conditions ...clientv3.Cmp) clientv3.Txn {
	return lossyTxn{l.Txn.If(conditions...)}
}
func (l lossyTxn) Then(ops ...clientv3.Op) clientv3.Txn { return lossyTxn{l.Txn.Then(ops...)} }
func (l lossyTxn) Else(ops ...clientv3.Op) clientv3.Txn { return lossyTxn{l.Txn.Else(ops...)} }

func (l lossyTxn) Commit() (*clientv3.TxnResponse, error) {
	_, _ = l.Txn.Commit()
	return nil, io.ErrUnexpectedEOF
}
