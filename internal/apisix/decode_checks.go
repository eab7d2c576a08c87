package apisix

import (
	"net/http"
	"strings"
	"time"

	"github.com/sallyport/sallyport/upstream"
)

// checks decodes health checks. APISIX's defaults and those of a Config are the same,
// but for one: where an object "healthy" or "unhealthy" is absent, nodes in that state
// are not probed at all.
func (d *decoding) checks(doc map[string]any) *upstream.Checks {
	c := &upstream.Checks{}
	d.in("active", func() { d.activeChecks(&c.Active, objectOf(doc, "active")) })
	if has(doc, "passive") {
		c.Passive = &upstream.PassiveChecks{}
		d.in("passive", func() { d.passiveChecks(c.Passive, objectOf(doc, "passive")) })
	}
	return c
}

func (d *decoding) activeChecks(a *upstream.ActiveChecks, doc map[string]any) {
	// APISIX takes any number here. With these no check would ever succeed, or be made.
	for _, property := range []string{"timeout", "concurrency"} {
		if n, ok := number(doc[property]); ok && n <= 0 {
			d.refuse(property, "%s is not above 0", luaNumber(n))
		}
	}
	a.Type = upstream.CheckType(stringOf(doc, "type"))
	if has(doc, "timeout") {
		a.Timeout = seconds(doc, "timeout")
	}
	a.Concurrency = d.integer(doc, "concurrency")
	a.Host = stringOf(doc, "host")
	a.Port = d.integer(doc, "port")
	a.Method = stringOf(doc, "http_method")
	a.Path = stringOf(doc, "http_path")
	if body := stringOf(doc, "http_req_body"); body != "" {
		a.Body = []byte(body)
	}
	if verify, ok := doc["https_verify_certificate"].(bool); ok {
		a.DangerouslySkipServerVerify = !verify
	}
	for _, line := range stringsOf(doc, "req_headers") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			d.refuse("req_headers", `%s is no header field: write "Name: value"`, quote(line))
			continue
		}
		if a.Header == nil {
			a.Header = http.Header{}
		}
		a.Header.Add(name, strings.TrimSpace(value))
	}

	healthy, unhealthy := objectOf(doc, "healthy"), objectOf(doc, "unhealthy")
	a.HealthyInterval, a.UnhealthyInterval = interval(healthy), interval(unhealthy)
	a.HealthyStatuses, a.UnhealthyStatuses = d.integers(healthy, "http_statuses"), d.integers(unhealthy, "http_statuses")
	a.Successes = d.limit(healthy, "successes")
	a.HTTPFailures = d.limit(unhealthy, "http_failures")
	a.TCPFailures = d.limit(unhealthy, "tcp_failures")
	a.Timeouts = d.limit(unhealthy, "timeouts")
}

func (d *decoding) passiveChecks(p *upstream.PassiveChecks, doc map[string]any) {
	healthy, unhealthy := objectOf(doc, "healthy"), objectOf(doc, "unhealthy")
	p.HealthyStatuses, p.UnhealthyStatuses = d.integers(healthy, "http_statuses"), d.integers(unhealthy, "http_statuses")
	p.Successes = d.limit(healthy, "successes")
	p.HTTPFailures = d.limit(unhealthy, "http_failures")
	p.TCPFailures = d.limit(unhealthy, "tcp_failures")
	p.Timeouts = d.limit(unhealthy, "timeouts")
}

// interval returns the time between two probes of nodes that an object is about. doc
// is nil if there is no such object.
func interval(doc map[string]any) time.Duration {
	switch {
	case doc == nil:
		return upstream.NoProbes
	case has(doc, "interval"):
		return seconds(doc, "interval")
	default:
		return 0
	}
}

// limit returns a limit of counts. In a document, zero is none.
func (d *decoding) limit(doc map[string]any, property string) int {
	n := d.integer(doc, property)
	if n == 0 && has(doc, property) {
		return upstream.NotCounted
	}
	return n
}

func (d *decoding) integers(doc map[string]any, property string) (list []int) {
	for _, v := range arrayOf(doc, property) {
		list = append(list, d.toInteger(property, v))
	}
	return list
}
