//go:build linux

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
)

// runNetHTTP is what one writes by hand: net/http and httputil.ReverseProxy, with
// the transport tuned, buffers pooled, and a tls.Config for each server name.
func runNetHTTP(config []byte) error {
	var s site
	if err := json.Unmarshal(config, &s); err != nil {
		return err
	}
	ca, err := os.ReadFile(s.clientCA())
	if err != nil {
		return err
	}
	clients := x509.NewCertPool()
	if !clients.AppendCertsFromPEM(ca) {
		return errors.New("the client CA has no certificate")
	}
	var configs sync.Map // of *tls.Config, by server name
	put := func(name, file string) error {
		pair, err := tls.LoadX509KeyPair(file, file)
		if err != nil {
			return err
		}
		configs.Store(name, &tls.Config{
			Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert,
			MinVersion: tls.VersionTLS13, NextProtos: []string{"h2", "http/1.1"},
		})
		return nil
	}
	for name, file := range s.keyPairs() {
		if err := put(name, file); err != nil {
			return err
		}
	}

	origin := &url.URL{Scheme: "http", Host: s.Origin}
	server := &http.Server{
		Handler: &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(origin)
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			Transport: &http.Transport{
				MaxIdleConnsPerHost: idleUpstream, IdleConnTimeout: idleTimeout, DisableCompression: true,
			},
			BufferPool: &buffers{sync.Pool{New: func() any { return new([32 << 10]byte) }}},
		},
		TLSConfig: &tls.Config{
			MinVersion: tls.VersionTLS13,
			GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
				if c, ok := configs.Load(strings.ToLower(hello.ServerName)); ok {
					return c.(*tls.Config), nil
				}
				return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
			},
		},
		HTTP2:       &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		IdleTimeout: idleTimeout, ReadHeaderTimeout: 30 * time.Second,
	}
	go collectOnSignal()
	go onLines(func(name string) error { return put(name, s.namePEM(name)) })
	l, err := net.Listen("tcp", s.Listen)
	if err != nil {
		return err
	}
	return server.ServeTLS(l, "", "")
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte    { return b.pool.Get().(*[32 << 10]byte)[:] }
func (b *buffers) Put(buf []byte) { b.pool.Put((*[32 << 10]byte)(buf)) }
