package ssl_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A door is a store behind its own listener: what becomes of each handshake is
// known with its reason.
type door struct {
	net.Listener
	store   *ssl.Store
	results chan passage
}

// A passage is a handshake that is over: a state, or why it failed.
type passage struct {
	state tls.ConnectionState
	err   *ssl.HandshakeError
}

func newDoor(t testing.TB, o *ssl.Options, configs ...ssl.Config) *door {
	t.Helper()
	d := &door{results: make(chan passage, 64)}
	if o == nil {
		o = &ssl.Options{}
	}
	o.Trace = &ssl.Trace{
		HandshakeDone: func(e *ssl.HandshakeEvent) {
			if e.Err != nil {
				d.results <- passage{err: e.Err}
			} else {
				d.results <- passage{state: *e.State}
			}
		},
	}
	d.store = newStore(t, o, configs...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d.Listener = d.store.Listener(l)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := d.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				_, _ = c.Write([]byte("x"))
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		d.Close()
		running.Wait()
	})
	return d
}

func (d *door) visit(t testing.TB, config *tls.Config) (client side, server passage) {
	t.Helper()
	client = handshake(t, d.Addr(), config)
	return client, <-d.results
}

// An authority makes the revocation lists that [ssltest.CA.CRL] does not: each
// field may be wrong.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, parent *authority, template *x509.Certificate) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return keyedAuthority(t, parent, template, key)
}

func keyedAuthority(t testing.TB, parent *authority, template *x509.Certificate, key *ecdsa.PrivateKey) *authority {
	t.Helper()
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<60))
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(24*time.Hour)
	template.BasicConstraintsValid = true
	issuer, signer := template, key
	if parent != nil {
		issuer, signer = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, issuer, key.Public(), signer)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{t, cert, key}
}

func ca(commonName string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, IsCA: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
}

func leaf(commonName string) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{CommonName: commonName}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

func (a *authority) pem() []byte { return certPEM(a.cert.Raw) }

// pair is the certificate as a client shows it, with what stands between it and
// the root.
func (a *authority) pair(intermediates ...*authority) tls.Certificate {
	pair := tls.Certificate{Certificate: [][]byte{a.cert.Raw}, PrivateKey: a.key, Leaf: a.cert}
	for _, i := range intermediates {
		pair.Certificate = append(pair.Certificate, i.cert.Raw)
	}
	return pair
}

func (a *authority) crl(list x509.RevocationList, revoked ...*x509.Certificate) []byte {
	a.t.Helper()
	if list.Number == nil {
		list.Number = big.NewInt(1)
	}
	if list.ThisUpdate.IsZero() {
		list.ThisUpdate = time.Now().Add(-time.Hour)
	}
	if list.NextUpdate.IsZero() {
		list.NextUpdate = time.Now().Add(time.Hour)
	}
	for _, c := range revoked {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: c.SerialNumber, RevocationTime: list.ThisUpdate,
		})
	}
	der, err := x509.CreateRevocationList(rand.Reader, &list, a.cert, a.key)
	require.NoError(a.t, err)
	return der
}

func crlPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

