// Package sample has a report to try a page with: something of everything, at a time that
// stands still.
package sample

import (
	"math"
	"time"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/ssl"
)

// now is when the report was made.
var now = time.Date(2026, 11, 26, 14, 3, 5, 0, time.UTC)

// Report returns the report. It is the caller's to change.
func Report() *statuspage.Report {
	r := &statuspage.Report{
		Time: now, Since: now.Add(-49 * time.Hour),
		Concerns: []statuspage.Concern{
			{Section: "names", Text: "A certificate has ended: ssl old."},
			{Section: "names", Text: "A certificate ends soon: ssl shop."},
			{Section: "upstreams", Text: "A node is not well: upstream billing."},
		},
		Configuration: statuspage.Configuration{
			Revision: 1042, Changed: now.Add(-7 * time.Minute), Names: 4, Routes: 1203, Upstreams: 3,
			Storage: statuspage.Storage{
				Kind: "*etcd.Storage", Followed: true, Revision: 88123, Error: "connection refused", Since: now.Add(-3 * time.Minute),
				Rejected: []statuspage.Rejected{{Key: "/routes/9", Revision: 88120, Error: `unknown plugin "limit-req"`, LastGood: true}},
				Files:    []statuspage.File{{Path: "/etc/sallyport/apisix.json", Error: "routes[2]: uri should begin with a slash", Since: now.Add(-2 * time.Minute)}},
			},
		},
		Connections: statuspage.Connections{
			Accepted: 91234, Open: 214,
			HTTP1: statuspage.Protocol{Accepted: 80000, Open: 120, Idle: 100}, HTTP2: statuspage.Protocol{Accepted: 11000, Open: 94, Idle: 12},
			Limits: map[string]uint64{"HeaderTimeout": 12, "Connections": 0},
		},
	}
	t := &r.Traffic
	reason := statuspage.Reason{Reason: "unknown_ca", Meaning: ssl.ReasonUnknownCA.Meaning()}
	for i := range 61 {
		wave := 1.5 + math.Sin(float64(i)/9) + 0.15*math.Sin(float64(i)*2.3)
		m := statuspage.Minute{
			Begin: now.Truncate(time.Minute).Add(time.Duration(i-60) * time.Minute), Seconds: 60,
			Handshakes: uint64(18 * wave),
			Answers:    statuspage.Answers{Success: uint64(300 * wave), Redirection: uint64(40 * wave), ClientError: uint64(20 * wave)},
		}
		if i > 30 && i < 38 {
			m.Failed, m.Answers.ServerError = uint64(i-30)*2, uint64(60*wave)
		}
		reason.Minutes = append(reason.Minutes, m.Failed)
		reason.Count += m.Failed
		t.Handshakes += m.Handshakes
		t.Failed += m.Failed
		t.Answers.Success += m.Answers.Success
		t.Answers.Redirection += m.Answers.Redirection
		t.Answers.ClientError += m.Answers.ClientError
		t.Answers.ServerError += m.Answers.ServerError
		t.Minutes = append(t.Minutes, m)
	}
	expired := make([]uint64, 61)
	expired[12], expired[55] = 1, 1
	t.Reasons = []statuspage.Reason{reason, {Reason: "expired", Meaning: ssl.ReasonExpired.Meaning(), Count: 2, Minutes: expired}}
	t.RequestsPerSecond, t.HandshakesPerSecond = 16.2, 0.73

	r.Refused = 1203
	r.Refusals = list(64, statuspage.Refusal{
		Time: now.Add(-12 * time.Second), Reason: "unknown_ca", Remote: "192.0.2.77:51234", ServerName: "billing.example.com", Profile: "billing",
		Subject: "CN=alice,O=Partner", Issuer: "CN=Partner CA 2,O=Partner", Serial: "3F12AB", SHA256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Advice: `the client's issuer CN=Partner CA 2,O=Partner is not among the CAs of the profile "billing" (CN=Partner CA 1,O=Partner; CN=People): have the client use a certificate of one of these CAs and send its intermediates along, or add the client's CA to the profile`,
	}, statuspage.Refusal{
		Time: now.Add(-95 * time.Second), Status: 421, Reason: "misdirected", Remote: "192.0.2.9:40001", Client: "203.0.113.4", ServerName: "shop.example.com", Host: "billing.example.com", Profile: "billing",
		Advice: `the request is for "billing.example.com", and its connection was made for "shop.example.com": ` + ssl.ReasonMisdirected.Remedy(),
	}, statuspage.Refusal{
		Time: now.Add(-20 * time.Minute), Reason: "no_sni", Remote: "198.51.100.200:1024",
		Advice: "the client named no server: " + ssl.ReasonNoSNI.Remedy(),
	})
	names := 2000
	r.Names = list(4, statuspage.Name{
		ID: "old", Names: []string{"old.example.com"},
		Certificates: []statuspage.Certificate{{Subject: "CN=old.example.com", Issuer: "CN=Example CA", Key: "RSA 2048", NotBefore: now.Add(-300 * 24 * time.Hour), NotAfter: now.Add(-2 * 24 * time.Hour), State: statuspage.Ended}},
		Warnings:     []string{"cert: the certificate (CN=old.example.com) expired on 2026-11-24"},
	}, statuspage.Name{
		ID: "shop", Names: []string{"shop.example.com", "www.example.com", "example.com", "shop.example.net", "shop.example.org", "shop.example.de"},
		Certificates: []statuspage.Certificate{
			{Subject: "CN=shop", Issuer: "CN=R3,O=Let's Encrypt", Key: "ECDSA P-256", NotBefore: now.Add(-70 * 24 * time.Hour), NotAfter: now.Add(20 * 24 * time.Hour), State: statuspage.EndsSoon},
			{Subject: "CN=shop", Issuer: "CN=R3,O=Let's Encrypt", Key: "RSA 2048", NotBefore: now.Add(-20 * 24 * time.Hour), NotAfter: now.Add(70 * 24 * time.Hour), State: statuspage.Valid},
		},
		Handshakes: 81234, Resumed: 51234,
	}, statuspage.Name{
		ID: "billing", Names: []string{"billing.example.com"},
		Certificates: []statuspage.Certificate{{Subject: "CN=billing", Issuer: "CN=Example CA", Key: "Ed25519", NotBefore: now.Add(-20 * 24 * time.Hour), NotAfter: now.Add(345 * 24 * time.Hour), State: statuspage.Valid}},
		Client: &statuspage.Client{
			Required: true, Depth: 1, CAs: []string{"CN=Partner CA 1,O=Partner", "CN=People"}, Allow: &names, Authorizer: "v7",
			CRLs: []statuspage.CRL{{Issuer: "CN=People", NextUpdate: now.Add(30 * time.Hour), Revoked: 17}, {Issuer: "CN=Partner CA 1", NextUpdate: now.Add(-time.Hour), Revoked: 3, OutOfDate: true}},
		},
		Handshakes: 9120, Resumed: 8000, Failed: map[string]uint64{"unknown_ca": 56, "expired": 2},
	}, statuspage.Name{
		ID: "wild", Names: []string{"*.apps.example.com"},
		Certificates: []statuspage.Certificate{{Subject: "CN=apps", Issuer: "CN=Example CA", Key: "ECDSA P-384", NotBefore: now.Add(-20 * 24 * time.Hour), NotAfter: now.Add(3650 * 24 * time.Hour), State: statuspage.Valid}},
		Client:       &statuspage.Client{SkipPaths: []string{"^/healthz$", "^/public/"}, Depth: 2, CAs: []string{"CN=People"}},
	})
	r.Routes = list(1203, statuspage.Route{
		ID: "shop-api", Hosts: []string{"shop.example.com"}, Paths: []string{"/api/*"}, Methods: []string{"GET", "POST"}, Priority: 10, Upstream: "shop",
		LastHour: statuspage.Answers{Success: 50000, ClientError: 1200, ServerError: 420}, RequestsPerSecond: 14.3, ErrorShare: 420. / 51620, ClientErrorShare: 1200. / 51620, MeanSeconds: .0123,
	}, statuspage.Route{
		ID: "billing", Hosts: []string{"billing.example.com"}, Paths: []string{"/*"}, Upstream: "billing",
		LastHour: statuspage.Answers{Success: 500}, RequestsPerSecond: .2, MeanSeconds: .45,
	}, statuspage.Route{
		ID: "healthz", Paths: []string{"/healthz"}, Target: "the program itself", Disabled: true, Warnings: []string{`it is never found: route "shop-api" goes before it and takes all of its requests`},
	})
	r.Upstreams = list(3, statuspage.Upstream{
		ID: "billing", Scheme: "https", Balancer: "least_conn", Answers: statuspage.Answers{Success: 9120}, Retries: 31, MeanWaitSeconds: .4,
		Nodes: []statuspage.Node{
			{Address: "10.0.3.1:8443", Weight: 1, Health: "healthy", InFlight: 2, Requests: 9000, Failures: 3, LastError: "read: connection reset by peer", LastErrorAt: now.Add(-3 * time.Hour)},
			{Address: "10.0.3.2:8443", Weight: 1, Health: "unhealthy", Reason: "active check: connection refused", Requests: 151, Failures: 31, LastError: "active check: connection refused", LastErrorAt: now.Add(-3 * time.Second)},
		},
	}, statuspage.Upstream{
		ID: "shop", Scheme: "http", Balancer: "roundrobin", Answers: statuspage.Answers{Success: 1051620}, MeanWaitSeconds: .011,
		Nodes: []statuspage.Node{
			{Address: "10.0.2.1:8080", Weight: 10, Health: "healthy", InFlight: 3, Requests: 1000000},
			{Address: "10.0.2.2:8080", Weight: 1, Health: "mostly_healthy", Requests: 51620, EjectedUntil: now.Add(12 * time.Second), Priority: -1},
		},
	}, statuspage.Upstream{ID: "empty", Scheme: "http", Balancer: "roundrobin"})
	r.Explain = map[string]any{
		"route": "shop-api", "ssl": map[string]any{"id": "shop", "client_certificate": false, "name": "shop.example.com"},
		"candidates": []any{
			map[string]any{"id": "upload", "uri": "/api/files/*", "host": "shop.example.com", "outcome": "passed over", "reason": "the method is none of PUT"},
			map[string]any{"id": "shop-api", "uri": "/api/*", "host": "shop.example.com", "outcome": "found"},
		},
		"upstream": map[string]any{"id": "shop", "reason": "the balancer chooses among the nodes of the highest priority", "nodes": []any{
			map[string]any{"address": "10.0.2.1:8080", "health": "healthy"}, map[string]any{"address": "10.0.2.2:8080", "health": "mostly_healthy"},
		}},
	}
	return r
}

func list[T any](total int, items ...T) statuspage.List[T] {
	return statuspage.List[T]{Part: statuspage.Part{Total: total, Matching: total, Page: 1, Pages: (total + 19) / 20}, List: items}
}
