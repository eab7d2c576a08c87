package gateway_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
	"github.com/sallyport/sallyport/upstream"
)

// told are the fields of a request that say who the client is.
var told = []string{
	"Client-Cert", "Client-Cert-Chain", "X-Forwarded-Client-Cert",
	"X-Ssl-Client-Verify", "X-Ssl-Client-S-Dn", "X-Ssl-Client-I-Dn", "X-Ssl-Client-Serial", "X-Ssl-Client-Fingerprint", "X-Own",
}

// What a node and a handler are told of the client, in each form, through every door.
func TestClientCertHeaders(t *testing.T) {
	for _, byDefault := range []route.ClientCertHeaders{0, route.ClientCert | route.ClientCertNginx} {
		t.Run(fmt.Sprintf("default=%s", byDefault), func(t *testing.T) {
			h := newHarness(t, &gateway.Options{ClientCert: byDefault})
			alice := h.people.Intermediate("middle").Client("alice", ssltest.URIs("spiffe://td/alice"))
			leaf := alice.Leaf
			var mu sync.Mutex
			var handled http.Header
			echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				handled = r.Header.Clone()
			})

			binary := ":" + base64.StdEncoding.EncodeToString(leaf.Raw) + ":"
			nginx := map[string]string{
				"X-Ssl-Client-Verify": "SUCCESS", "X-Ssl-Client-S-Dn": "CN=alice", "X-Ssl-Client-I-Dn": "CN=middle",
				"X-Ssl-Client-Serial": clientcert.Serial(leaf), "X-Ssl-Client-Fingerprint": clientcert.Fingerprint(leaf),
			}
			both := maps.Clone(nginx)
			both["Client-Cert"] = binary
			forms := map[route.ClientCertHeaders]map[string]string{
				0:                                        {},
				route.ClientCertNone:                     {},
				route.ClientCert:                         {"Client-Cert": binary},
				route.ClientCertNginx:                    nginx,
				route.ClientCertNginx | route.ClientCert: both,
				route.ClientCertXFCC:                     {"X-Forwarded-Client-Cert": `Subject="CN=alice";URI=spiffe://td/alice`},
				route.ClientCertXFCCCert:                 {"X-Forwarded-Client-Cert": `Cert="` + clientcert.EscapedPEM(leaf) + `";Subject="CN=alice";URI=spiffe://td/alice`},
			}
			if byDefault != 0 {
				forms[0] = forms[byDefault]
			}
			config := gateway.Config{
				Profiles: []ssl.Config{
					h.profile("pub", []string{"pub.test"}), h.profile("mtls", []string{"mtls.test"}, h.people), h.profile("skip", []string{"skip.test"}, h.people),
				},
				Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
			}
			config.Profiles[2].Client.SkipPaths = []string{"^/"}
			for form := range forms {
				node := everything(fmt.Sprintf("node %d", form), "1")
				node.Paths, node.ClientCert, node.AllowPlain = []string{fmt.Sprintf("/node/%d", form)}, form, true
				local := route.Config{ID: fmt.Sprintf("local %d", form), Paths: []string{fmt.Sprintf("/local/%d", form)}, Handler: echo, ClientCert: form, AllowPlain: true}
				config.Routes = append(config.Routes, node, local)
			}
			own := everything("own", "1")
			own.Paths, own.AllowPlain, own.ClientCert = []string{"/own"}, true, route.ClientCert|route.ClientCertXFCC
			own.Headers = route.HeaderEdits{
				Set:    []route.HeaderField{{Name: "X-Own", Value: "<$ssl_client_verify $ssl_client_s_dn>"}, {Name: "Client-Cert", Value: "mine"}},
				Remove: []string{"X-Forwarded-Client-Cert"},
			}
			config.Routes = append(config.Routes, own)
			h.apply(config)

			// ask returns what the target of a path is told.
			ask := func(t *testing.T, client *http.Client, d door, host, path string) map[string]string {
				req, err := http.NewRequestWithContext(t.Context(), "GET", d.scheme()+"://"+host+path, nil)
				require.NoError(t, err)
				for _, name := range told {
					for _, spelling := range spellings(name)[2:8] { // no more fields than a head may have
						req.Header[spelling] = []string{spoof, spoof}
					}
				}
				if d.major == 1 {
					// What the gateway writes is not the client's to take away (CVE-2024-45410).
					req.Header.Set("Connection", strings.Join(told, ", "))
				}
				h.origin.take()
				status, body := h.do(client, req)
				require.Equal(t, 200, status, body)
				got := map[string]string{}
				if body == "" {
					mu.Lock()
					defer mu.Unlock()
					for name, values := range handled {
						require.NotContains(t, values, spoof, name)
					}
					for _, name := range told {
						if handled[name] != nil {
							got[name] = strings.Join(handled[name], "|")
						}
					}
				} else {
					r := h.origin.take()[0]
					require.Empty(t, r.saying(spoof))
					for _, name := range told {
						if values := r.values(name); values != nil {
							got[name] = strings.Join(values, "|")
						}
					}
				}
				if xfcc, ok := got["X-Forwarded-Client-Cert"]; ok {
					hash, rest, _ := strings.Cut(xfcc, ";")
					require.Len(t, hash, len("Hash=")+64)
					got["X-Forwarded-Client-Cert"] = rest
				}
				return got
			}
			for _, d := range h.doors() {
				t.Run(d.name, func(t *testing.T) {
					mtls, pub, skip := h.client(d, "mtls.test", alice), h.client(d, "pub.test", alice), h.client(d, "skip.test")
					for form, want := range forms {
						for _, target := range []string{"node", "local"} {
							path := fmt.Sprintf("/%s/%d", target, form)
							if d.tls {
								require.Equal(t, want, ask(t, mtls, d, "mtls.test", path), "%s", form)
								require.Empty(t, ask(t, skip, d, "skip.test", path), "%s", form)
							} else {
								require.Empty(t, ask(t, mtls, d, "mtls.test", path), "%s", form)
							}
							require.Empty(t, ask(t, pub, d, "pub.test", path), "%s", form)
						}
					}
					none := map[string]string{"X-Own": "<NONE >", "Client-Cert": "mine"}
					if d.tls {
						require.Equal(t, map[string]string{"X-Own": "<SUCCESS CN=alice>", "Client-Cert": "mine"}, ask(t, mtls, d, "mtls.test", "/own"))
						require.Equal(t, none, ask(t, pub, d, "pub.test", "/own"))
						require.Equal(t, none, ask(t, skip, d, "skip.test", "/own"))
					} else {
						require.Equal(t, map[string]string{"X-Own": "< >", "Client-Cert": "mine"}, ask(t, pub, d, "pub.test", "/own"))
					}
				})
			}
		})
	}
}

