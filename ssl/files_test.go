package ssl_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A mount holds files as Kubernetes mounts a secret: links through one link to a
// directory, which is turned round when the secret changes.
type mount struct {
	t   testing.TB
	dir string
	n   int
}

func newMount(t testing.TB, files map[string][]byte) *mount {
	t.Helper()
	m := &mount{t: t, dir: t.TempDir()}
	m.swap(files)
	for name := range files {
		require.NoError(t, os.Symlink(filepath.Join("..data", name), m.path(name)))
	}
	return m
}

func (m *mount) path(name string) string { return filepath.Join(m.dir, name) }

func (m *mount) swap(files map[string][]byte) {
	m.n++
	version := fmt.Sprintf("..%d", m.n)
	if err := os.Mkdir(m.path(version), 0o700); err != nil {
		panic(err)
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(m.path(version), name), data, 0o600); err != nil {
			panic(err)
		}
	}
	if err := errors.Join(os.Symlink(version, m.path("..data_tmp")), os.Rename(m.path("..data_tmp"), m.path("..data"))); err != nil {
		panic(err)
	}
	if m.n > 1 {
		os.RemoveAll(m.path(fmt.Sprintf("..%d", m.n-1)))
	}
}

func pairFiles(pair ssl.KeyPair, ca *ssltest.CA) map[string][]byte {
	files := map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM}
	if ca != nil {
		files["ca.crt"] = ca.PEM()
	}
	return files
}

func (m *mount) config(id string, names ...string) ssl.FileConfig {
	f := ssl.FileConfig{
		Config:   ssl.Config{ID: id, Names: names},
		KeyPairs: []ssl.KeyPairFiles{{Cert: m.path("tls.crt"), Key: m.path("tls.key")}},
	}
	if _, err := os.Stat(m.path("ca.crt")); err == nil {
		f.Client, f.CAs = &ssl.ClientAuth{}, []string{m.path("ca.crt")}
	}
	return f
}

// failures are what a Watcher reports.
type failures struct {
	mu  sync.Mutex
	all []string
}

func (f *failures) add(id string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, id+": "+err.Error())
}

func (f *failures) since() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.all
	f.all = nil
	return all
}

func watch(t testing.TB, store *ssl.Store, o *ssl.WatchOptions, configs ...ssl.FileConfig) *ssl.Watcher {
	t.Helper()
	if o == nil {
		o = &ssl.WatchOptions{}
	}
	o.Interval = time.Hour // a test looks when it wants to
	w, err := ssl.Watch(store.Put, o, configs...)
	require.NoError(t, err)
	t.Cleanup(w.Close)
	return w
}

// shown is the certificate that a server shows.
func shown(t testing.TB, s *tlsServer, name string, certs ...tls.Certificate) []byte {
	t.Helper()
	client, _ := s.visit(t, ssltest.ClientConfig(name, certs...))
	require.NoError(t, client.err)
	return client.state.PeerCertificates[0].Raw
}

func TestWatchKubernetes(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	first, second := servers.Server("a.test"), servers.Server("a.test")
	m := newMount(t, pairFiles(first, people))
	store := must(ssl.NewStore(nil))
	var log bytes.Buffer
	w := watch(t, store, &ssl.WatchOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}, m.config("1", "a.test"))
	s := serveTLS(t, store.TLSConfig())
	alice, bob := people.Client("alice"), others.Client("bob")
	require.Equal(t, parseCert(t, first.CertPEM).Raw, shown(t, s, "a.test", alice))

	before := store.Table().Lookup("a.test")
	require.NoError(t, w.Check())
	require.Same(t, before, store.Table().Lookup("a.test"), "nothing has changed")
	require.Empty(t, log.String())

	m.swap(pairFiles(second, others))
	require.NoError(t, w.Check())
	require.Equal(t, parseCert(t, second.CertPEM).Raw, shown(t, s, "a.test", bob))
	client, _ := s.visit(t, ssltest.ClientConfig("a.test", alice))
	require.Equal(t, unknownCA, alertOf(client.err))
	require.Contains(t, log.String(), `level=INFO msg="files of a profile have changed" profile=1`)
}

