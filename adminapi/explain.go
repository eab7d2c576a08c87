package adminapi

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// This file answers POST /apisix/admin/explain, which APISIX does not have: given
// a request, which ssl object, route, upstream and nodes it would meet, and why.
//
//	{"url": "https://a.test/ip", "method": "GET", "header": {"X-Canary": "1"}, "client": "192.0.2.1"}

// serveExplain explains a request.
func (h *Handler) serveExplain(r *http.Request) (*reply, *failure) {
	sent, f := readBody(r, maxBody)
	if f != nil {
		return nil, f
	}
	if !sent.present {
		return nil, badRequest(&apisix.Error{Text: "missing request", Hint: `send the request that is asked about: {"url": "https://a.test/path"}`})
	}
	asked, err := askedRequest(sent.value)
	if err != nil {
		return nil, sent.explain(badRequest(err))
	}
	return &reply{status: http.StatusOK, body: h.explain(asked)}, nil
}

// explain says what becomes of a request, as the gateway itself does. What it knows of the
// client is no more than the request: with a certificate, it may be better off.
func (h *Handler) explain(asked *http.Request) map[string]any {
	answer := map[string]any{}
	x := h.server.Explain(asked)
	if asked.TLS != nil {
		answer["ssl"] = h.explainSSL(asked, x)
	}
	if reason := reasonOf(asked, x); reason != "" {
		answer["reason"] = reason
	}
	answer["route"] = nil
	if x.Route == nil {
		return answer
	}
	candidates := make([]any, 0, min(len(x.Route.Candidates), maxCandidates))
	for _, c := range x.Route.Candidates {
		if len(candidates) == maxCandidates {
			break
		}
		out := map[string]any{"id": c.Route.ID(), "uri": hidden(c.Pattern), "outcome": c.Outcome.String()}
		if c.Host != "" {
			out["host"] = c.Host
		}
		if len(c.Reasons) > 0 {
			out["reason"] = strings.Join(mapped(c.Reasons, func(r route.Reason) string { return h.inDocument(apisix.Routes, c.Route.ID(), r.Field, r.Text) }), "; ")
		}
		candidates = append(candidates, out)
	}
	answer["candidates"] = candidates
	if found := x.Route.Found.Route; found != nil {
		answer["route"] = found.ID()
		answer["upstream"] = h.explainUpstream(found)
	}
	return answer
}

// reasonOf returns why a request does not get to the upstream of a route, or "" if it does
// or another part of the answer says so.
func reasonOf(asked *http.Request, x *gateway.Explanation) string {
	overTLS := asked.TLS != nil
	switch {
	case x.Route == nil: // nobody looked for one
		return fmt.Sprintf("%s: the answer is %d", x.Message, x.Status)
	case !overTLS && (x.Refused != nil || x.Status == http.StatusPermanentRedirect):
		return fmt.Sprintf("%s: over plain HTTP the answer is %d", x.Message, x.Status)
	case x.Route.Found.Route == nil:
		return "no route fits: the answer is 404"
	case x.Status == http.StatusForbidden:
		return fmt.Sprintf("%s: without one the answer is %d", x.Message, x.Status)
	}
	return ""
}

// maxCandidates is how many routes an explanation names.
const maxCandidates = 100

// askedRequest makes a request of what a client asks about.
func askedRequest(v any) (*http.Request, error) {
	doc, err := apisix.Document(v)
	if err != nil {
		return nil, err
	}
	for name := range doc {
		if !slices.Contains([]string{"url", "method", "header", "client", "sni"}, name) {
			return nil, &apisix.Error{Text: "unknown property " + printable(name), Hint: "known are client, header, method, sni, url"}
		}
	}
	text, _ := doc["url"].(string)
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New(`url should be a whole one, as in "https://a.test/path"`)
	}
	r := &http.Request{
		Method: http.MethodGet, URL: u, Host: u.Host, RequestURI: u.RequestURI(), RemoteAddr: "127.0.0.1:1",
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody,
	}
	if method, ok := doc["method"].(string); ok {
		r.Method = method
	}
	header, _ := doc["header"].(map[string]any)
	for name, value := range header {
		s, ok := value.(string)
		if !ok {
			return nil, errors.New("header should have a text for each name")
		}
		r.Header.Add(name, s)
	}
	if client, ok := doc["client"]; ok {
		text, _ := client.(string)
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, errors.New("client should be an IP address")
		}
		r.RemoteAddr = netip.AddrPortFrom(addr, 1).String()
	}
	if u.Scheme == "https" {
		sni := u.Hostname()
		if _, err := netip.ParseAddr(sni); err == nil {
			sni = "" // clients send no address as a server name (RFC 6066, section 3)
		}
		if name, ok := doc["sni"].(string); ok {
			sni = name
		}
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: sni}
	}
	return r, nil
}