// Which chains are taken with which lists.
func TestCRL(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	middle := newAuthority(t, root, ca("middle"))
	deep, direct := newAuthority(t, middle, leaf("deep")), newAuthority(t, root, leaf("direct"))
	stranger := newAuthority(t, nil, ca("stranger"))
	namesake := newAuthority(t, nil, ca("middle")) // the name of middle, another key
	noSign := ca("silent")
	noSign.KeyUsage = x509.KeyUsageCertSign
	silent := newAuthority(t, root, noSign) // must not sign lists
	mute := newAuthority(t, silent, leaf("mute"))
	chained, alone := deep.pair(middle), direct.pair()

	list := x509.RevocationList{}
	old := x509.RevocationList{ThisUpdate: time.Now().Add(-3 * time.Hour)}
	stale := x509.RevocationList{ThisUpdate: time.Now().Add(-3 * time.Hour), NextUpdate: time.Now().Add(-time.Minute)}
	future := x509.RevocationList{ThisUpdate: time.Now().Add(30 * time.Minute)}
	numbered := func(n int64) x509.RevocationList {
		return x509.RevocationList{Number: big.NewInt(n), ThisUpdate: time.Now().Add(-time.Minute).Truncate(time.Minute)}
	}
	forged := middle.crl(list)
	forged[len(forged)-1] ^= 1
	full := append([][]byte{root.crl(list)}, middle.crl(list))

	for _, c := range []struct {
		name   string
		lists  [][]byte
		client tls.Certificate
		change func(*ssl.ClientAuth)
		taken  bool
	}{
		{"clean", full, chained, nil, true},
		{"clean, without intermediates", full, alone, nil, true},
		{"no lists at all", nil, chained, nil, true},
		{"leaf revoked", [][]byte{root.crl(list), middle.crl(list, deep.cert)}, chained, nil, false},
		{"leaf revoked by the root", [][]byte{root.crl(list, direct.cert)}, alone, nil, false},
		{"intermediate revoked", [][]byte{root.crl(list, middle.cert), middle.crl(list)}, chained, nil, false},
		{"another is revoked", [][]byte{root.crl(list, direct.cert), middle.crl(list, direct.cert)}, chained, nil, true},
		{"the serial of another issuer's list", [][]byte{root.crl(list, deep.cert), middle.crl(list)}, chained, nil, true},

		{"none of the intermediate", [][]byte{root.crl(list)}, chained, nil, false},
		{"none of the root", [][]byte{middle.crl(list)}, chained, nil, false},
		{"one of a stranger alone", [][]byte{stranger.crl(list)}, alone, nil, false},
		{"a namesake's", [][]byte{root.crl(list), namesake.crl(list)}, chained, nil, false},
		{"a namesake's that revokes", [][]byte{root.crl(list), middle.crl(list), namesake.crl(x509.RevocationList{Number: big.NewInt(9), ThisUpdate: time.Now()}, deep.cert)}, chained, nil, true},
		{"forged", [][]byte{root.crl(list), forged}, chained, nil, false},
		{"of a CA that must not sign lists", [][]byte{root.crl(list), silent.crlByForce(list)}, mute.pair(silent), nil, false},
		{"missing, let in", [][]byte{root.crl(list)}, chained, allowMissing, true},
		{"missing, expired let in", [][]byte{root.crl(list)}, chained, allowExpired, false},
		{"missing, but what there is revokes", [][]byte{root.crl(list, middle.cert)}, chained, allowMissing, false},
		{"forged, missing let in", [][]byte{root.crl(list), forged}, chained, allowMissing, true},

		{"expired", [][]byte{root.crl(list), middle.crl(stale)}, chained, nil, false},
		{"the root's expired", [][]byte{root.crl(stale), middle.crl(list)}, chained, nil, false},
		{"expired, let in", [][]byte{root.crl(stale), middle.crl(stale)}, chained, allowExpired, true},
		{"expired, missing let in", [][]byte{root.crl(list), middle.crl(stale)}, chained, allowMissing, false},
		{"expired, but it revokes", [][]byte{root.crl(list), middle.crl(stale, deep.cert)}, chained, allowExpired, false},
		{"not valid yet", [][]byte{root.crl(list), middle.crl(future)}, chained, nil, false},

		{"the newest counts: revoked", [][]byte{root.crl(list), middle.crl(list, deep.cert), middle.crl(old)}, chained, nil, false},
		{"the newest counts: revoked, the other order", [][]byte{root.crl(list), middle.crl(old), middle.crl(list, deep.cert)}, chained, nil, false},
		{"the newest counts: no longer on hold", [][]byte{root.crl(list), middle.crl(old, deep.cert), middle.crl(list)}, chained, nil, true},
		{"of one second: the number counts", [][]byte{root.crl(list), middle.crl(numbered(1)), middle.crl(numbered(2), deep.cert)}, chained, nil, false},
		{"of one second, the other order", [][]byte{root.crl(list), middle.crl(numbered(2), deep.cert), middle.crl(numbered(1))}, chained, nil, false},
		{"the newest is forged", [][]byte{root.crl(list), forged, middle.crl(old)}, chained, nil, true},

		{"all in one PEM", [][]byte{join([]byte("text before\n"), crlPEM(root.crl(list)), []byte("between\n"), crlPEM(middle.crl(list, deep.cert)))}, chained, nil, false},
		{"all in one PEM, clean", [][]byte{join(root.pem(), crlPEM(root.crl(list)), crlPEM(middle.crl(list)))}, chained, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, cached := range []bool{false, true} {
				forVersions(t, func(t *testing.T, version uint16, _ int) {
					auth := &ssl.ClientAuth{CAPEM: root.pem(), CRLs: c.lists, CacheVerified: cached}
					if c.change != nil {
						c.change(auth)
					}
					d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
					for range 2 { // the second time, what is cached is cached
						client, passage := d.visit(t, client(version, "a.test", c.client))
						if c.taken {
							require.NoError(t, client.err)
							require.Nil(t, passage.err)
							continue
						}
						require.Equal(t, badCertificate, alertOf(client.err))
						require.Equal(t, ssl.ReasonRevoked, passage.err.Reason)
						require.Equal(t, c.client.Leaf.Raw, passage.err.Certificate.Raw)
						require.Equal(t, "1", passage.err.Profile)
					}
				})
			}
		})
	}
}