// What a Store would report is logged: whoever put the files there sees no Report.
func TestWatchWarnings(t *testing.T) {
	servers, people, expired := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "expired", ssltest.Expired)
	pair := servers.Server("a.test")
	m := newMount(t, pairFiles(pair, people))
	store := must(ssl.NewStore(nil))
	var log bytes.Buffer
	w := watch(t, store, &ssl.WatchOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}, m.config("1", "a.test"))
	require.Empty(t, log.String())
	m.swap(pairFiles(pair, expired))
	require.NoError(t, w.Check())
	const warning = `level=WARN msg="a profile does not work the way it may seem to" profile=1 field=Client.CAPEM warning="client CA 1 (CN=expired) expired on `
	require.Contains(t, log.String(), warning)
	w.Close()

	log.Reset()
	watch(t, must(ssl.NewStore(nil)), &ssl.WatchOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}, m.config("1", "a.test"))
	require.Contains(t, log.String(), warning)
}

// certbot turns the links one after the other: the certificate, then its key. What
// does not fit is reported once, and the old pair goes on.
func TestWatchCertbot(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	first, second := servers.Server("a.test"), servers.Server("a.test")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, data := range map[string][]byte{"cert1": first.CertPEM, "key1": first.KeyPEM, "cert2": second.CertPEM, "key2": second.KeyPEM} {
		require.NoError(t, os.WriteFile(path(name), data, 0o600))
	}
	turn := func(link, target string) {
		_ = os.Remove(path(link))
		require.NoError(t, os.Symlink(target, path(link)))
	}
	turn("cert", "cert1")
	turn("key", "key1")
	other := newMount(t, pairFiles(servers.Server("b.test"), nil))
	store := must(ssl.NewStore(nil))
	var failed failures
	var log bytes.Buffer
	w := watch(t, store, &ssl.WatchOptions{Failed: failed.add, Logger: slog.New(slog.NewTextHandler(&log, nil))}, ssl.FileConfig{
		Config:   ssl.Config{ID: "1", Names: []string{"a.test"}},
		KeyPairs: []ssl.KeyPairFiles{{Cert: path("cert"), Key: path("key")}},
	}, other.config("2", "b.test"))
	s := serveTLS(t, store.TLSConfig())

	turn("cert", "cert2")
	again := servers.Server("b.test")
	other.swap(pairFiles(again, nil))
	for range 3 {
		require.ErrorContains(t, w.Check(), "is not the key of the certificate")
	}
	require.Equal(t, []string{`1: ssl: profile "1": Certificates[0].KeyPEM: is not the key of the certificate (in ` + path("key") + `)`}, failed.since())
	require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"))
	require.Equal(t, parseCert(t, first.CertPEM).Raw, shown(t, s, "a.test"), "the last good one goes on")
	require.Equal(t, parseCert(t, again.CertPEM).Raw, shown(t, s, "b.test"), "the other profile is not held up")

	turn("key", "key2")
	require.NoError(t, w.Check())
	require.Empty(t, failed.since())
	require.Equal(t, parseCert(t, second.CertPEM).Raw, shown(t, s, "a.test"))
}

