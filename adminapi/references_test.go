package adminapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A vault is a resolver of secrets.
type vault map[string]string

func (v vault) ResolveSecret(ctx context.Context, reference string) (string, error) {
	if _, ok := ctx.Deadline(); !ok {
		return "", errors.New("there is no deadline")
	}
	text, ok := v[reference]
	if !ok {
		return "", fmt.Errorf("vault: no such secret")
	}
	return text, nil
}

// What "$secret://" stands for is asked of Options.Secrets, when a document is written
// and when a Handler starts. What is stored and shown is the reference.
func TestSecretResolver(t *testing.T) {
	w := newWorld(t, setup{})
	v := vault{
		"$secret://vault/1/a/cert": string(w.pair.CertPEM), "$secret://vault/1/a/key": string([]byte(w.pair.KeyPEM)),
		"$secret://vault/1/b/cert": string(w.pair2.CertPEM), "$secret://vault/1/b/key": string([]byte(w.pair2.KeyPEM)),
		"$secret://vault/1/ca": string(w.people.PEM()),
	}
	memory := &adminapi.Memory{}
	start := func() (*gateway.Server, *adminapi.Handler, error) {
		gw := must(gateway.New(nil))
		t.Cleanup(func() { gw.Close() })
		h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: memory, Secrets: v})
		return gw, h, err
	}
	gw, h, err := start()
	require.NoError(t, err)
	put := func(path, doc string) (int, string) {
		return ask(h, "PUT", "http://localhost/apisix/admin"+path, doc)
	}
	const doc = `{"sni":"a.test","cert":"$secret://vault/1/a/cert","key":"$secret://vault/1/a/key",` +
		`"certs":["$secret://vault/1/b/cert"],"keys":["$secret://vault/1/b/key"],"client":{"ca":"$secret://vault/1/ca"}}`
	status, body := put("/ssls/1", doc)
	require.Equal(t, 201, status, body)
	require.Contains(t, body, `"keys":["$secret://vault/1/b/key"]`)
	require.Contains(t, handshake(gw, "a.test"), "asked true")
	want := handshake(gw, "a.test")

	status, body = put("/upstreams/1", `{"scheme":"https","nodes":{},"tls":{"client_cert":"$secret://vault/1/a/cert","client_key":"$secret://vault/1/a/key","verify":true}}`)
	require.Equal(t, 201, status, body)

	for _, missing := range []string{"cert", "key"} {
		status, body = put("/ssls/2", strings.Replace(doc, "1/a/"+missing, "1/a/nothing", 1))
		require.Equal(t, 400, status)
		require.Contains(t, body, `property \"`+missing+`\" validation failed: failed to resolve $secret://vault/1/a/nothing: vault: no such secret`)
	}
	status, body = put("/ssls/2", strings.Replace(doc, "1/a/key", "1/b/key", 1))
	require.Equal(t, 400, status)
	require.Contains(t, body, "is not the key of the certificate")

	// A placeholder keeps the reference beside the same certificate.
	status, body = put("/ssls/1", strings.Replace(doc, `"$secret://vault/1/a/key"`, `"[redacted]"`, 1))
	require.Equal(t, 200, status, body)
	require.Contains(t, body, `"key":"$secret://vault/1/a/key"`)

	gw, _, err = start()
	require.NoError(t, err)
	require.Equal(t, want, handshake(gw, "a.test"))
	delete(v, "$secret://vault/1/ca")
	_, _, err = start()
	require.ErrorContains(t, err, "stored /ssls/1: ")
	require.ErrorContains(t, err, "failed to resolve $secret://vault/1/ca")
}

// A resolver that repeats a secret in its error does not give it away, and neither does
// a reference that is none.
func TestReferencesShowNothing(t *testing.T) {
	w := newWorld(t, setup{})
	key := string([]byte(w.pair.KeyPEM))
	gw := must(gateway.New(nil))
	t.Cleanup(func() { gw.Close() })
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Secrets: leaky(key)})
	require.NoError(t, err)
	for _, reference := range []string{"$secret://x", "$env://" + key, "$secret://" + key, "$env://A/" + key, "$env://" + strings.ReplaceAll(key, "\n", "")} {
		doc := w.sslDoc(w.pair)
		doc["key"] = reference
		status, body := ask(h, "PUT", "http://localhost/apisix/admin/ssls/1", encode(t, doc))
		require.Equal(t, http.StatusBadRequest, status)
		require.Empty(t, leak(body, []byte(key)), reference)
	}
}

type leaky string

func (l leaky) ResolveSecret(context.Context, string) (string, error) {
	return "", errors.New("cannot parse " + string(l))
}