func allowMissing(c *ssl.ClientAuth) { c.DangerouslyAllowMissingCRL = true }
func allowExpired(c *ssl.ClientAuth) { c.DangerouslyAllowExpiredCRL = true }

// crlByForce signs a list though the certificate does not allow it.
func (a *authority) crlByForce(list x509.RevocationList) []byte {
	able := *a.cert
	able.KeyUsage |= x509.KeyUsageCRLSign
	return (&authority{a.t, &able, a.key}).crl(list)
}

// An intermediate among the CAs is looked up, and expires, like one that a client
// sends: OpenSSL goes on to the root.
func TestCRLOfAnchors(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	middle := newAuthority(t, root, ca("middle"))
	client := newAuthority(t, middle, leaf("deep")).pair()
	list := x509.RevocationList{}
	bundle := join(middle.pem(), root.pem())
	for _, c := range []struct {
		name    string
		lists   [][]byte
		cas     []byte
		partial bool
		taken   bool
	}{
		{"clean", [][]byte{root.crl(list), middle.crl(list)}, bundle, false, true},
		{"revoked", [][]byte{root.crl(list, middle.cert), middle.crl(list)}, bundle, false, false},
		{"root's list missing", [][]byte{middle.crl(list)}, bundle, false, false},
		{"root unknown: nobody could revoke it", [][]byte{middle.crl(list)}, middle.pem(), true, true},
		{"revoked, though it would do alone", [][]byte{root.crl(list, middle.cert), middle.crl(list)}, bundle, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: c.cas, CRLs: c.lists, DangerouslyAllowIntermediateAnchors: c.partial}, "a.test"))
			_, passage := d.visit(t, ssltest.ClientConfig("a.test", client))
			if !c.taken {
				require.NotNil(t, passage.err)
				require.Equal(t, ssl.ReasonRevoked, passage.err.Reason)
				return
			}
			require.Nil(t, passage.err)
			identity, err := d.store.Judge(d.store.Table(), &passage.state, "a.test", "/")
			require.NoError(t, err)
			want := 3
			if c.partial {
				want = 2
			}
			require.Len(t, identity.Chain(), want)
		})
	}
}

