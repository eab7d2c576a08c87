package gatewayprom

import (
	"runtime"
	"runtime/debug"

	"github.com/sallyport/sallyport/gateway"
)

// server is about the gateway as a whole.
func (c *collector) server(s sink, st *gateway.Stats) {
	s.gauge(buildInfo, 1, c.version, runtime.Version())
	s.timestamp(startTime, st.Since)
	s.counter(configChanges, st.Config.Revision)
	s.timestamp(configChanged, st.Config.Changed)
	s.gauge(configObjects, float64(st.Config.Profiles), "profile")
	s.gauge(configObjects, float64(st.Config.Routes), "route")
	s.gauge(configObjects, float64(st.Config.Upstreams), "upstream")

	s.counter(connectionsAccepted, st.Connections.Accepted)
	s.gauge(connectionsOpen, float64(st.Connections.Open))
	s.protocol("http/1.1", &st.Connections.HTTP1)
	s.protocol("h2", &st.Connections.HTTP2)
	for _, limit := range st.Limits {
		s.counter(limitsReached, limit.Count, string(limit.Limit))
	}
}

func (s sink) protocol(name string, p *gateway.ProtocolStats) {
	s.counter(protocolAccepted, p.Accepted, name)
	s.gauge(protocolOpen, float64(max(p.Open-p.Idle, 0)), name, "active") // one was read before the other
	s.gauge(protocolOpen, float64(p.Idle), name, "idle")
}

const module = "github.com/sallyport/sallyport"

// moduleVersion returns the version of the gateway in this program, "v1.2.3".
func moduleVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range append(info.Deps, &info.Main) {
		if dep.Path != module {
			continue
		}
		if dep.Replace != nil {
			dep = dep.Replace
		}
		if dep.Version == "" || dep.Version == "v0.0.0" { // a replacement by a directory
			return "(devel)"
		}
		return dep.Version
	}
	return "unknown"
}