// explainSSL says what becomes of the handshake, and whether the Host goes with it.
func (h *Handler) explainSSL(asked *http.Request, x *gateway.Explanation) map[string]any {
	var reasons []string
	if asked.TLS.ServerName == "" {
		assumed := "there is no FallbackName"
		if x.ServerName != "" {
			assumed = printable(x.ServerName) + " is assumed (FallbackName)"
		}
		reasons = append(reasons, "the client sends no server name", assumed)
	}
	profile := x.Profile
	if profile == nil {
		if x.ServerName != "" {
			reasons = append(reasons, "no ssl object has the name "+printable(x.ServerName))
		}
		return map[string]any{"id": nil, "reason": strings.Join(reasons, ", and ") + ": the handshake ends with the alert unrecognized_name"}
	}
	out := map[string]any{"id": profile.ID(), "client_certificate": profile.DemandsClientCert(), "name": patternOf(profile, x.ServerName)}
	switch {
	case h.refusesAll(profile):
		reasons = append(reasons, "the stored document cannot be used: every handshake is refused")
	case x.Status == http.StatusMisdirectedRequest:
		host := (&url.URL{Host: asked.Host}).Hostname()
		reasons = append(reasons, fmt.Sprintf("the host %s is not one of this ssl object: the answer is 421", printable(host)))
	case profile.DemandsClientCert():
		reasons = append(reasons, "a client certificate that its client.ca does not vouch for is refused")
	}
	if len(reasons) > 0 {
		out["reason"] = strings.Join(reasons, "; ")
	}
	return out
}

// refusesAll reports whether a profile stands in the place of a document that is not in
// force, and refuses whatever that was to serve.
func (h *Handler) refusesAll(p *ssl.Profile) bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	r := h.rejected[keyOf(apisix.SSLs, p.ID())]
	return r != nil && r.refuses != nil
}

// patternOf returns the name of a profile by which it is found.
func patternOf(p *ssl.Profile, name string) string {
	var names hostname.Index[struct{}]
	for _, pattern := range p.Names() {
		names = names.With(pattern, struct{}{})
	}
	m := names.MatchAsSent(name)
	for m.Next() {
		if m.Labels() <= 1 || m.Any() { // a star stands for one label
			return m.Pattern()
		}
	}
	return ""
}

// explainUpstream says where the requests of a route go.
func (h *Handler) explainUpstream(found *route.Route) map[string]any {
	if answers, ok := found.Handler().(unserved); ok {
		return map[string]any{"id": nil, "reason": fmt.Sprintf("%s: the answer is %d", answers.text, answers.status)}
	}
	if found.Handler() != nil {
		return map[string]any{"id": nil, "reason": "the program itself answers"}
	}
	id := found.Upstream()
	status, ok := h.server.Nodes(id)
	if !ok {
		return map[string]any{"id": id, "reason": "there is no such upstream: the answer is 502"}
	}
	nodes := make([]any, len(status))
	usable := 0
	for i, n := range status {
		out := map[string]any{
			"address": n.Address, "weight": n.Weight, "priority": n.Priority, "health": n.Health.String(), "in_flight": n.InFlight,
		}
		if n.Reason != "" {
			out["reason"] = n.Reason
		}
		if !n.EjectedUntil.IsZero() {
			out["ejected_until"] = n.EjectedUntil.Unix()
		}
		if n.Health <= upstream.MostlyHealthy && n.EjectedUntil.IsZero() {
			usable++
		}
		nodes[i] = out
	}
	out := map[string]any{"id": id, "nodes": nodes}
	switch {
	case len(nodes) == 0:
		out["reason"] = "it has no nodes: the answer is 503"
	case usable == 0:
		out["reason"] = "none of its nodes is healthy: all of them are used"
	case usable < len(nodes):
		out["reason"] = fmt.Sprintf("%d of its %d nodes are used: the balancer chooses among those of the highest priority", usable, len(nodes))
	default:
		out["reason"] = "the balancer chooses among the nodes of the highest priority"
	}
	return out
}