// The root above an intermediate of the bundle ends what it signed, unless there is
// another way.
func TestAnchorsBelowAnExpiredRoot(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	old, renewed := keyedAuthority(t, nil, ca("root"), key), keyedAuthority(t, nil, ca("root"), key)
	middle := newAuthority(t, renewed, ca("middle"))
	short := ca("short")
	short.MaxPathLenZero = true // no CA below it
	shortRoot := newAuthority(t, nil, short)
	under := newAuthority(t, shortRoot, ca("under"))

	clock := newClock()
	o := func() *ssl.Options { return &ssl.Options{Base: &tls.Config{Time: clock.Now}} }
	expiring := ssltest.NewCA(t, "expiring", ssltest.Until(time.Now().Add(time.Hour)))
	below := expiring.Intermediate("below")
	d := newDoor(t, o(), server(servers, "1", &ssl.ClientAuth{CAPEM: join(below.PEM(), expiring.PEM())}, "a.test"))
	alice := below.Client("alice")
	_, passage := d.visit(t, ssltest.ClientConfig("a.test", alice))
	require.Nil(t, passage.err)
	state := passage.state
	clock.Set(time.Now().Add(2 * time.Hour))
	_, passage = d.visit(t, ssltest.ClientConfig("a.test", alice))
	require.NotNil(t, passage.err)
	require.Equal(t, ssl.ReasonExpired, passage.err.Reason)
	_, err = d.store.Judge(d.store.Table(), &state, "a.test", "/")
	require.Error(t, err, "the connection that was open")

	// Two roots with one key, for a renewal: either will do.
	clock.Set(time.Now())
	d = newDoor(t, o(), server(servers, "1", &ssl.ClientAuth{CAPEM: join(old.pem(), middle.pem(), renewed.pem()), CRLs: [][]byte{old.crl(x509.RevocationList{}), middle.crl(x509.RevocationList{})}}, "a.test"))
	_, passage = d.visit(t, ssltest.ClientConfig("a.test", newAuthority(t, middle, leaf("bob")).pair()))
	require.Nil(t, passage.err)

	// The root's own limit of depth holds too.
	d = newDoor(t, o(), server(servers, "1", &ssl.ClientAuth{CAPEM: join(under.pem(), shortRoot.pem())}, "a.test"))
	client, passage := d.visit(t, ssltest.ClientConfig("a.test", newAuthority(t, under, leaf("carol")).pair()))
	require.NotNil(t, passage.err)
	require.Equal(t, ssl.ReasonDepth, passage.err.Reason)
	require.Equal(t, unknownCA, alertOf(client.err))
}

// A client that is revoked is out: at its next handshake, with the session that it
// has, and on the connection that is open.
func TestRevokedMeanwhile(t *testing.T) {
	servers, people, others := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "others")
	middle := people.Intermediate("middle")
	alice := middle.Client("alice")
	next := time.Now().Add(time.Hour)
	clean := [][]byte{people.CRL(next), middle.CRL(next)}
	for name, revoked := range map[string][][]byte{
		"leaf":         {people.CRL(next), middle.CRL(next, alice.Leaf)},
		"intermediate": {people.CRL(next, middle.Certificate()), middle.CRL(next)},
	} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cached=%t", name, cached), func(t *testing.T) {
				forVersions(t, func(t *testing.T, version uint16, none int) {
					one := server(servers, "1", &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: clean, CacheVerified: cached}, "a.test")
					two := server(servers, "2", &ssl.ClientAuth{CAPEM: join(people.PEM(), others.PEM())}, "b.test")
					store := newStore(t, nil, one, two)
					s := serveTLS(t, store.TLSConfig())
					i := &intruder{t: t, version: version}
					_, alert, open := i.visit(s, "a.test", alice)
					require.Equal(t, noAlert, alert)
					resumed, alert, again := i.visit(s, "a.test")
					require.Equal(t, noAlert, alert)
					require.True(t, resumed)
					elsewhere := &intruder{t: t, version: version}
					elsewhere.visit(s, "b.test", alice)

					one.Client = &ssl.ClientAuth{CAPEM: people.PEM(), CRLs: revoked, CacheVerified: cached}
					put(t, store, one)

					i.cache.keep = true
					resumed, alert, _ = i.visit(s, "a.test")
					require.False(t, resumed)
					require.Equal(t, none, alert, "the session alone opens nothing")
					_, alert, side := i.visit(s, "a.test", alice)
					require.Equal(t, badCertificate, alert)
					require.ErrorContains(t, side.err, "a CRL names a certificate of the chain")
					for _, state := range []*tls.ConnectionState{&open.state, &again.state} {
						_, err := store.Judge(store.Table(), state, "a.test", "/")
						require.Error(t, err)
						refusal := err.(*ssl.RequestError)
						require.Equal(t, http.StatusMisdirectedRequest, refusal.Status)
						require.True(t, refusal.Close)
					}

					// And nobody else's session ends.
					resumed, alert, _ = elsewhere.visit(s, "b.test")
					require.Equal(t, noAlert, alert)
					require.True(t, resumed)
				})
			})
		}
	}
}

