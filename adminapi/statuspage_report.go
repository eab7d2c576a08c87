package adminapi

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/sallyport/sallyport/adminapi/statuspage"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/internal/apisix"
	"github.com/sallyport/sallyport/internal/statushtml"
)

// report says how the gateway is doing, as far as a query asks for it. Its parts are read
// one after another: an object that goes meanwhile may be missing in one.
func (h *Handler) report(q *statushtml.Query) *statuspage.Report {
	stats, history := h.server.Stats(), h.server.History()
	r := &statuspage.Report{
		Time:          stats.At,
		Since:         stats.Since,
		Configuration: h.reportConfiguration(&stats),
		Connections:   reportConnections(&stats),
		Traffic:       reportTraffic(&history),
		Refused:       stats.RefusalsTotal,
		Refusals:      reportRefusals(h.server.Refusals(), q),
		Names:         h.reportNames(&stats, q),
		Routes:        h.reportRoutes(&stats, &history, q),
		Upstreams:     h.reportUpstreams(&stats, q),
	}
	if q.Asked.URL != "" {
		r.Explain = h.answerAsked(&q.Asked)
	}
	r.Concerns = h.concerns(&stats, &r.Configuration)
	return r
}

// reportConfiguration says what is in force, and where it is kept.
func (h *Handler) reportConfiguration(stats *gateway.Stats) statuspage.Configuration {
	c := statuspage.Configuration{
		Revision:  stats.Config.Revision,
		Changed:   stats.Config.Changed,
		Names:     stats.Config.Profiles,
		Routes:    stats.Config.Routes,
		Upstreams: stats.Config.Upstreams,
		Storage:   statuspage.Storage{Kind: fmt.Sprintf("%T", h.storage), Rejected: []statuspage.Rejected{}, Files: h.reportFiles()},
	}
	switch h.storage.(type) {
	case *Memory:
		c.Storage.Kind = "memory"
	case *File:
		c.Storage.Kind = "file"
	}
	if h.following == nil {
		return c
	}
	status := h.Status()
	s := &c.Storage
	s.Followed, s.Revision, s.Since = true, status.Revision, status.Since
	if status.Err != nil {
		s.Error = withoutKey(status.Err.Error())
	}
	for _, r := range status.Rejected {
		s.Rejected = append(s.Rejected, statuspage.Rejected{Key: r.Key, Revision: r.Revision, Error: withoutKey(r.Err.Error()), LastGood: r.LastGood})
	}
	return c
}

// reportFiles says which files are watched.
func (h *Handler) reportFiles() []statuspage.File {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return mapped(h.watched, func(w *FileWatcher) statuspage.File {
		f := statuspage.File{Path: w.path}
		if trouble := w.trouble.Load(); trouble != nil {
			f.Error, f.Since = withoutKey(trouble.err.Error()), trouble.since
		}
		return f
	})
}

// reportConnections says what clients there are.
func reportConnections(stats *gateway.Stats) statuspage.Connections {
	c := stats.Connections
	out := statuspage.Connections{
		Accepted: c.Accepted, Open: c.Open, HTTP1: statuspage.Protocol(c.HTTP1), HTTP2: statuspage.Protocol(c.HTTP2),
		Limits: map[string]uint64{},
	}
	for _, l := range stats.Limits {
		out.Limits[string(l.Limit)] = l.Count
	}
	return out
}

// reportTraffic says what went on in the last hour.
func reportTraffic(history *gateway.History) statuspage.Traffic {
	t := statuspage.Traffic{Minutes: []statuspage.Minute{}, Reasons: []statuspage.Reason{}}
	at := map[string]int{} // in t.Reasons
	for i, m := range history.Minutes {
		minute := statuspage.Minute{Begin: m.Begun, Seconds: m.Took.Seconds(), Handshakes: m.Handshakes, Answers: answersOf(m.Requests)}
		for _, f := range m.Failed {
			reason := string(f.Reason)
			j, known := at[reason]
			if !known {
				j = len(t.Reasons)
				at[reason] = j
				t.Reasons = append(t.Reasons, statuspage.Reason{Reason: reason, Meaning: f.Reason.Meaning(), Minutes: make([]uint64, len(history.Minutes))})
			}
			t.Reasons[j].Minutes[i] += f.Count
			t.Reasons[j].Count += f.Count
			minute.Failed += f.Count
		}
		t.Minutes = append(t.Minutes, minute)
		t.Handshakes += minute.Handshakes
		t.Failed += minute.Failed
		t.Answers = plus(t.Answers, minute.Answers)
	}
	slices.SortFunc(t.Reasons, func(a, b statuspage.Reason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Reason, b.Reason))
	})
	if n := len(t.Minutes); n > 0 {
		last := t.Minutes[max(n-2, 0)] // the last one has just begun
		t.RequestsPerSecond = perSecond(last.Answers.Total(), last.Seconds)
		t.HandshakesPerSecond = perSecond(last.Handshakes, last.Seconds)
	}
	return t
}

// reportRefusals says who was refused, the newest first.
func reportRefusals(all []gateway.Refusal, q *statushtml.Query) statuspage.List[statuspage.Refusal] {
	fits := filter(q.Refusals.Filter)
	matching := slices.DeleteFunc(slices.Clone(all), func(r gateway.Refusal) bool {
		return !fits(r.RemoteAddr, r.ClientAddr, r.ServerName, r.Host, r.Profile, r.Route, string(r.Reason), r.Subject, r.Issuer, r.Serial, r.SHA256)
	})
	return listed(len(all), matching, q.Refusals.Page, q.Size, func(r gateway.Refusal) (statuspage.Refusal, bool) {
		out := statuspage.Refusal{
			Time: r.At, Status: r.Status, Reason: string(r.Reason), Advice: r.Advice,
			ServerName: r.ServerName, Host: r.Host, Remote: r.RemoteAddr, Profile: r.Profile, Route: r.Route,
			Subject: r.Subject, Issuer: r.Issuer, Serial: r.Serial, SHA256: r.SHA256,
		}
		if host, _, err := net.SplitHostPort(r.RemoteAddr); err != nil || host != r.ClientAddr {
			out.Client = r.ClientAddr
		}
		return out, true
	})
}

// answerAsked explains the request that a query asks about, as POST /explain does.
func (h *Handler) answerAsked(asked *statushtml.Asked) map[string]any {
	doc := map[string]any{"url": asked.URL}
	for name, value := range map[string]string{"method": asked.Method, "client": asked.Client, "sni": asked.SNI} {
		if value = strings.TrimSpace(value); value != "" {
			doc[name] = value
		}
	}
	header, err := readHeader(asked.Header)
	var r *http.Request
	if err == nil {
		doc["header"] = header
		r, err = askedRequest(doc)
	}
	if err != nil {
		answer, _ := badRequest(err).reply().body.(map[string]any)
		return answer
	}
	return h.explain(r)
}

// readHeader reads fields, one a line. Those of one name are joined, as RFC 9110, section
// 5.3, says.
func readHeader(text string) (map[string]any, error) {
	header := map[string]any{}
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, &apisix.Error{Text: "header should have a field in each line", Hint: `as in "X-Canary: 1"`}
		}
		name, value = http.CanonicalHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value)
		if before, ok := header[name].(string); ok {
			value = before + ", " + value
		}
		header[name] = value
	}
	return header, nil
}
