package ssl_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// While 8 writers replace the profiles, 8 clients connect. No connection and no
// request ever sees a certificate, a client CA and a policy that were not put
// together.
func TestNothingTorn(t *testing.T) {
	const writers, clients, generations = 8, 8, 6
	visits := 8
	if testing.Short() {
		visits = 5
	}
	// A generation has one name in all that it consists of.
	type generation struct {
		name    string
		configs []ssl.Config
		cert    tls.Certificate
	}
	byName := map[string]*generation{}
	var all []*generation
	for i := range generations {
		g := &generation{name: fmt.Sprintf("gen-%d", i)}
		ca := ssltest.NewCA(t, g.name)
		pair := ca.Server(g.name, "a.test", "b.test")
		g.cert = ca.Client(g.name)
		auth := &ssl.ClientAuth{CAPEM: ca.PEM(), Depth: i + 1}
		if i%3 == 0 {
			auth.SkipPaths = []string{"^/" + g.name + "$"}
		}
		if i%3 == 1 {
			auth.CacheVerified = true
		}
		for id, name := range map[string]string{"a": "a.test", "b": "b.test"} {
			g.configs = append(g.configs, ssl.Config{ID: id, Names: []string{name, g.name + "." + id + ".test"}, Certificates: []ssl.KeyPair{pair}, Client: auth})
		}
		byName[g.name], all = g, append(all, g)
	}
	of := func(p *ssl.Profile) string { return p.Names()[1][:len("gen-0")] }

	store := must(ssl.NewStore(nil))
	_, err := store.Put(all[0].configs...)
	require.NoError(t, err)
	handler := store.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity := ssl.FromContext(r.Context())
		chain := identity.Chain()
		_, _ = fmt.Fprintln(w, of(identity.Profile()), chain[0].Subject.CommonName, chain[len(chain)-1].Subject.CommonName)
	}))
	l := listen(t)
	web := &http.Server{Handler: handler, ErrorLog: silent}
	serve(t, web, func() error { return web.Serve(store.Listener(l)) })

	var stop atomic.Bool
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for !stop.Load() {
				g := all[rand.IntN(len(all))]
				if _, err := store.Put(g.configs...); err != nil {
					t.Error(err)
					return
				}
				// Both names of a change appear at once.
				table := store.Table()
				if a, b := table.Lookup("a.test"), table.Lookup("b.test"); of(a) != of(b) || table.Len() != 2 || table.Lookup(of(a)+".a.test") != a {
					t.Errorf("half a change: %s and %s", of(a), of(b))
					return
				}
			}
		})
	}
	var served, misdirected atomic.Int32
	var visiting sync.WaitGroup
	for range clients {
		visiting.Go(func() {
			for range visits {
				var asked string
				client := ssltest.Client(t, l, "a.test")
				transport := client.Transport.(*http.Transport)
				config := transport.TLSClientConfig
				config.GetClientCertificate = func(r *tls.CertificateRequestInfo) (*tls.Certificate, error) {
					var dn pkix.RDNSequence
					if _, err := asn1.Unmarshal(r.AcceptableCAs[0], &dn); err != nil {
						return nil, err
					}
					var name pkix.Name
					name.FillFromRDNSequence(&dn)
					asked = name.CommonName
					return &byName[asked].cert, nil
				}
				var shown *x509.Certificate
				config.VerifyConnection = func(cs tls.ConnectionState) error { shown = cs.PeerCertificates[0]; return nil }
				res, err := client.Get("https://a.test/")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				transport.CloseIdleConnections()
				if err != nil {
					t.Error(err)
					return
				}
				if shown.Subject.CommonName != asked {
					t.Errorf("the certificate of %s, the client CA of %s", shown.Subject.CommonName, asked)
				}
				switch want := fmt.Sprintln(asked, asked, asked); {
				case res.StatusCode == http.StatusOK && string(body) == want:
					served.Add(1)
				case res.StatusCode == http.StatusMisdirectedRequest, res.StatusCode == http.StatusBadRequest:
					misdirected.Add(1) // replaced between the handshake and the request
				default:
					t.Errorf("status %d, %q, want %q", res.StatusCode, body, want)
				}
			}
		})
	}
	visiting.Wait()
	stop.Store(true)
	writing.Wait()
	t.Logf("%d served, %d after the profile was replaced", served.Load(), misdirected.Load())
	require.EqualValues(t, clients*visits, served.Load()+misdirected.Load())
	require.NotZero(t, served.Load())
}
