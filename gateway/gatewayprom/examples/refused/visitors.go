package main

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"time"
)

// visitors are the clients of the gateway, one of a kind.
type visitors []*http.Client

func newVisitors(address string, partners, strangers *ca) (visitors, error) {
	alice, err := partners.client("alice", time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	late, err := partners.client("late", time.Now().Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	mallory, err := strangers.client("mallory", time.Now().Add(time.Hour))
	if err != nil {
		return nil, err
	}
	return visitors{
		newVisitor(address, serverName, alice), // is welcome
		newVisitor(address, serverName, nil),
		newVisitor(address, serverName, late),
		newVisitor(address, serverName, mallory),
		newVisitor(address, "nobody.test", alice),
	}, nil
}

// newVisitor returns a client that makes a connection for each request.
func newVisitor(address, name string, certificate *tls.Certificate) *http.Client {
	config := &tls.Config{
		ServerName: name,
		// What the gateway shows is not what this program is about.
		InsecureSkipVerify: true,
	}
	if certificate != nil {
		// And not by Certificates, of which none is shown that the server would refuse.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return certificate, nil }
	}
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, address)
		},
		TLSClientConfig:   config,
		DisableKeepAlives: true,
	}}
}

// keepComing lets each of them ask twice a second.
func (v visitors) keepComing(ctx context.Context) {
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		for _, client := range v {
			visit(ctx, client)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// visit asks once. Who is refused is told so by an error, as is meant here.
func visit(ctx context.Context, client *http.Client) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+serverName+"/", nil)
	if err != nil {
		return
	}
	res, err := client.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
}
