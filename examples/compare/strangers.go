//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"time"
)

// refuseStrangers sees that every proxy does what is compared: with HTTP/1.1 and
// with HTTP/2 it answers the client that has a certificate, has the right one
// itself, refuses those who have none, or another authority's, and does so with the
// same cipher and key exchange as the others.
func (b *bench) refuseStrangers(ctx context.Context, proxies []proxy) error {
	var same string
	for i, p := range proxies {
		used, err := b.refusesStrangers(ctx, p)
		if err == nil && i > 0 && used != same {
			err = fmt.Errorf("it uses %s, and %s %s", used, proxies[0].name, same)
		}
		if err != nil {
			return fmt.Errorf("%s: %w (-only leaves it out)", p.name, err)
		}
		same = used
	}
	return nil
}

// refusesStrangers returns the cipher and the key exchange that a proxy uses.
func (b *bench) refusesStrangers(ctx context.Context, p proxy) (string, error) {
	proc, s, _, err := b.startProxy(ctx, p, 0, serverName)
	if err != nil {
		return "", err
	}
	defer proc.stop()
	for _, protocol := range []string{"http/1.1", "h2"} {
		for _, client := range []struct {
			name, keyPair string
			welcome       bool
		}{
			{"the client", s.clientPEM(), true},
			{"a client without a certificate", "", false},
			{"a client of another authority", s.strangerPEM(), false},
			{"the client", s.clientPEM(), true}, // the proxy refuses, and still runs
		} {
			err := b.get(ctx, s, protocol, client.keyPair)
			switch {
			case client.welcome && err != nil:
				return "", fmt.Errorf("%s, with %s: %w", client.name, protocol, err)
			case !client.welcome && err == nil:
				return "", fmt.Errorf("%s is answered, with %s", client.name, protocol)
			}
		}
	}
	config, err := clientTLS(s.clientPEM())
	if err != nil {
		return "", err
	}
	c, err := dial(s.Listen, config, "http/1.1", time.Now().Add(10*time.Second))
	if err != nil {
		return "", err
	}
	defer c.Close()
	state := c.ConnectionState()
	return fmt.Sprintf("%s %s %s", tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite), state.CurveID), nil
}

// get asks for the small body as any client does: with net/http, and verifying.
func (b *bench) get(ctx context.Context, s site, protocol, keyPair string) error {
	config := &tls.Config{RootCAs: b.roots, ServerName: serverName}
	if keyPair != "" {
		pair, err := tls.LoadX509KeyPair(keyPair, keyPair)
		if err != nil {
			return err
		}
		// Without regard to the authorities that the server asks for: a client may.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	var protocols http.Protocols
	protocols.SetHTTP1(protocol == "http/1.1")
	protocols.SetHTTP2(protocol == "h2")
	transport := &http.Transport{TLSClientConfig: config, Protocols: &protocols}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Listen+"/small", nil)
	if err != nil {
		return err
	}
	req.Host = serverName
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || string(body) != smallBody || (res.ProtoMajor == 2) != (protocol == "h2") {
		return fmt.Errorf("the answer is %s %s, %.100q", res.Proto, res.Status, body)
	}
	return nil
}