// A client certificate that goes with a whole configuration is not shown to nodes any more, not
// even by an upstream that comes with it.
func TestWholeWithoutClientCertificate(t *testing.T) {
	w := newWorld(t, setup{})
	node := w.mtlsOrigin()
	upstream := func(desc string) map[string]any {
		return map[string]any{"id": "1", "desc": desc, "scheme": "https", "nodes": map[string]any{node: 1}, "tls": map[string]any{"client_cert_id": "client"}}
	}
	client := w.sslDoc(w.pair)
	delete(client, "sni")
	client["id"], client["type"] = "client", "client"
	whole := func(more map[string]any) string {
		more["routes"] = list{map[string]any{"id": "1", "uri": "/1", "upstream_id": "1"}}
		return encode(t, more)
	}
	for what, put := range map[string]func(whole string){
		"PUT": func(whole string) {
			a := w.doWith("PUT", "/apisix/admin/configs", whole, "X-Digest", fmt.Sprint(len(whole)))
			require.Equal(t, 202, a.status, a.body)
		},
		"Load": func(whole string) { require.NoError(t, w.handler.Load(t.Context(), strings.NewReader(whole))) },
	} {
		put(whole(map[string]any{"ssls": list{client}, "upstreams": list{upstream("before")}}))
		require.Contains(t, w.get("http://a.test/1"), "mtls origin: a.test", what)
		put(whole(map[string]any{"ssls": list{}, "upstreams": list{upstream("after")}}))
		require.Contains(t, w.get("http://a.test/1"), "502", what)
		w.check()
	}
	// Where they stay, because their version is that of before, it is there.
	w.put("/ssls/client", client)
	var state map[string]any
	require.NoError(t, json.Unmarshal([]byte(w.do("GET", "/apisix/admin/configs", "").body), &state))
	a := w.doWith("PUT", "/apisix/admin/configs", whole(map[string]any{"ssls_conf_version": state["ssls_conf_version"], "upstreams": list{upstream("kept")}}), "X-Digest", "kept")
	require.Equal(t, 202, a.status, a.body)
	require.Contains(t, w.get("http://a.test/1"), "mtls origin: a.test")
	w.check()
}

// Refresh serves what a secret stands for now, and keeps what it stood for where it stands
// for nothing any more. What is stored does not move.
func TestRefresh(t *testing.T) {
	w := newWorld(t, setup{})
	v := vault{"$secret://c": string(w.pair.CertPEM), "$secret://k": string([]byte(w.pair.KeyPEM))}
	memory := &adminapi.Memory{}
	gw := must(gateway.New(nil))
	t.Cleanup(func() { gw.Close() })
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: memory, Secrets: v})
	require.NoError(t, err)
	put := func(path string, doc any) {
		status, body := ask(h, "PUT", "http://localhost/apisix/admin"+path, encode(t, doc))
		require.Equal(t, 201, status, body)
	}
	put("/ssls/1", map[string]any{"sni": "a.test", "cert": "$secret://c", "key": "$secret://k"})
	put("/ssls/2", with(w.sslDoc(w.pair), "sni", "b.a.test"))
	put("/ssls/client", map[string]any{"type": "client", "cert": "$secret://c", "key": "$secret://k"})
	put("/routes/1", map[string]any{"uri": "/1", "upstream": map[string]any{
		"scheme": "https", "nodes": map[string]any{w.mtlsOrigin(): 1}, "tls": map[string]any{"client_cert_id": "client"}}})
	stored, err := memory.Load(t.Context())
	require.NoError(t, err)
	shown := func() string {
		_, body := ask(gw, "GET", "http://a.test/1", "")
		return body
	}

	require.NoError(t, h.Refresh(t.Context()))
	first, other := handshake(gw, "a.test"), handshake(gw, "b.a.test")
	require.Equal(t, "mtls origin: a.test", shown())

	elsewhere := ssltest.NewCA(t, "servers").Server("elsewhere.test")
	v["$secret://c"], v["$secret://k"] = string(elsewhere.CertPEM), string([]byte(elsewhere.KeyPEM))
	require.Equal(t, first, handshake(gw, "a.test"))
	require.NoError(t, h.Refresh(t.Context()))
	second := handshake(gw, "a.test")
	require.NotEqual(t, first, second)
	require.Equal(t, "mtls origin: elsewhere.test", shown())
	require.Equal(t, other, handshake(gw, "b.a.test"))

	v["$secret://k"] = string([]byte(w.pair.KeyPEM)) // which is not that of the certificate
	err = h.Refresh(t.Context())
	require.ErrorContains(t, err, "adminapi: /ssls/1: ")
	require.ErrorContains(t, err, "is not the key of the certificate")
	require.Empty(t, leak(err.Error(), w.pair.KeyPEM))
	delete(v, "$secret://c")
	require.ErrorContains(t, h.Refresh(t.Context()), "failed to resolve $secret://c")
	require.Equal(t, second, handshake(gw, "a.test"))
	require.Equal(t, "mtls origin: elsewhere.test", shown())

	after, err := memory.Load(t.Context())
	require.NoError(t, err)
	require.Equal(t, stored, after)
}

