package ssl_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// What extensions have in them, as RFC 5280 writes it.

func tagged(tag int, compound bool, parts ...[]byte) []byte {
	der, err := asn1.Marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: tag, IsCompound: compound, Bytes: join(parts...)})
	if err != nil {
		panic(err)
	}
	return der
}

func sequence(parts ...[]byte) []byte {
	der, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: join(parts...)})
	if err != nil {
		panic(err)
	}
	return der
}

func uri(s string) []byte { return tagged(6, false, []byte(s)) }

// at is the name of a point: the full name, of one or more.
func at(names ...[]byte) []byte { return tagged(0, true, tagged(0, true, names...)) }

var (
	yes         = []byte{0xff}
	onlyUsers   = tagged(1, false, yes)
	onlyCAs     = tagged(2, false, yes)
	someReasons = tagged(3, false, []byte{6, 0x40})
	indirectly  = tagged(4, false, yes)
	onlyAttrs   = tagged(5, false, yes)
	inPoint     = tagged(1, false, []byte{6, 0x40}) // some reasons, in a point of a certificate
	relative    = tagged(0, true, tagged(1, true, []byte{0x30, 0x0c, 6, 3, 0x55, 4, 3, 0x0c, 5, 'l', 'i', 's', 't', '1'}))
)

func scoped(parts ...[]byte) x509.RevocationList {
	return x509.RevocationList{ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 28}, Critical: true, Value: sequence(parts...)}}}
}

func pointed(template *x509.Certificate, points ...[]byte) *x509.Certificate {
	if points != nil {
		template.ExtraExtensions = append(template.ExtraExtensions, pkix.Extension{Id: []int{2, 5, 29, 31}, Value: sequence(points...)})
	}
	return template
}

// A list that is for a part of the certificates is one for these, and for no other: as
// OpenSSL has it.
func TestCRLScope(t *testing.T) {
	root := newAuthority(t, nil, ca("root"))
	a, b, c := uri("http://crl.test/a"), uri("http://crl.test/b"), tagged(4, true, root.cert.RawSubject)
	able := func() *x509.Certificate { // to be a client too
		able := ca("middle")
		able.KeyUsage |= x509.KeyUsageDigitalSignature
		return able
	}
	certs := map[string]*x509.Certificate{
		"no point":              leaf("x"),
		"a":                     pointed(leaf("x"), sequence(at(a))),
		"b":                     pointed(leaf("x"), sequence(at(b))),
		"b, then a":             pointed(leaf("x"), sequence(at(b)), sequence(at(a))),
		"a point of two names":  pointed(leaf("x"), sequence(at(b, a))),
		"a distinguished name":  pointed(leaf("x"), sequence(at(c))),
		"a, for some reasons":   pointed(leaf("x"), sequence(at(a), inPoint)),
		"a, of the issuer":      pointed(leaf("x"), sequence(at(a), tagged(2, true, c))),
		"a, of another issuer":  pointed(leaf("x"), sequence(at(a), tagged(2, true, tagged(4, true, leaf("y").RawSubject, sequence())))),
		"no name":               pointed(leaf("x"), sequence(tagged(2, true, c))),
		"a CA":                  able(),
		"a CA with a":           pointed(able(), sequence(at(a))),
		"a CA with a name of b": pointed(able(), sequence(at(b))),
	}
	scopes := map[string]x509.RevocationList{
		"all":                  {},
		"empty":                scoped(),
		"a":                    scoped(at(a)),
		"a or b":               scoped(at(a, b)),
		"a distinguished name": scoped(at(c)),
		"users":                scoped(onlyUsers),
		"CAs":                  scoped(onlyCAs),
		"users, a":             scoped(at(a), onlyUsers),
		"CAs, b":               scoped(at(b), onlyCAs),
	}
	own := map[string][]string{
		"a, for some reasons": {"all", "empty", "users"},
		"no name":             {"all", "empty", "users", "a distinguished name"},
	}
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		name = filepath.Join(dir, strings.Map(func(r rune) rune {
			if r == ' ' || r == ',' {
				return '-'
			}
			return r
		}, name))
		require.NoError(t, os.WriteFile(name, data, 0o600))
		return name
	}
	rootFile := file("root", root.pem())
	_, missing := exec.LookPath("openssl")
	if missing != nil {
		t.Log("openssl is not installed: only what is expected here is compared")
	}
	covered := 0
	for certName, template := range certs {
		client := newAuthority(t, root, template)
		certFile := file("cert "+certName, client.pem())
		for scopeName, scope := range scopes {
			for _, revoked := range []bool{false, true} {
				name := fmt.Sprintf("certificate %s/list %s/revoked=%t", certName, scopeName, revoked)
				var list []byte
				if revoked {
					list = root.crl(scope, client.cert)
				} else {
					list = root.crl(scope)
				}
				p := profile(t, server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{list}}, "a.test"))
				err := ssl.SatisfiedBy(p, [][]*x509.Certificate{{client.cert, root.cert}}, time.Now())
				lenient := profile(t, server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{list}, DangerouslyAllowMissingCRL: true}, "a.test"))
				covers := revoked && ssl.SatisfiedBy(lenient, [][]*x509.Certificate{{client.cert, root.cert}}, time.Now()) != nil
				switch {
				case covers:
					covered++
					require.ErrorContains(t, err, "a CRL names", name)
				case revoked:
					require.ErrorContains(t, err, "is for the certificate", name)
				}
				// OpenSSL takes any name for that of a point without one, and a complete list
				// for one of the reasons of the point (RFC 5280, section 6.3.3, (b)(2)(i) and
				// the last paragraph).
				if expected, ours := own[certName]; ours {
					require.Equal(t, revoked && slices.Contains(expected, scopeName), covers, name)
					continue
				}
				if missing != nil {
					continue
				}
				out, failed := exec.Command("openssl", "verify", "-crl_check", "-CAfile", rootFile, "-CRLfile", file("list", crlPEM(list)), certFile).CombinedOutput()
				require.Equal(t, failed != nil, err != nil, "%s: %v, and openssl: %s", name, err, out)
				if revoked {
					require.Equal(t, strings.Contains(string(out), "certificate revoked"), covers, "%s: openssl: %s", name, out)
				}
			}
		}
	}
	require.Equal(t, 58, covered)
}