// What a connection's client is called is made once, for all its requests.
func TestClientCertHeadersAreMadeOnce(t *testing.T) {
	h := newHarness(t, nil)
	clients := make(chan *ssl.Identity, 2)
	h.apply(gateway.Config{
		Profiles: []ssl.Config{h.profile("mtls", []string{"mtls.test"}, h.people)},
		Routes: []route.Config{{ID: "1", Paths: []string{"/*"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			clients <- ssl.FromContext(r.Context())
		})}},
	})
	for _, d := range h.tlsDoors() {
		client := h.client(d, "mtls.test", h.people.Client("alice"))
		for range 2 {
			status, _ := h.get(client, d, "mtls.test", "/")
			require.Equal(t, 200, status)
		}
		identity := <-clients
		require.Same(t, identity, <-clients, d.name)
		list := make([]route.HeaderField, 0, 16)
		all := route.ClientCertNone - 1
		require.Len(t, gateway.AppendClientCert(list, identity, all), 3+5)
		require.Zero(t, testing.AllocsPerRun(10, func() { list = gateway.AppendClientCert(list[:0], identity, all) }), d.name)
	}
}

// A name in which any route tells of clients is no client's to use, whatever route its
// request takes, in every spelling, and not by conditions of routes either. It is again
// once no route tells so.
func TestConfiguredIdentityNames(t *testing.T) {
	for _, trusted := range []bool{false, true} {
		o := &gateway.Options{}
		if trusted {
			o.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		h := newHarness(t, o)
		var mu sync.Mutex
		var handled, trailer http.Header
		local := route.Config{ID: "local", Hosts: []string{"a.test"}, Paths: []string{"/local"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			mu.Lock()
			defer mu.Unlock()
			handled, trailer = r.Header.Clone(), r.Trailer.Clone()
		})}
		chosen := route.Config{ID: "chosen", Hosts: []string{"a.test"}, Paths: []string{"/*"}, Priority: 1, Upstream: "1",
			Vars: []any{[]any{"http_x_mesh_user", "~~", "."}}, Headers: set("X-Chosen", "1")}
		node := everything("node", "1")
		node.Hosts = []string{"a.test"}
		tells := everything("tells", "1")
		tells.Hosts, tells.Headers = []string{"other.test"}, set("X-Mesh-User", "dn=$ssl_client_s_dn")
		again := tells
		again.ID, again.Paths, again.Disabled = "again", []string{"/again"}, true
		h.apply(gateway.Config{
			Profiles:  []ssl.Config{h.profile("a", []string{"a.test"})},
			Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
			Routes:    []route.Config{local, node, chosen},
		})
		clients := map[string]*http.Client{}
		for _, d := range h.doors() {
			clients[d.name] = h.client(d, "a.test")
		}
		check := func(step string, passes bool) {
			for _, d := range h.doors() {
				for _, spelling := range spellings("X-Mesh-User") {
					t.Run(fmt.Sprint(step, " trusted=", trusted, " ", d.name, " ", spelling), func(t *testing.T) {
						send := func(path string, header http.Header) {
							req, err := http.NewRequestWithContext(t.Context(), "POST", d.scheme()+"://a.test"+path, io.NopCloser(strings.NewReader("x")))
							require.NoError(t, err)
							req.Header, req.Trailer = header, http.Header{spelling: {spoof}, "X-Sum": {"1"}}
							h.origin.take()
							status, body := h.do(clients[d.name], req)
							require.Equal(t, 200, status, body)
						}
						header := http.Header{spelling: {spoof, spoof}, "X-Kept": {"kept"}}
						if d.major == 1 {
							header["Connection"] = []string{"x-nothing"}
						}
						send("/", header)
						r := h.origin.take()[0]
						require.Equal(t, []string{"kept"}, r.values("X-Kept"))
						said := len(r.saying("X-Mesh-User")) > 0
						require.Equal(t, passes, said, r.header)
						if !passes {
							require.Empty(t, r.values("X-Chosen"), "a condition saw it")
						} else if strings.EqualFold(spelling, "X-Mesh-User") {
							require.NotEmpty(t, r.values("X-Chosen"))
						}

						send("/local", header)
						mu.Lock()
						defer mu.Unlock()
						require.Equal(t, []string{"1"}, trailer["X-Sum"])
						for what, h := range map[string]http.Header{"header": handled, "trailer": trailer} {
							_, there := h[http.CanonicalHeaderKey(spelling)]
							require.Equal(t, passes, there, what)
						}
					})
				}
			}
		}
		check("nobody tells", true)
		h.apply(gateway.Config{Routes: []route.Config{tells}})
		check("one tells", false)
		h.apply(gateway.Config{Routes: []route.Config{again}})
		_, err := h.gw.Apply(gateway.Change{Delete: gateway.IDs{Routes: []string{"tells"}}})
		require.NoError(t, err)
		check("another tells, out of service", false)
		again.Headers = set("X-Mesh-User", "fixed")
		h.apply(gateway.Config{Routes: []route.Config{again}})
		check("nobody tells any more", true)
	}
}