// Whatever becomes of a file: the last good profile goes on, the failure is
// reported once, and what is right again is taken.
func TestWatchFailures(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	for name, c := range map[string]struct {
		damage func(file string) error
		want   string
	}{
		"removed":     {os.Remove, "no such file or directory"},
		"a directory": {func(f string) error { return errors.Join(os.Remove(f), os.Mkdir(f, 0o700)) }, "is no regular file"},
		"a pipe":      {func(f string) error { return errors.Join(os.Remove(f), exec.Command("mkfifo", f).Run()) }, "is no regular file"},
		"a loop":      {func(f string) error { return errors.Join(os.Remove(f), os.Symlink(f, f)) }, "too many levels of symbolic links"},
		"empty":       {func(f string) error { return os.WriteFile(f, nil, 0o600) }, "is empty"},
		"broken":      {func(f string) error { return os.WriteFile(f, []byte("-----BEGIN CERTIFICATE-----\nAA"), 0o600) }, "PEM"},
		"too large":   {func(f string) error { return os.Truncate(f, 64<<20+1) }, "is larger than 67108864 bytes"},
	} {
		for _, file := range []string{"tls.crt", "tls.key", "ca.crt", "ca2.crt", "crl.pem"} {
			t.Run(name+"/"+file, func(t *testing.T) {
				files := pairFiles(servers.Server("a.test"), people)
				files["crl.pem"] = people.CRL(time.Now().Add(time.Hour))
				files["ca2.crt"] = others.PEM()
				dir := t.TempDir()
				path := func(name string) string { return filepath.Join(dir, name) }
				for name, data := range files {
					require.NoError(t, os.WriteFile(path(name), data, 0o600))
				}
				store := must(ssl.NewStore(nil))
				var failed failures
				w := watch(t, store, &ssl.WatchOptions{Failed: failed.add}, ssl.FileConfig{
					Config:   ssl.Config{ID: "1", Names: []string{"a.test"}, Client: &ssl.ClientAuth{}},
					KeyPairs: []ssl.KeyPairFiles{{Cert: path("tls.crt"), Key: path("tls.key")}},
					CAs:      []string{path("ca.crt"), path("ca2.crt")}, CRLs: []string{path("crl.pem")},
				})
				before := store.Table().Lookup("a.test")
				require.NoError(t, c.damage(path(file)))
				for range 3 {
					require.ErrorContains(t, w.Check(), c.want)
				}
				require.Len(t, failed.since(), 1)
				require.Same(t, before, store.Table().Lookup("a.test"))

				require.NoError(t, os.RemoveAll(path(file)))
				require.NoError(t, os.WriteFile(path("new"), files[file], 0o600))
				require.NoError(t, os.Rename(path("new"), path(file)))
				require.NoError(t, w.Check())
				require.Empty(t, failed.since())
				require.NotSame(t, before, store.Table().Lookup("a.test"))
			})
		}
	}
}

// What failed is tried again though the files look the same: the reason may have
// gone that no file shows.
func TestWatchTriesAgain(t *testing.T) {
	m := newMount(t, pairFiles(ssltest.NewCA(t, "servers").Server("a.test"), nil))
	store := must(ssl.NewStore(nil))
	var refuse error
	put := func(configs ...ssl.Config) (ssl.Report, error) {
		if refuse != nil {
			return ssl.Report{}, refuse
		}
		return store.Put(configs...)
	}
	var failed failures
	w, err := ssl.Watch(put, &ssl.WatchOptions{Interval: time.Hour, Failed: failed.add}, m.config("1", "a.test"))
	require.NoError(t, err)
	t.Cleanup(w.Close)
	before := store.Table().Lookup("a.test")
	m.swap(pairFiles(ssltest.NewCA(t, "servers").Server("a.test"), nil))
	refuse = errors.New("too many open files")
	for range 3 {
		require.ErrorIs(t, w.Check(), refuse)
	}
	require.Len(t, failed.since(), 1)
	refuse = errors.New("something else")
	require.ErrorIs(t, w.Check(), refuse)
	require.Len(t, failed.since(), 1, "another error is news")
	refuse = nil
	require.NoError(t, w.Check())
	require.NotSame(t, before, store.Table().Lookup("a.test"))
}

// What the program does wrong in put or Failed is a failure like any other, and does not end
// the process.
func TestWatchPanics(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	m := newMount(t, pairFiles(ca.Server("a.test"), nil))
	renew := func() { m.swap(pairFiles(ca.Server("a.test"), nil)) }
	_, err := ssl.Watch(func(...ssl.Config) (ssl.Report, error) { panic("a fault") }, nil, m.config("1", "a.test"))
	require.EqualError(t, err, "ssl: put panicked: a fault")
	synctest.Test(t, func(t *testing.T) {
		store := must(ssl.NewStore(nil))
		var log bytes.Buffer
		var told failures
		var panics atomic.Bool
		w, err := ssl.Watch(func(configs ...ssl.Config) (ssl.Report, error) {
			if panics.Load() {
				panic("a fault")
			}
			return store.Put(configs...)
		}, &ssl.WatchOptions{
			Interval: time.Minute, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			Failed: func(id string, err error) {
				told.add(id, err)
				panic("another")
			},
		}, m.config("1", "a.test"))
		require.NoError(t, err)
		first := store.Table().Get("1")
		synctest.Wait()
		panics.Store(true)
		renew()
		time.Sleep(3*time.Minute + time.Second) // of the bubble's clock
		synctest.Wait()
		require.Equal(t, []string{"1: ssl: put panicked: a fault"}, told.since(), "once")
		require.Contains(t, log.String(), `msg="Failed panicked" profile=1 panic=another`)
		require.Same(t, first, store.Table().Get("1"))
		require.EqualError(t, w.Check(), "ssl: put panicked: a fault")
		panics.Store(false)
		require.NoError(t, w.Check())
		require.NotSame(t, first, store.Table().Get("1"))
		w.Close()
	})
}