// Of lists that divide an issuer's certificates, the one that is for the client counts, not
// the newest.
func TestCRLShards(t *testing.T) {
	root := newAuthority(t, nil, ca("root"))
	a, b := uri("http://crl.test/a"), uri("http://crl.test/b")
	alice, bob := newAuthority(t, root, pointed(leaf("alice"), sequence(at(a)))), newAuthority(t, root, pointed(leaf("bob"), sequence(at(b))))
	newer := scoped(at(b))
	newer.ThisUpdate = time.Now()
	for _, c := range []struct {
		name  string
		lists [][]byte
		alice string // why she is refused
		bob   string
	}{
		{"both clean", [][]byte{root.crl(scoped(at(a))), root.crl(newer)}, "", ""},
		{"alice revoked in the older", [][]byte{root.crl(scoped(at(a)), alice.cert), root.crl(newer)}, "a CRL names", ""},
		{"bob revoked in the newer", [][]byte{root.crl(newer, bob.cert), root.crl(scoped(at(a)))}, "", "a CRL names"},
		{"one is missing", [][]byte{root.crl(newer)}, "is for the certificate", ""},
		{"a newer one for all", [][]byte{root.crl(scoped(at(a)), alice.cert), root.crl(x509.RevocationList{ThisUpdate: time.Now()})}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := profile(t, server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: c.lists}, "a.test"))
			for client, want := range map[*authority]string{alice: c.alice, bob: c.bob} {
				err := ssl.SatisfiedBy(p, [][]*x509.Certificate{{client.cert, root.cert}}, time.Now())
				if want == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, want)
				}
			}
		})
	}
}

// What cannot be read covers nothing, and nothing that covers by a name has it from elsewhere
// than both extensions.
func FuzzCRLScope(f *testing.F) {
	a, b := uri("http://crl.test/a"), uri("http://crl.test/b")
	for _, list := range [][]byte{nil, sequence(), sequence(at(a)), sequence(at(a, b), onlyUsers), sequence(onlyCAs), sequence(someReasons), sequence(relative)} {
		for _, cert := range [][]byte{nil, sequence(), sequence(sequence(at(a))), sequence(sequence(at(b), inPoint), sequence(at(b, a))), sequence(sequence(tagged(2, true, tagged(4, true, []byte("issuer")))))} {
			f.Add(list, cert, []byte("issuer"))
		}
	}
	f.Fuzz(func(t *testing.T, list, cert, issuer []byte) {
		points, covers, err := ssl.CRLCovers(list, cert, issuer)
		if err != nil || len(points) == 0 {
			return
		}
		require.Equal(t, covers, covers && slices.ContainsFunc(points, func(name []byte) bool { return bytes.Contains(list, name) && bytes.Contains(cert, name) }))
	})
}

