package route

// This file tells people what a route is for. [New] has checked it, and found it in order.

// Hosts returns the hosts of the route in canonical form, grouped by name: "a.test",
// "*.a.test:80". None means any.
func (r *Route) Hosts() []string { return hostNames(r.hosts) }

// Paths returns [Config.Paths].
func (r *Route) Paths() []string {
	paths := make([]string, len(r.paths))
	for i, p := range r.paths {
		paths[i] = p.text
	}
	return paths
}

// Methods returns the methods that the route accepts, the usual ones first. None means any.
func (r *Route) Methods() []string {
	if r.methods == anyMethod {
		return nil
	}
	return r.methodNames()
}
