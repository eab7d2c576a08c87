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

	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/urlpath"
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
	asked, sni, err := askedRequest(sent.value)
	if err != nil {
		return nil, sent.explain(badRequest(err))
	}
	return &reply{status: http.StatusOK, body: h.explain(asked, sni)}, nil
}

// explain says what becomes of a request.
func (h *Handler) explain(asked *http.Request, sni string) map[string]any {
	answer := map[string]any{}
	if asked.TLS != nil {
		answer["ssl"] = h.explainSSL(asked, sni)
	}
	explanation, err := h.server.Routes().ExplainHTTP(asked)
	if err != nil {
		answer["route"], answer["reason"] = nil, err.Error()
		return answer
	}
	candidates := make([]any, 0, min(len(explanation.Candidates), maxCandidates))
	for _, c := range explanation.Candidates {
		if len(candidates) == maxCandidates {
			break
		}
		out := map[string]any{"id": c.Route.ID(), "uri": c.Pattern, "outcome": c.Outcome.String()}
		if c.Host != "" {
			out["host"] = c.Host
		}
		if c.Reason != "" {
			out["reason"] = c.Reason
		}
		candidates = append(candidates, out)
	}
	answer["candidates"] = candidates
	found := explanation.Found.Route
	if found == nil {
		answer["route"], answer["reason"] = nil, "no route fits: the answer is 404"
		return answer
	}
	answer["route"] = found.ID()
	if why := whyNotPlain(h.server.Profiles(), found, asked); why != "" {
		answer["reason"] = why + ": over plain HTTP the answer is 403, unless the gateway was told otherwise (PlainHTTP)"
	}
	answer["upstream"] = h.explainUpstream(found)
	return answer
}

// refusalOf returns what the guard has against a request without a client certificate, or nil.
func refusalOf(table *ssl.Table, r *http.Request) *ssl.RequestError {
	guard, _ := ssl.NewTerminator(func() *ssl.Table { return table }, nil) // no Options, no fault
	_, err := guard.Judge(table, r.TLS, r.Host, guardedPath(r))
	var refusal *ssl.RequestError
	errors.As(err, &refusal)
	return refusal
}

// guardedPath is the path that the guard sees: none where the path can be read in more than
// one way.
func guardedPath(r *http.Request) string {
	path, _ := urlpath.Parse(urlpath.Raw(r))
	return path.Guard()
}

// whyNotPlain returns why the gateway refuses a request that comes over plain HTTP, or "".
func whyNotPlain(table *ssl.Table, found *route.Route, r *http.Request) string {
	switch {
	case r.TLS != nil || found.AllowPlain():
		return ""
	case refusalOf(table, r) != nil:
		return "the host demands client certificates"
	case found.EveryHost() && table.DemandsClientCert() && !urlpath.ACMEChallenge(guardedPath(r)):
		return "the route is for every host, and some demand client certificates"
	}
	return ""
}

// maxCandidates is how many routes an explanation names.
const maxCandidates = 100

// askedRequest makes a request of what a client asks about.
func askedRequest(v any) (r *http.Request, sni string, err error) {
	doc, err := apisix.Document(v)
	if err != nil {
		return nil, "", err
	}
	for name := range doc {
		if !slices.Contains([]string{"url", "method", "header", "client", "sni"}, name) {
			return nil, "", &apisix.Error{Text: "unknown property " + printable(name), Hint: "known are client, header, method, sni, url"}
		}
	}
	text, _ := doc["url"].(string)
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, "", errors.New(`url should be a whole one, as in "https://a.test/path"`)
	}
	r = &http.Request{
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
			return nil, "", errors.New("header should have a text for each name")
		}
		r.Header.Add(name, s)
	}
	if client, ok := doc["client"]; ok {
		text, _ := client.(string)
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return nil, "", errors.New("client should be an IP address")
		}
		r.RemoteAddr = netip.AddrPortFrom(addr, 1).String()
	}
	if u.Scheme == "https" {
		sni = u.Hostname()
		if name, ok := doc["sni"].(string); ok {
			sni = name
		}
		r.TLS = &tls.ConnectionState{Version: tls.VersionTLS13, HandshakeComplete: true, ServerName: sni}
	}
	return r, sni, nil
}

// explainSSL says what becomes of the handshake, and whether the Host goes with it.
func (h *Handler) explainSSL(r *http.Request, sni string) map[string]any {
	table := h.server.Profiles()
	profile := table.Lookup(sni)
	if profile == nil {
		return map[string]any{"id": nil, "reason": fmt.Sprintf("no ssl object has the name %s: the handshake ends with the alert unrecognized_name", printable(sni))}
	}
	names := profile.Names()
	out := map[string]any{"id": profile.ID(), "client_certificate": profile.DemandsClientCert()}
	for _, name := range names {
		suffix, star := strings.CutPrefix(name, "*")
		if strings.EqualFold(name, sni) || star && strings.HasSuffix(strings.ToLower(sni), suffix) {
			out["name"] = name
		}
	}
	if profile.DemandsClientCert() {
		out["reason"] = "a client certificate that its client.ca does not vouch for is refused"
	}
	if refusal := refusalOf(table, r); refusal != nil && refusal.Status == http.StatusMisdirectedRequest {
		host := (&url.URL{Host: r.Host}).Hostname()
		out["reason"] = fmt.Sprintf("the host %s is not one of this ssl object: the answer is 421", printable(host))
	}
	return out
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
