//go:build linux

package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// dial makes a connection and its handshake. It lives until a time at most.
func dial(addr string, config *tls.Config, protocol string, until time.Time) (*tls.Conn, error) {
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(until); err != nil {
		return nil, err
	}
	if config.NextProtos[0] != protocol {
		config = config.Clone()
		config.NextProtos = []string{protocol}
	}
	c := tls.Client(conn, config)
	if err := c.Handshake(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake: %w", err)
	}
	if got := c.ConnectionState().NegotiatedProtocol; got != protocol {
		conn.Close()
		return nil, fmt.Errorf("the protocol is %q, not %q", got, protocol)
	}
	return c, nil
}

// clientTLS is the same towards every proxy. The key exchange is the one that all
// of them have: X25519MLKEM768 needs OpenSSL 3.5.
func clientTLS(keyPair string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(keyPair, keyPair)
	return &tls.Config{
		Certificates:     []tls.Certificate{pair},
		ServerName:       serverName,
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519},
		NextProtos:       []string{"http/1.1"},
		// The proxy's chain was verified before (refuseStrangers). To do it again in
		// every handshake would be the load's time, not the proxy's.
		InsecureSkipVerify: true,
	}, err
}