// What was in order turns when the list should have a successor: for handshakes,
// for sessions, and for connections that are open. It turns too when a list comes
// into force that was there before.
func TestCRLInTime(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	alice := newAuthority(t, root, leaf("alice"))
	turn := time.Now().Add(time.Hour).Truncate(time.Second)
	ending := root.crl(x509.RevocationList{NextUpdate: turn})
	coming := root.crl(x509.RevocationList{ThisUpdate: turn.Add(time.Second), NextUpdate: turn.Add(2 * time.Hour)}, alice.cert)
	for _, c := range []struct {
		name   string
		lists  [][]byte
		change func(*ssl.ClientAuth)
		taken  bool // after the turn
	}{
		{"next update", [][]byte{ending}, nil, false},
		{"next update, expired let in", [][]byte{ending}, allowExpired, true},
		{"a list comes into force", [][]byte{root.crl(x509.RevocationList{NextUpdate: turn.Add(3 * time.Hour)}), coming}, nil, false},
		{"a list comes into force, expired let in", [][]byte{ending, coming}, allowExpired, false},
		{"the first list comes into force", [][]byte{coming}, allowMissing, false},
	} {
		for _, cached := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/cached=%t", c.name, cached), func(t *testing.T) {
				forVersions(t, func(t *testing.T, version uint16, _ int) {
					clock := newClock()
					auth := &ssl.ClientAuth{CAPEM: root.pem(), CRLs: c.lists, CacheVerified: cached}
					if c.change != nil {
						c.change(auth)
					}
					store := newStore(t, &ssl.Options{Base: &tls.Config{Time: clock.Now}}, server(servers, "1", auth, "a.test"))
					s := serveTLS(t, store.TLSConfig())
					i := &intruder{t: t, version: version}
					_, alert, open := i.visit(s, "a.test", alice.pair())
					require.Equal(t, noAlert, alert)
					i.cache.keep = true

					clock.Set(turn)
					_, err := store.Judge(store.Table(), &open.state, "a.test", "/")
					require.NoError(t, err, "the last second")
					resumed, _, _ := i.visit(s, "a.test", alice.pair())
					require.True(t, resumed)

					clock.Set(turn.Add(time.Second))
					_, err = store.Judge(store.Table(), &open.state, "a.test", "/")
					resumed, alert, _ = i.visit(s, "a.test", alice.pair())
					if c.taken {
						require.NoError(t, err)
						require.True(t, resumed)
						require.Equal(t, noAlert, alert)
						return
					}
					require.Error(t, err)
					require.False(t, resumed)
					require.Equal(t, badCertificate, alert)
				})
			})
		}
	}
}

// Two certificates of one CA with one key, of which one must not sign lists: a
// client that comes with that one spoils nothing for the others.
func TestCRLIsCheckedWithCertificates(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	middle := newAuthority(t, root, ca("middle"))
	noSign := ca("middle")
	noSign.KeyUsage = x509.KeyUsageCertSign
	unable := keyedAuthority(t, root, noSign, middle.key)
	list := x509.RevocationList{}
	d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{root.crl(list), middle.crl(list)}}, "a.test"))
	alice := newAuthority(t, middle, leaf("alice"))
	_, passage := d.visit(t, ssltest.ClientConfig("a.test", alice.pair(unable)))
	require.NotNil(t, passage.err)
	require.Equal(t, ssl.ReasonRevoked, passage.err.Reason)
	_, passage = d.visit(t, ssltest.ClientConfig("a.test", alice.pair(middle)))
	require.Nil(t, passage.err)
}

