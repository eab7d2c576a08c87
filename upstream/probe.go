package upstream

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
)

// maxProbeHead bounds what is read of the answer to a probe.
const maxProbeHead = 64 << 10

// probe asks a node once, and counts the outcome.
func (p *Pool) probe(ctx context.Context, m *member) {
	k := p.u.checks
	limited, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	status, err := p.ask(limited, m)
	switch {
	case ctx.Err() != nil: // nobody wants to know any more
	case err != nil && limited.Err() != nil:
		p.count(m, timeout, &k.active, "a check", fmt.Sprintf("no answer within %v", k.timeout))
	case err != nil:
		p.count(m, tcpFailure, &k.active, "a check", printable(describe(err)))
	case k.kind == CheckTCP || k.active.healthy.has(status):
		p.count(m, success, &k.active, "a check", "")
	case k.active.unhealthy.has(status):
		p.count(m, httpFailure, &k.active, "a check", fmt.Sprintf("status %d", status))
	}
}

// ask connects to a node and returns the status that it answers with, which is zero
// for the type tcp.
func (p *Pool) ask(ctx context.Context, m *member) (status int, err error) {
	k := p.u.checks
	address := m.address
	if k.port != 0 {
		host, _, _ := net.SplitHostPort(address)
		address = net.JoinHostPort(host, strconv.Itoa(k.port))
	}
	dialled, err := m.dial(ctx, "tcp", address)
	if err != nil {
		return 0, &connectError{err}
	}
	defer dialled.Close()
	if k.kind == CheckTCP {
		return 0, nil
	}
	stop := context.AfterFunc(ctx, func() { _ = dialled.Close() }) // ends what goes on
	defer stop()

	host, name := p.u.probeHost(m.target)
	conn := dialled
	if k.kind == CheckHTTPS {
		config := p.u.probeTLS.Clone()
		config.ServerName = name
		secure := tls.Client(dialled, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			return 0, &handshakeError{err}
		}
		conn = secure
	}
	if _, err := io.WriteString(conn, k.request(host)); err != nil {
		return 0, err
	}
	r := bufio.NewReader(io.LimitReader(conn, maxProbeHead))
	if _, err := r.Peek(1); err != nil {
		return 0, err // ReadResponse does not tell no answer from half of one
	}
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: k.method})
		if err != nil {
			return 0, err
		}
		if resp.StatusCode >= 200 || resp.StatusCode == http.StatusSwitchingProtocols {
			return resp.StatusCode, nil // the body goes with the connection
		}
	}
}

// request returns what is sent to a node.
func (k *checks) request(host string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s", k.method, k.path, host, k.header)
	if k.body != "" {
		fmt.Fprintf(&b, "Content-Length: %d\r\n", len(k.body))
	}
	b.WriteString("\r\n")
	b.WriteString(k.body)
	return b.String()
}

// probeHost returns the Host of a probe, and the name that the node must prove over
// TLS.
func (u *Upstream) probeHost(t *target) (host, name string) {
	host, name = t.name, t.name
	if u.config.PassHost == PassRewrite {
		host, name = u.config.Host, u.rewrite
	} else if _, err := netip.ParseAddr(strings.Trim(t.name, "[]")); err == nil && u.checks.host != "" {
		host = u.checks.host
		name, _ = hostname.CanonicalHost(host)
	}
	return host, cmp.Or(u.serverName, name)
}