// When clients are refused because a list has no successor yet.
func TestCRLNextUpdate(t *testing.T) {
	root, other := newAuthority(t, nil, ca("root")), newAuthority(t, nil, ca("other"))
	in := func(d time.Duration) time.Time { return time.Now().Add(d).UTC().Truncate(time.Second) }
	list := func(issuer *authority, thisUpdate, nextUpdate time.Time, scope ...[]byte) []byte {
		l := x509.RevocationList{}
		if scope != nil {
			l = scoped(scope...)
		}
		l.ThisUpdate, l.NextUpdate = thisUpdate, nextUpdate
		return issuer.crl(l)
	}
	first, then, late := in(-2*time.Hour), in(-time.Hour), in(0)
	a, b := at(uri("http://crl.test/a")), at(uri("http://crl.test/b"))
	for _, c := range []struct {
		name  string
		lists [][]byte
		loose bool
		want  time.Time
	}{
		{"none", nil, false, time.Time{}},
		{"one", [][]byte{list(root, first, in(time.Hour))}, false, in(time.Hour)},
		{"the older ends first", [][]byte{list(root, then, in(2*time.Hour)), list(root, first, late)}, false, in(2 * time.Hour)},
		{"the newer is not valid yet", [][]byte{list(root, first, in(time.Minute)), list(root, in(time.Hour), in(2*time.Hour))}, false, in(time.Minute)},
		{"the newer is not valid yet, and the older no more", [][]byte{list(root, in(time.Hour), in(2*time.Hour)), list(root, first, then)}, false, then},
		{"of two issuers", [][]byte{list(root, first, in(2*time.Hour)), list(other, then, in(time.Hour))}, false, in(time.Hour)},
		{"of two parts", [][]byte{list(root, first, in(time.Hour), a), list(root, then, in(2*time.Hour), b)}, false, in(time.Hour)},
		{"it does not matter", [][]byte{list(root, first, in(time.Hour))}, true, time.Time{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := server(ssltest.NewCA(t, "servers"), "1", &ssl.ClientAuth{CAPEM: join(root.pem(), other.pem()), CRLs: c.lists, DangerouslyAllowExpiredCRL: c.loose}, "a.test")
			require.WithinDuration(t, c.want, newStore(t, nil, config).Stats().Profiles[0].CRLNextUpdate, 2*time.Second)
		})
	}
}