// What New refuses, and how it says so.
func TestCRLErrors(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	good := root.crl(x509.RevocationList{})
	extension := func(critical bool, id ...int) []byte {
		return root.crl(x509.RevocationList{ExtraExtensions: []pkix.Extension{{Id: id, Critical: critical, Value: []byte{0x02, 0x01, 0x01}}}})
	}
	indirect := root.crl(x509.RevocationList{RevokedCertificateEntries: []x509.RevocationListEntry{
		{SerialNumber: big.NewInt(7), RevocationTime: time.Now()},
		{SerialNumber: big.NewInt(8), RevocationTime: time.Now(), ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}}},
	}})
	broken := bytes.Replace(crlPEM(good), []byte("\n"), []byte("\n!!"), 2)
	for _, c := range []struct {
		name string
		data []byte
		text string
	}{
		{"empty", nil, "is empty"},
		{"blank", []byte(" \n"), "is empty"},
		{"text", []byte("hello"), "is neither DER nor PEM"},
		{"the first byte of DER", []byte("0"), "is neither DER nor PEM"},
		{"garbage in DER", []byte{0x30, 0x82, 0xff, 0xff, 1, 2, 3}, "list 1: x509: malformed crl"},
		{"DER cut off", good[:len(good)-1], "list 1: x509: malformed crl"},
		{"two in DER, one after the other", join(good, good), "list 1: " + fmt.Sprint(len(good)) + " bytes follow it"},
		{"PEM cut off", crlPEM(good)[:100], "not readable as PEM from block 1 on"},
		{"the second of three broken", join(crlPEM(good), broken, crlPEM(good)), "not readable as PEM from block 2 on"},
		{"PEM of a certificate", root.pem(), `has no "X509 CRL" block`},
		{"a certificate in DER", root.cert.Raw, "list 1: x509: "},
		{"bytes after a list in PEM", crlPEM(join(good, []byte("x"))), "list 1: 1 bytes follow it"},
		{"too many blocks", bytes.Repeat([]byte("-----BEGIN X-----\n-----END X-----\n"), 1001), "more than 1000 PEM blocks"},
		{"too large", make([]byte, 64<<20+1), "67108865 bytes, more than 67108864"},
		{"a delta", extension(true, 2, 5, 29, 27), "is a delta of another list"},
		{"a delta, not marked critical", extension(false, 2, 5, 29, 27), "is a delta of another list"},
		{"an issuing distribution point that is none", extension(true, 2, 5, 29, 28), "its issuing distribution point (RFC 5280, section 5.2.5) cannot be read"},
		{"the same, not marked critical", extension(false, 2, 5, 29, 28), "its issuing distribution point (RFC 5280, section 5.2.5) cannot be read"},
		{"an issuing distribution point with bytes behind it", root.crl(scoped(onlyUsers, []byte{0, 0})), "cannot be read"},
		{"indirect", root.crl(scoped(indirectly)), "says that it is an indirect list"},
		{"of some reasons", root.crl(scoped(someReasons)), "says that it is for some reasons of revocation only"},
		{"of attribute certificates", root.crl(scoped(onlyAttrs)), "says that it is for attribute certificates"},
		{"for nobody", root.crl(scoped(onlyUsers, onlyCAs)), "says that it is for no certificate"},
		{"a relative name", root.crl(scoped(relative)), "names where it is published relative to its issuer"},
		{"an unknown critical extension", extension(true, 1, 2, 3), "has the critical extension 1.2.3"},
		{"an entry of another issuer", indirect, "list 1: its entry 2 has the critical extension 2.5.29.29, which is not supported"},
		{"no next update", withoutNextUpdate(t, root), "has no next update"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{good, c.data}}, "a.test")
			_, err := ssl.New(config)
			faults := configErrors(t, err)
			require.Len(t, faults, 1)
			require.Equal(t, "Client.CRLs[1]", faults[0].Field)
			require.ErrorContains(t, faults[0], c.text)

			// The one in force stays.
			config.Client.CRLs = [][]byte{good}
			store := newStore(t, nil, config)
			before := store.Table().Lookup("a.test")
			config.Client = &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{c.data}}
			_, err = store.Put(config)
			require.Error(t, err)
			require.Same(t, before, store.Table().Lookup("a.test"))
		})
	}
	// An extension that is not critical says nothing that must be known.
	profile(t, server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{extension(false, 1, 2, 3)}}, "a.test"))
}

// A profile never changes, whatever becomes of the memory that its lists came in.
func TestCRLIsCopied(t *testing.T) {
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, ca("root"))
	mallory := newAuthority(t, root, leaf("mallory"))
	for name, list := range map[string][]byte{
		"DER": root.crl(x509.RevocationList{}, mallory.cert),
		"PEM": crlPEM(root.crl(x509.RevocationList{}, mallory.cert)),
	} {
		t.Run(name, func(t *testing.T) {
			d := newDoor(t, nil, server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{list}, DangerouslyAllowMissingCRL: true}, "a.test"))
			clear(list)
			_, passage := d.visit(t, ssltest.ClientConfig("a.test", mallory.pair()))
			require.NotNil(t, passage.err)
			require.Equal(t, ssl.ReasonRevoked, passage.err.Reason)
		})
	}
}

