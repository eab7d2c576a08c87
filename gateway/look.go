package gateway

import (
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Profiles returns the table of profiles that handshakes and the guard use now. Like
// [*Server.Routes], it is for inspection; use [*Server.Apply] to change it.
func (s *Server) Profiles() *ssl.Table { return s.snap.Load().ssl }

// Nodes returns the state of the nodes of an upstream, as [upstream.Pool.Nodes] does. ok
// is false if there is no upstream with this id.
func (s *Server) Nodes(upstreamID string) (nodes []upstream.NodeStatus, ok bool) {
	pool, ok := s.snap.Load().pools.Get(upstreamID)
	if !ok {
		return nil, false
	}
	return pool.Nodes(), true
}

// Upstream returns the upstream with an id, or nil. It is for inspection.
func (s *Server) Upstream(id string) *upstream.Upstream {
	pool, ok := s.snap.Load().pools.Get(id)
	if !ok {
		return nil
	}
	return pool.Upstream()
}