// A list that is older than the one before it, and revokes less, is taken with a word about
// it, once.
func TestCRLSetBack(t *testing.T) {
	root, other := newAuthority(t, nil, ca("root")), newAuthority(t, nil, ca("other"))
	alice, bob := newAuthority(t, root, leaf("alice")), newAuthority(t, root, leaf("bob"))
	carol := newAuthority(t, other, leaf("carol"))
	day := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	of := func(a *authority, days int, more x509.RevocationList, revoked ...*authority) []byte {
		more.ThisUpdate, more.NextUpdate = day.AddDate(0, 0, days), day.AddDate(0, 1, 0)
		var certs []*x509.Certificate
		for _, r := range revoked {
			certs = append(certs, r.cert)
		}
		return a.crl(more, certs...)
	}
	plain, shard := x509.RevocationList{}, scoped(at(uri("http://crl.test/a")))
	second := x509.RevocationList{Number: big.NewInt(2)}
	back := func(a string, from, to, n int) string {
		return fmt.Sprintf("the list of CN=%s of %s takes the place of a newer one, of %s: what that revoked and this does not is accepted again (%d serial numbers)",
			a, day.AddDate(0, 0, to).Format(time.RFC3339), day.AddDate(0, 0, from).Format(time.RFC3339), n)
	}
	for _, c := range []struct {
		name          string
		before, after [][]byte
		want          []string
	}{
		{"older, and revokes less", [][]byte{of(root, 2, plain, alice, bob)}, [][]byte{of(root, 1, plain, alice)}, []string{back("root", 2, 1, 1)}},
		{"older, and revokes others", [][]byte{of(root, 2, plain, alice)}, [][]byte{of(root, 1, plain, bob)}, []string{back("root", 2, 1, 1)}},
		{"older by its number", [][]byte{of(root, 1, second, alice)}, [][]byte{of(root, 1, plain)}, []string{back("root", 1, 1, 1)}},
		{"older, and revokes as much", [][]byte{of(root, 2, plain, alice)}, [][]byte{of(root, 1, plain, alice, bob)}, nil},
		{"newer, and revokes less", [][]byte{of(root, 1, plain, alice, bob)}, [][]byte{of(root, 2, plain, alice)}, nil},
		{"the same", [][]byte{of(root, 1, plain, alice)}, [][]byte{of(root, 1, plain, alice)}, nil},
		{"an older one beside", [][]byte{of(root, 2, plain, alice)}, [][]byte{of(root, 1, plain), of(root, 2, plain, alice)}, nil},
		{"a newer one that is not valid yet", [][]byte{of(root, 9, plain, alice)}, [][]byte{of(root, 1, plain)}, nil},
		{"of another issuer", [][]byte{of(root, 2, plain, alice)}, [][]byte{of(root, 2, plain, alice), of(other, 1, plain)}, nil},
		{"for others", [][]byte{of(root, 2, plain, alice)}, [][]byte{of(root, 2, plain, alice), of(root, 1, shard)}, nil},
		{"of both issuers", [][]byte{of(root, 3, plain, alice, bob), of(other, 2, plain, carol)}, [][]byte{of(other, 1, plain), of(root, 2, plain)},
			[]string{back("other", 2, 1, 1), back("root", 3, 2, 2)}},
		{"no lists before", nil, [][]byte{of(root, 1, plain)}, nil},
		{"no lists after", [][]byte{of(root, 1, plain, alice)}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := day.AddDate(0, 0, 5)
			store := newStore(t, &ssl.Options{Base: &tls.Config{Time: func() time.Time { return now }}})
			servers, auth := ssltest.NewCA(t, "servers"), ssl.ClientAuth{CAPEM: append(root.pem(), other.pem()...)}
			config := func(lists [][]byte) ssl.Config {
				client := auth
				client.CRLs = lists
				return server(servers, "1", &client, "a.test")
			}
			lists := func(report ssl.Report) (texts []string) {
				for _, w := range report.Warnings {
					if w.Field == "Client.CRLs" {
						require.Equal(t, ssl.Warning{ID: "1", Field: w.Field, Text: w.Text, Opened: true}, w)
						texts = append(texts, w.Text)
					}
				}
				return texts
			}
			require.Empty(t, lists(must(store.Put(config(c.before)))))
			require.Equal(t, c.want, lists(must(store.Put(config(c.after)))))
			require.Empty(t, lists(must(store.Put(config(c.after)))))
		})
	}
	// And beside profiles without client certificates, before or after.
	store, servers := newStore(t, nil), ssltest.NewCA(t, "servers")
	strict := server(servers, "1", &ssl.ClientAuth{CAPEM: root.pem(), CRLs: [][]byte{of(root, 1, plain)}}, "a.test")
	for _, config := range []ssl.Config{server(servers, "1", nil, "a.test"), strict, server(servers, "1", nil, "a.test")} {
		_, err := store.Put(config)
		require.NoError(t, err)
	}
}

// That of many lists is not a warning for each.
func TestCRLSetBackOfMany(t *testing.T) {
	root := newAuthority(t, nil, ca("root"))
	alice := newAuthority(t, root, leaf("alice"))
	store, servers := newStore(t, nil), ssltest.NewCA(t, "servers")
	for _, hours := range []int{1, 2} {
		client := &ssl.ClientAuth{CAPEM: root.pem()}
		for i := range 13 {
			list := scoped(at(uri(fmt.Sprint("http://crl.test/", i))))
			list.ThisUpdate = time.Now().Add(-time.Duration(hours) * time.Hour)
			if hours == 1 {
				client.CRLs = append(client.CRLs, root.crl(list, alice.cert))
			} else {
				client.CRLs = append(client.CRLs, root.crl(list))
			}
		}
		report := must(store.Put(server(servers, "1", client, "a.test")))
		if hours == 1 {
			require.Empty(t, report.Warnings)
			continue
		}
		require.Len(t, report.Warnings, 11)
		require.Equal(t, "3 more lists take the place of newer ones, which revoked more", report.Warnings[10].Text)
	}
}
