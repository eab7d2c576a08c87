package gateway_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// What chash hashes is what the gateway says of a request: also what the node is not
// told, such as what the path has captured and the client's certificate.
func TestHashOnVariables(t *testing.T) {
	h := newHarness(t, &gateway.Options{Route: route.Options{Router: route.RouterURIWithParameter}})
	var nodes []upstream.Node
	for range 8 {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Node", r.Context().Value(http.LocalAddrContextKey).(interface{ String() string }).String())
		}))
		t.Cleanup(server.Close)
		nodes = append(nodes, upstreamTo("", server.Listener.Addr().String()).Nodes...)
	}
	upstreams := map[string]upstream.Config{
		"id":   {HashOn: "vars_combinations", HashKey: "$uri_param_id"},
		"dn":   {HashOn: "vars_combinations", HashKey: "${ssl_client_s_dn}"},
		"user": {HashOn: "header", HashKey: "X-User"},
		"addr": {HashKey: "remote_addr"},
	}
	c := gateway.Config{Profiles: []ssl.Config{h.profile("mtls", []string{"a.test"}, h.people)}}
	for id, u := range upstreams {
		u.ID, u.Balancer, u.Nodes = id, "chash", nodes
		c.Upstreams = append(c.Upstreams, u)
		c.Routes = append(c.Routes, route.Config{ID: id, Paths: []string{"/" + id + "/:id/*"}, Upstream: id})
	}
	h.apply(c)

	for _, d := range h.tlsDoors() {
		alice := h.client(d, "a.test", h.people.Client("alice"))
		node := func(client *http.Client, path, user string) string {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.test"+path, nil)
			require.NoError(t, err)
			req.Header.Set("X-User", user)
			res, err := client.Do(req)
			require.NoError(t, err)
			res.Body.Close()
			require.Equal(t, 200, res.StatusCode)
			return res.Header.Get("Node")
		}
		spread := map[string]map[string]bool{}
		for _, key := range []string{"1", "2", "3", "4", "5", "6", "7", "8", "9"} {
			for id := range upstreams {
				client, path, user := alice, "/"+id+"/same/x", "same"
				switch id {
				case "id":
					path = "/id/" + key + "/x"
				case "user":
					user = key
				case "dn":
					client = h.client(d, "a.test", h.people.Client("client "+key))
				}
				first := node(client, path, user)
				require.Equal(t, first, node(client, path+"y", user), "%s %s: the same key goes to the same node", d.name, id)
				if spread[id] == nil {
					spread[id] = map[string]bool{}
				}
				spread[id][first] = true
			}
		}
		require.Len(t, spread["addr"], 1, "all requests come from one address")
		for _, id := range []string{"id", "dn", "user"} {
			require.Greater(t, len(spread[id]), 2, "%s %s: different keys go to different nodes", d.name, id)
		}
	}
}