func set(name, value string) route.HeaderEdits {
	return route.HeaderEdits{Set: []route.HeaderField{{Name: name, Value: value}}}
}

// The names are counted right through whatever changes.
func TestIdentityNamesOracle(t *testing.T) {
	gw := must(gateway.New(nil))
	defer gw.Close()
	random := rand.New(rand.NewPCG(1, 2))
	routes := map[string][]string{}
	for range 2000 {
		var c gateway.Change
		for range random.IntN(4) {
			r := everything(fmt.Sprint(random.IntN(20)), "u")
			r.Headers = route.HeaderEdits{}
			seen := map[string]bool{}
			for range random.IntN(4) {
				name := fmt.Sprintf("X-%s-%d", strings.Repeat("n", random.IntN(40)), random.IntN(3))
				if !seen[name] {
					seen[name] = true
					r.Headers.Add = append(r.Headers.Add, route.HeaderField{Name: name, Value: []string{"$ssl_client_serial", "fixed"}[random.IntN(2)]})
				}
			}
			if slices.ContainsFunc(c.Put.Routes, func(o route.Config) bool { return o.ID == r.ID }) {
				continue
			}
			c.Put.Routes = append(c.Put.Routes, r)
		}
		for range random.IntN(3) {
			c.Delete.Routes = append(c.Delete.Routes, fmt.Sprint(random.IntN(20)))
		}
		c.AllowDangling = true
		_, err := gw.Apply(c)
		require.NoError(t, err)
		for _, id := range c.Delete.Routes {
			delete(routes, id)
		}
		for _, r := range c.Put.Routes {
			routes[r.ID] = nil
			for _, f := range r.Headers.Add {
				if f.Value != "fixed" {
					routes[r.ID] = append(routes[r.ID], strings.ToLower(f.Name))
				}
			}
		}
		want := map[string]int{}
		for _, names := range routes {
			for _, name := range names {
				want[name]++
			}
		}
		require.Equal(t, want, gw.IdentityNames())
	}
}

func TestNameSet(t *testing.T) {
	const begins = "abcdefghijklmnopqrstuvwxyz019-_.~!|"
	var set gateway.NameSet
	require.False(t, set.Has(""))
	require.False(t, set.Has("x"))
	random := rand.New(rand.NewPCG(3, 4))
	counts := map[string]int{}
	for range 20_000 {
		name := folded(fmt.Sprintf("%c-%s", begins[random.IntN(len(begins))], strings.Repeat("n", random.IntN(50))))
		if counts[name] > 0 && random.IntN(2) == 0 {
			counts[name]--
			set = set.With(name, -1)
		} else if len(counts) < 300 || counts[name] > 0 {
			counts[name]++
			set = set.With(name, 1)
		}
		other := strings.ToUpper(fmt.Sprintf("%c_%s", begins[random.IntN(len(begins))], strings.Repeat("n", random.IntN(50))))
		require.Equal(t, counts[folded(other)] > 0, set.Has(other), other)
	}
	require.Zero(t, testing.AllocsPerRun(100, func() { set.Has("a-nnnnnnnnnnnnnnnnnnnnnnn"); set.Has("user-agent") }))
}