// So is a logger that panics, whatever it is told.
func TestWatchLoggerPanics(t *testing.T) {
	ca := ssltest.NewCA(t, "root")
	m := newMount(t, pairFiles(ca.Server("a.test"), nil))
	synctest.Test(t, func(t *testing.T) {
		store := must(ssl.NewStore(nil))
		w, err := ssl.Watch(store.Put, &ssl.WatchOptions{
			Interval: time.Minute, Logger: slog.New(brokenHandler{}), Failed: func(string, error) { panic("another") },
		}, m.config("1", "a.test"))
		require.NoError(t, err)
		defer w.Close()
		for range 2 {
			before := store.Table().Get("1")
			m.swap(map[string][]byte{"tls.crt": []byte("nothing"), "tls.key": []byte("nothing")})
			time.Sleep(3 * time.Minute) // of the bubble's clock
			synctest.Wait()
			require.Same(t, before, store.Table().Get("1"))
			m.swap(pairFiles(ca.Server("a.test"), nil))
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			require.NotSame(t, before, store.Table().Get("1"))
		}
	})
}

// The clock looks by itself, until Close.
func TestWatchTicks(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	first, second, third := servers.Server("a.test"), servers.Server("a.test"), servers.Server("a.test")
	for name, interval := range map[string]time.Duration{"default": 0, "own": time.Minute, "negative": -1} {
		m := newMount(t, pairFiles(first, nil))
		synctest.Test(t, func(t *testing.T) {
			store := must(ssl.NewStore(nil))
			w, err := ssl.Watch(store.Put, &ssl.WatchOptions{Interval: interval}, m.config("1", "a.test"))
			require.NoError(t, err)
			before := store.Table().Lookup("a.test")
			period := interval
			if period <= 0 {
				period = 10 * time.Second
			}
			wait := func(d time.Duration) {
				timer := time.NewTimer(d)
				<-timer.C
				synctest.Wait()
			}
			wait(5 * period)
			require.Same(t, before, store.Table().Lookup("a.test"), name)
			m.swap(pairFiles(second, nil))
			wait(period - time.Millisecond)
			require.Same(t, before, store.Table().Lookup("a.test"), name)
			wait(2 * time.Millisecond)
			after := store.Table().Lookup("a.test")
			require.NotSame(t, before, after, name)

			w.Close()
			w.Close()
			m.swap(pairFiles(third, nil))
			wait(5 * period)
			require.Same(t, after, store.Table().Lookup("a.test"), name)
		})
	}
}

// A file that changes twice in a moment may look the same after the second time. It
// is read once more, and put only if it is another.
func TestWatchTwoChangesAtOneTime(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	first := servers.Server("a.test")
	second := servers.Server("a.test")
	for len(second.CertPEM) != len(first.CertPEM) { // the length of a signature varies
		second = servers.Server("a.test")
	}
	require.Len(t, second.KeyPEM, len(first.KeyPEM))
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	write := func(pair ssl.KeyPair, changed time.Time) {
		for name, data := range map[string][]byte{cert: pair.CertPEM, key: pair.KeyPEM} {
			require.NoError(t, os.WriteFile(name, data, 0o600))
			require.NoError(t, os.Chtimes(name, changed, changed))
		}
	}
	for _, c := range []struct {
		name    string
		changed time.Time
		noticed bool
	}{
		{"now", time.Now(), true},
		{"ahead of our clock", time.Now().Add(time.Hour), true},
		{"long ago", time.Now().Add(-time.Hour), false}, // not what a clock does
	} {
		t.Run(c.name, func(t *testing.T) {
			write(first, c.changed)
			store := must(ssl.NewStore(nil))
			puts := 0
			put := func(configs ...ssl.Config) (ssl.Report, error) {
				puts++
				return store.Put(configs...)
			}
			w, err := ssl.Watch(put, &ssl.WatchOptions{Interval: time.Hour}, ssl.FileConfig{
				Config:   ssl.Config{ID: "1", Names: []string{"a.test"}},
				KeyPairs: []ssl.KeyPairFiles{{Cert: cert, Key: key}},
			})
			require.NoError(t, err)
			t.Cleanup(w.Close)
			for range 3 {
				require.NoError(t, w.Check())
			}
			require.Equal(t, 1, puts)
			before := store.Table().Lookup("a.test")
			write(second, c.changed)
			for range 3 {
				require.NoError(t, w.Check())
			}
			require.Equal(t, c.noticed, puts == 2)
			require.Equal(t, c.noticed, before != store.Table().Lookup("a.test"))
		})
	}
}