// What others have stored while its secret was not to be had is in force once it is.
func TestRefreshTakesWhatWasKeptOut(t *testing.T) {
	w := newWorld(t, setup{})
	cert, key := string(w.pair.CertPEM), string([]byte(w.pair.KeyPEM))
	v := vault{"$secret://c": cert}
	s := newShared()
	s.write(t, "/ssls/1", `{"sni":"a.test","cert":"$secret://c","key":"$secret://k"}`)
	s.write(t, "/ssls/2", encode(t, with(w.sslDoc(w.pair), "sni", "b.a.test")))
	s.write(t, "/ssls/bad", `{"sni":"bad.a.test","cert":"x","key":"y"}`)
	_, err := s.Commit(t.Context(),
		adminapi.Write{Key: "/ssls/client", Value: []byte(`{"type":"client","cert":"$secret://c","key":"$secret://k"}`)},
		adminapi.Write{Key: "/upstreams/1", Value: []byte(encode(t, map[string]any{"scheme": "https", "nodes": map[string]any{w.mtlsOrigin(): 1}, "tls": map[string]any{"client_cert_id": "client"}}))},
		adminapi.Write{Key: "/routes/1", Value: []byte(`{"uri":"/1","host":"open.test","upstream_id":"1"}`)})
	require.NoError(t, err)
	gw := must(gateway.New(nil))
	logs := &buffer{}
	h, err := adminapi.New(t.Context(), gw, &adminapi.Options{AllowUnauthenticated: true, Storage: s, Secrets: v, Logger: slog.New(slog.NewTextHandler(logs, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { h.Close(); gw.Close() })
	// And a version of one that is in force.
	s.write(t, "/ssls/2", `{"sni":"c.a.test","cert":"$secret://c","key":"$secret://k"}`)

	refuses, lastGood := handshake(gw, "a.test"), handshake(gw, "b.a.test")
	require.Contains(t, refuses, "asked true")
	require.Contains(t, lastGood, "asked false")
	rejected := func() (keys []string) {
		for _, r := range h.Status().Rejected {
			keys = append(keys, r.Key)
		}
		return keys
	}
	require.Equal(t, []string{"/ssls/1", "/ssls/2", "/ssls/bad", "/ssls/client", "/upstreams/1"}, rejected())
	err = h.Refresh(t.Context())
	require.ErrorContains(t, err, "adminapi: /ssls/1: ")
	require.ErrorContains(t, err, "adminapi: /ssls/2: ")
	require.NotContains(t, err.Error(), "bad", "which no secret would mend")
	require.Equal(t, refuses, handshake(gw, "a.test"))
	require.Equal(t, lastGood, handshake(gw, "b.a.test"))
	v["$secret://k"] = "-----BEGIN PRIVATE KEY-----\n" + strings.Repeat("A", 64) + "\n-----END PRIVATE KEY-----"
	require.ErrorContains(t, h.Refresh(t.Context()), "failed to parse key")
	require.ErrorContains(t, h.Status().Rejected[0].Err, "failed to parse key", "the reason is that of now")

	v["$secret://k"] = key
	before := h.Status().Revision
	require.NoError(t, h.Refresh(t.Context()))
	require.Equal(t, []string{"/ssls/bad"}, rejected())
	require.Equal(t, before, h.Status().Revision)
	require.Equal(t, lastGood, handshake(gw, "a.test"))
	require.Equal(t, lastGood, handshake(gw, "c.a.test"))
	require.NotContains(t, handshake(gw, "b.a.test"), "asked")
	require.Empty(t, leak(logs.String(), w.pair.KeyPEM))
	_, shown := ask(gw, "GET", "http://open.test/1", "")
	require.Equal(t, "mtls origin: a.test", shown)

	// It is a document like any other from then on.
	status, body := ask(h, "GET", "http://localhost/apisix/admin/ssls/1", "")
	require.Equal(t, 200, status, body)
	require.Contains(t, body, `"key":"$secret://k"`)
	s.remove(t, "/ssls/1")
	require.NotContains(t, handshake(gw, "a.test"), "asked")
	require.NoError(t, h.Refresh(t.Context()))
	require.NotContains(t, handshake(gw, "a.test"), "asked")
}
