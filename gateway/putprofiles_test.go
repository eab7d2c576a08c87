package gateway_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// replacePair replaces the files of a certificate, as a mount or certbot does.
func replacePair(dir string, pair ssl.KeyPair) {
	for name, data := range map[string][]byte{"tls.crt": pair.CertPEM, "tls.key": pair.KeyPEM} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path+".new", data, 0o600), os.Rename(path+".new", path)); err != nil {
			panic(err)
		}
	}
}

func pairIn(dir string) []ssl.KeyPairFiles {
	return []ssl.KeyPairFiles{{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}}
}

// Certificates from files that somebody replaces.
func ExampleServer_PutProfiles() {
	t := &testing.T{} // certificates for an example; yours come from files
	ca := ssltest.NewCA(t, "servers")
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	replacePair(dir, ca.Server("a.test"))

	gw, err := gateway.New(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gw.Close()
	watcher, err := ssl.Watch(gw.PutProfiles, nil, ssl.FileConfig{
		Config:   ssl.Config{ID: "1", Names: []string{"a.test"}},
		KeyPairs: pairIn(dir),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer watcher.Close()

	first := gw.Profiles().Lookup("a.test")
	replacePair(dir, ca.Server("a.test")) // seen within ten seconds
	fmt.Println(watcher.Check())          // or now, on SIGHUP for instance
	fmt.Println("replaced:", gw.Profiles().Lookup("a.test") != first)
	// Output:
	// <nil>
	// replaced: true
}

// A gateway tells what a Store tells of the same profiles, and nothing is lost on the way.
func TestPutProfiles(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	pair := servers.ServerWith([]string{"a.test"}, ssltest.Until(time.Now().Add(time.Hour)))
	strict := ssl.Config{ID: "1", Names: []string{"a.test", "127.0.0.1"}, Certificates: []ssl.KeyPair{pair}, Client: &ssl.ClientAuth{CAPEM: people.PEM()}}
	open := strict
	open.Client = nil
	store, gw := must(ssl.NewStore(nil)), must(gateway.New(nil))
	defer gw.Close()
	for _, configs := range [][]ssl.Config{{strict}, {open}, {}, {strict, open}, {{ID: "2"}}} {
		want, refused := store.Put(configs...)
		got, err := gw.PutProfiles(configs...)
		require.Equal(t, want, got)
		if refused == nil {
			require.NoError(t, err)
		} else {
			require.EqualError(t, err, refused.Error())
		}
	}
	require.Equal(t, "1", gw.Profiles().Lookup("a.test").ID())

	// The Watcher logs it.
	dir := t.TempDir()
	replacePair(dir, pair)
	var log bytes.Buffer
	watcher, err := ssl.Watch(gw.PutProfiles, &ssl.WatchOptions{Interval: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))}, ssl.FileConfig{
		Config:   ssl.Config{ID: "files", Names: []string{"10.0.0.1"}},
		KeyPairs: pairIn(dir),
	})
	require.NoError(t, err)
	watcher.Close()
	require.Contains(t, log.String(), "the server name 10.0.0.1 is an IP address")
}
