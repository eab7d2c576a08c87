package adminapi_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// explained is what POST /explain answers, as far as tests look at it.
type explained struct {
	SSL *struct {
		ID     *string `json:"id"`
		Name   string  `json:"name"`
		Asks   bool    `json:"client_certificate"`
		Reason string  `json:"reason"`
	} `json:"ssl"`
	Route    *string        `json:"route"`
	Upstream map[string]any `json:"upstream"`
	Reason   string         `json:"reason"`
}

// What is explained is what happens: to handshakes under every kind of name, and to requests
// over plain HTTP, whatever the gateway's options.
func TestExplainHappens(t *testing.T) {
	people, servers := ssltest.NewCA(t, "people"), ssltest.NewCA(t, "servers")
	sni := func(client bool, names ...string) string {
		pair := servers.Server(names...)
		doc := map[string]any{"snis": names, "cert": string(pair.CertPEM), "key": string([]byte(pair.KeyPEM))}
		if client {
			doc["client"] = map[string]any{"ca": string(people.PEM())}
		}
		return encode(t, doc)
	}
	documents := map[string]string{
		"/ssls/pub":      sni(false, "pub.test", "*.pub.test", "*.test"),
		"/ssls/10.0.0.1": sni(false, "10.0.0.1"),
		"/ssls/mtls":     sni(true, "mtls.test", "x.deep.test"),
		"/ssls/wild":     sni(true, "*.w.test"),
		"/routes/one":    `{"uri":"/*","hosts":["pub.test","mtls.test","a.w.test","10.0.0.1"],"upstream":{"nodes":{}}}`,
		"/routes/wide":   `{"uri":"/wide","host":"*.deep.test","upstream":{"nodes":{}}}`,
		"/routes/any":    `{"uri":"/any","upstream":{"nodes":{}}}`,
	}
	names := []string{
		"pub.test", "a.pub.test", "a.b.pub.test", "mtls.test", "a.w.test", "a.b.w.test", "y.deep.test", "z.x.deep.test", "some.test",
		"nobody.example", "10.0.0.1", "10.0.0.2", "PUB.TEST",
	}
	for _, o := range []gateway.Options{
		{},
		{TLS: ssl.Options{FallbackName: "a.w.test"}, PlainHTTP: gateway.PlainRedirect},
		{TLS: ssl.Options{FallbackName: "10.0.0.1"}, PlainHTTP: gateway.PlainOpen},
		{TLS: ssl.Options{FallbackName: "nobody.example"}},
	} {
		t.Run(fmt.Sprint(o.TLS.FallbackName, " ", o.PlainHTTP), func(t *testing.T) {
			events := make(chan *ssl.HandshakeEvent, 1)
			o.TLS.Trace = &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) { events <- e }}
			gw := must(gateway.New(&o))
			defer gw.Close()
			h := must(adminapi.New(t.Context(), gw, &adminapi.Options{Keys: []adminapi.Key{{Value: adminKey}}}))
			defer h.Close()
			do := func(method, path, body string) string {
				r := httptest.NewRequest(method, "http://127.0.0.1/apisix/admin"+path, strings.NewReader(body))
				r.Header.Set("X-API-KEY", adminKey)
				rec := httptest.NewRecorder()
				h.ServeHTTP(rec, r)
				require.Contains(t, []int{200, 201}, rec.Code, rec.Body)
				return rec.Body.String()
			}
			for path, doc := range documents {
				do("PUT", path, doc)
			}
			explain := func(url string) (x explained) {
				require.NoError(t, json.Unmarshal([]byte(do("POST", "/explain", encode(t, map[string]any{"url": url}))), &x))
				return x
			}
			secure := listen(t)
			go serve(t, gw.ServeTLS, secure)
			for _, name := range names {
				x := explain("https://" + name + "/")
				config := ssltest.ClientConfig(name)
				config.MaxVersion = tls.VersionTLS12 // its client learns of a refusal in the handshake
				conn, err := tls.Dial("tcp", secure.Addr().String(), config)
				event := <-events
				if x.SSL.ID == nil {
					require.Error(t, err, name)
					require.Empty(t, event.Profile, name)
					require.Contains(t, x.SSL.Reason, "unrecognized_name", name)
					require.Equal(t, event.Err.Reason == ssl.ReasonNoSNI, strings.Contains(x.SSL.Reason, "sends no server name"), "%s: %s", name, x.SSL.Reason)
					continue
				}
				require.Equal(t, event.Profile, *x.SSL.ID, name)
				require.Equal(t, err != nil, x.SSL.Asks, name)
				require.Contains(t, documents["/ssls/"+event.Profile], `"`+x.SSL.Name+`"`, name)
				require.Equal(t, event.ServerName == "", strings.Contains(x.SSL.Reason, "sends no server name"), "%s: %s", name, x.SSL.Reason)
				if err == nil {
					conn.Close()
				}
			}
			for _, name := range names {
				for _, path := range []string{"/", "/wide", "/any", "/.well-known/acme-challenge/any"} {
					url := "http://" + name + path
					x := explain(url)
					rec := httptest.NewRecorder()
					gw.ServeHTTP(rec, httptest.NewRequest("GET", url, nil))
					if rec.Code == http.StatusServiceUnavailable { // it has come to the upstream, which has no nodes
						require.NotNil(t, x.Route, url)
						require.Empty(t, x.Reason, url)
					} else {
						require.Contains(t, x.Reason, fmt.Sprintf("the answer is %d", rec.Code), url)
					}
				}
			}
		})
	}
}

// The pattern of an ssl object by which it is found is the one that fits best.
func TestExplainNamesThePattern(t *testing.T) {
	w := newWorld(t, setup{})
	doc := w.sslDoc(w.pair)
	delete(doc, "sni")
	doc["snis"] = []string{"*", "*.a.test", "a.test", "*.b.a.test"}
	w.put("/ssls/1", doc)
	for asked, want := range map[string]string{
		"a.test": "a.test", "x.a.test": "*.a.test", "b.a.test": "*.a.test", "x.b.a.test": "*.b.a.test", "x.y.a.test": "*", "z.test": "*", "A.Test.": "a.test",
	} {
		require.Contains(t, w.do("POST", "/apisix/admin/explain", `{"url":"https://`+asked+`/"}`).body, `"name":"`+want+`"`, asked)
	}
}