// withoutNextUpdate is a list that crypto/x509 would not make.
func withoutNextUpdate(t *testing.T, a *authority) []byte {
	type tbs struct {
		Version    int
		Algorithm  pkix.AlgorithmIdentifier
		Issuer     asn1.RawValue
		ThisUpdate time.Time
	}
	algorithm := pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}
	signed, err := asn1.Marshal(tbs{1, algorithm, asn1.RawValue{FullBytes: a.cert.RawSubject}, time.Now().Add(-time.Hour).UTC()})
	require.NoError(t, err)
	der, err := asn1.Marshal(struct {
		TBS       asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: signed}, algorithm, asn1.BitString{Bytes: make([]byte, 64), BitLength: 512}})
	require.NoError(t, err)
	_, err = x509.ParseRevocationList(der)
	require.NoError(t, err, "it must be well-formed otherwise")
	return der
}

// The CA of the how-to's is made by openssl without extensions. Its lists count.
func TestCRLOfOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	openssl := func(args ...string) {
		t.Helper()
		cmd := exec.Command("openssl", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	file := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return data
	}
	file("ca.conf", "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=1\ncrlnumber=crlnumber\nserial=serial\nnew_certs_dir=.\npolicy=p\ncertificate=ca.crt\nprivate_key=ca.key\n[p]\ncommonName=supplied\n")
	file("index.txt", "")
	file("crlnumber", "01\n")
	file("version1.conf", "[ca]\ndefault_ca=d\n[d]\ndatabase=index.txt\ndefault_md=sha256\ndefault_crl_days=1\ncertificate=ca.crt\nprivate_key=ca.key\n")
	openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "ca.key")
	openssl("req", "-new", "-key", "ca.key", "-subj", "/CN=ca", "-out", "ca.csr")
	openssl("x509", "-req", "-in", "ca.csr", "-signkey", "ca.key", "-days", "1", "-out", "ca.crt")
	for _, name := range []string{"good", "bad"} {
		openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", name+".key")
		openssl("req", "-new", "-key", name+".key", "-subj", "/CN="+name, "-out", name+".csr")
		openssl("x509", "-req", "-in", name+".csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "1", "-out", name+".crt")
	}
	openssl("ca", "-config", "ca.conf", "-revoke", "bad.crt")
	openssl("ca", "-config", "ca.conf", "-gencrl", "-out", "crl.pem")
	openssl("crl", "-in", "crl.pem", "-outform", "DER", "-out", "crl.der")

	// A list without a number is one of version 1, which crypto/x509 does not read.
	openssl("ca", "-config", "version1.conf", "-gencrl", "-out", "version1.pem")
	_, err := ssl.New(server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: read("ca.crt"), CRLs: [][]byte{read("version1.pem")}}, "a.test"))
	require.ErrorContains(t, err, "it must be version 2")

	for _, name := range []string{"crl.pem", "crl.der"} {
		d := newDoor(t, nil, server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: read("ca.crt"), CRLs: [][]byte{read(name)}}, "a.test"))
		for _, client := range []string{"good", "bad"} {
			cert, err := tls.X509KeyPair(read(client+".crt"), read(client+".key"))
			require.NoError(t, err)
			_, passage := d.visit(t, ssltest.ClientConfig("a.test", cert))
			if client == "good" {
				require.Nil(t, passage.err, name)
			} else {
				require.NotNil(t, passage.err, name)
				require.Equal(t, ssl.ReasonRevoked, passage.err.Reason)
			}
		}
	}
}