// At first all must be right, and all that is wrong is told.
func TestWatchErrors(t *testing.T) {
	m := newMount(t, pairFiles(ssltest.NewCA(t, "servers").Server("a.test"), nil))
	store := must(ssl.NewStore(nil))
	good := m.config("1", "a.test")
	missing := good
	missing.ID, missing.KeyPairs = "2", []ssl.KeyPairFiles{{Cert: m.path("nothing.crt"), Key: m.path("nothing.key")}}
	clientless := good
	clientless.ID, clientless.CAs = "3", []string{m.path("tls.crt")}
	_, err := ssl.Watch(nil, nil, good)
	require.EqualError(t, err, "ssl: Watch: put is nil: give Store.Put or PutProfiles of a gateway.Server")
	_, err = ssl.Watch(store.Put, nil, good, missing, clientless)
	for _, text := range []string{`ssl: profile "2": stat ` + m.path("nothing.crt"), m.path("nothing.key"), `ssl: profile "3": Client: is nil, but there are files for it`} {
		require.ErrorContains(t, err, text)
	}
	require.ErrorIs(t, err, os.ErrNotExist)
	var c *ssl.ConfigError
	require.ErrorAs(t, err, &c)
	require.Equal(t, "Client", c.Field)
	nameless := good
	nameless.Names = nil
	_, err = ssl.Watch(store.Put, nil, nameless)
	require.ErrorContains(t, err, "Names: at least one is required")
	_, err = ssl.Watch(store.Put, nil, good, good)
	require.ErrorContains(t, err, "stands twice")
	require.Nil(t, store.Table().Lookup("a.test"), "all or nothing")
}

// Load adds what the files hold to what is written, and changes nothing of that.
func TestFileConfigLoad(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	written, filed := servers.Server("a.test"), servers.Server("a.test")
	files := pairFiles(filed, others)
	files["crl.pem"] = people.CRL(time.Now().Add(time.Hour))
	m := newMount(t, files)
	f := m.config("1", "a.test")
	f.Certificates = make([]ssl.KeyPair, 1, 8)
	f.Certificates[0] = written
	ownCRL := others.CRL(time.Now().Add(time.Hour))
	// Without a line break at its end.
	own := bytes.TrimSpace(people.PEM())
	f.Client = &ssl.ClientAuth{CAPEM: own, CRLs: append(make([][]byte, 0, 8), ownCRL), Depth: 3}
	f.CRLs = []string{m.path("crl.pem")}
	for range 2 {
		c, err := f.Load()
		require.NoError(t, err)
		require.Equal(t, []ssl.KeyPair{written, filed}, c.Certificates)
		require.Equal(t, [][]byte{ownCRL, files["crl.pem"]}, c.Client.CRLs)
		require.Equal(t, 3, c.Client.Depth)
		p := profile(t, c)
		for _, ca := range []*ssltest.CA{people, others} {
			alice := ca.Client("alice")
			_, err := ssl.VerifyClient(p, parseAll(t, alice), time.Now())
			require.NoError(t, err)
		}
	}
	require.Len(t, f.Certificates, 1)
	require.Equal(t, own, f.Client.CAPEM)
	require.Len(t, f.Client.CRLs, 1)
	require.Empty(t, f.Certificates[:2][1].CertPEM, "nothing is written behind the end of the caller's slice")
}