// A certificate says where its list, its issuer and its responder are. Nobody goes
// there: it would be the client that says whom this server calls.
func TestNothingIsFetched(t *testing.T) {
	called := make(chan string, 64)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			called <- c.RemoteAddr().String()
			c.Close()
		}
	})
	url := "http://" + l.Addr().String() + "/"
	points := func(c *x509.Certificate) *x509.Certificate {
		c.CRLDistributionPoints, c.IssuingCertificateURL, c.OCSPServer = []string{url}, []string{url}, []string{url}
		return c
	}
	servers := ssltest.NewCA(t, "servers")
	root := newAuthority(t, nil, points(ca("root")))
	middle := newAuthority(t, root, points(ca("middle")))
	alice := newAuthority(t, middle, points(leaf("alice")))
	for _, auth := range []*ssl.ClientAuth{
		{CAPEM: root.pem()},
		{CAPEM: root.pem(), CacheVerified: true},
		{CAPEM: root.pem(), CRLs: [][]byte{root.crl(x509.RevocationList{})}},
	} {
		d := newDoor(t, nil, server(servers, "1", auth, "a.test"))
		d.visit(t, ssltest.ClientConfig("a.test", alice.pair(middle)))
		d.visit(t, ssltest.ClientConfig("a.test", alice.pair())) // the intermediate is missing
	}
	l.Close()
	accepting.Wait()
	require.Empty(t, called)
}

func FuzzParseCRLs(f *testing.F) {
	root := newAuthority(f, nil, ca("root"))
	der := root.crl(x509.RevocationList{}, root.cert)
	for _, seed := range [][]byte{nil, der, crlPEM(der), join(crlPEM(der), crlPEM(der)), root.pem(), der[:20], []byte("-----BEGIN X509 CRL-----\n"), []byte("-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		lists, err := ssl.ParseCRLs(data)
		require.Equal(t, err == nil, len(lists) > 0)
		// Not one that is counted is lost.
		if n := bytes.Count(data, []byte("\n-----BEGIN X509 CRL-----\n")); err == nil && data[0] == '-' {
			require.GreaterOrEqual(t, len(lists), n)
		}
		for _, list := range lists {
			require.False(t, list.NextUpdate.IsZero())
		}
	})
}

// What a large list costs: to load it, to keep it, and to look a client up in it.
func BenchmarkCRL(b *testing.B) {
	root := newAuthority(b, nil, ca("root"))
	servers := ssltest.NewCA(b, "servers")
	for _, size := range []int{100, 10_000, 100_000} {
		list := x509.RevocationList{RevokedCertificateEntries: make([]x509.RevocationListEntry, size)}
		for i := range list.RevokedCertificateEntries {
			serial := new(big.Int).Lsh(big.NewInt(1), 120) // as long as those of public CAs
			list.RevokedCertificateEntries[i] = x509.RevocationListEntry{SerialNumber: serial.Add(serial, big.NewInt(int64(i))), RevocationTime: time.Now()}
		}
		der := root.crl(list)
		list.RevokedCertificateEntries = nil
		config := server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{der}}, "a.test")
		b.Run(fmt.Sprintf("load/entries=%d", size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(der)))
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			p := profile(b, config)
			runtime.GC()
			runtime.ReadMemStats(&after)
			for b.Loop() {
				profile(b, config)
			}
			runtime.KeepAlive(p)
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/float64(size), "live-B/entry")
		})
		b.Run(fmt.Sprintf("judge/entries=%d", size), func(b *testing.B) {
			alice := newAuthority(b, root, leaf("alice"))
			p := profile(b, config)
			chain := [][]*x509.Certificate{{alice.cert, root.cert}}
			b.ReportAllocs()
			for b.Loop() {
				if err := ssl.SatisfiedBy(p, chain, time.Now()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A list of 100 000 entries is taken, and names the first and the last.
func TestHugeCRL(t *testing.T) {
	root := newAuthority(t, nil, ca("root"))
	first, last, clean := newAuthority(t, root, leaf("first")), newAuthority(t, root, leaf("last")), newAuthority(t, root, leaf("clean"))
	list := x509.RevocationList{RevokedCertificateEntries: []x509.RevocationListEntry{{SerialNumber: first.cert.SerialNumber, RevocationTime: time.Now()}}}
	for i := range 100_000 {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(int64(i + 1)), RevocationTime: time.Now()})
	}
	p := profile(t, server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{root.crl(list, last.cert)}}, "a.test"))
	for _, c := range []*authority{first, last} {
		require.ErrorContains(t, ssl.SatisfiedBy(p, [][]*x509.Certificate{{c.cert, root.cert}}, time.Now()), "a CRL names")
	}
	require.NoError(t, ssl.SatisfiedBy(p, [][]*x509.Certificate{{clean.cert, root.cert}}, time.Now()))
	require.False(t, strings.Contains(fmt.Sprint(p), "list"))
}