// What is put is of one state of the files, however often they change.
func TestWatchIsNotTorn(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	var cas []*ssltest.CA
	var states []map[string][]byte
	for i := range 4 {
		ca := ssltest.NewCA(t, fmt.Sprint(i))
		cas = append(cas, ca)
		states = append(states, pairFiles(servers.Server("a.test"), ca))
	}
	m := newMount(t, states[0])
	store := must(ssl.NewStore(nil))
	puts := 0
	put := func(configs ...ssl.Config) (ssl.Report, error) {
		puts++
		state := slices.IndexFunc(states, func(s map[string][]byte) bool {
			return bytes.Equal(s["tls.crt"], configs[0].Certificates[0].CertPEM)
		})
		require.GreaterOrEqual(t, state, 0)
		require.Equal(t, bytes.TrimSpace(cas[state].PEM()), bytes.TrimSpace(configs[0].Client.CAPEM))
		return store.Put(configs...)
	}
	w, err := ssl.Watch(put, &ssl.WatchOptions{Interval: time.Hour}, m.config("1", "a.test"))
	require.NoError(t, err)
	t.Cleanup(w.Close)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 300 {
			m.swap(states[i%len(states)])
		}
	}()
	for swapping := true; swapping; {
		select {
		case <-done:
			swapping = false
		default:
		}
		_ = w.Check() // it may not come to rest meanwhile
	}
	require.NoError(t, w.Check())
	require.Greater(t, puts, 1)
}

// Handshakes go on while files change: each sees a certificate that was put.
func TestWatchAndHandshakes(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	pairs := []ssl.KeyPair{servers.Server("a.test"), servers.Server("a.test")}
	m := newMount(t, pairFiles(pairs[0], nil))
	store := must(ssl.NewStore(nil))
	w := watch(t, store, nil, m.config("1", "a.test"))
	s := serveTLS(t, store.TLSConfig())
	ctx, cancel := context.WithCancel(t.Context())
	var swapping sync.WaitGroup
	swapping.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			m.swap(pairFiles(pairs[i%2], nil))
			if err := w.Check(); err != nil {
				panic(err)
			}
		}
	})
	known := [][]byte{parseCert(t, pairs[0].CertPEM).Raw, parseCert(t, pairs[1].CertPEM).Raw}
	for range 20 {
		require.Contains(t, known, shown(t, s, "a.test"))
	}
	cancel()
	swapping.Wait()
}

func parseAll(t testing.TB, cert tls.Certificate) (all []*x509.Certificate) {
	t.Helper()
	for _, der := range cert.Certificate {
		all = append(all, parseCert(t, certPEM(der)))
	}
	return all
}

// An error names the files that it is about, and no others; what is written in the Config
// itself comes before them.
func TestWatchNamesFiles(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	good, other := servers.Server("a.test"), servers.Server("a.test")
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		return path
	}
	crt, key, ca := write("crt", good.CertPEM), write("key", good.KeyPEM), write("ca", people.PEM())
	crl, bad := write("crl", people.CRL(time.Now().Add(time.Hour))), write("bad", []byte("bad"))
	another := write("another", other.KeyPEM)
	for name, c := range map[string]struct {
		pairs     []ssl.KeyPairFiles
		cas, crls []string
		want      string
	}{
		"certificate":      {[]ssl.KeyPairFiles{{Cert: crt, Key: key}, {Cert: bad, Key: key}}, []string{ca}, nil, " (in " + bad + ")"},
		"key":              {[]ssl.KeyPairFiles{{Cert: crt, Key: another}}, []string{ca}, nil, " (in " + another + ")"},
		"revocation lists": {[]ssl.KeyPairFiles{{Cert: crt, Key: key}}, []string{ca}, []string{crl, bad}, " (in " + bad + ")"},
		"CAs":              {[]ssl.KeyPairFiles{{Cert: crt, Key: key}}, []string{bad}, nil, " (in " + bad + ")"},
		"several":          {[]ssl.KeyPairFiles{{Cert: crt, Key: another}}, []string{bad}, nil, " (in " + another + ", " + bad + ")"},
		"none":             {nil, []string{ca}, nil, ": Certificates[0].KeyPEM: is not the key of the certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			config := ssl.Config{
				ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{good},
				Client: &ssl.ClientAuth{CRLs: [][]byte{people.CRL(time.Now().Add(time.Hour))}},
			}
			if c.pairs == nil {
				config.Certificates[0].KeyPEM = other.KeyPEM
			}
			_, err := ssl.Watch(newStore(t, nil).Put, nil, ssl.FileConfig{Config: config, KeyPairs: c.pairs, CAs: c.cas, CRLs: c.crls})
			require.Error(t, err)
			require.True(t, strings.HasSuffix(err.Error(), c.want), err)
			var fault *ssl.ConfigError
			require.ErrorAs(t, err, &fault)
		})
	}
}
