package route_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// What is authorized has strings of its own: it stays as it is when the buffer that the
// request was a part of has another.
func TestAuthorizeRequestIsItsOwn(t *testing.T) {
	buffer := []byte("POST a.test 8443 /users/alice")
	view := func(from, to int) string { return unsafe.String(&buffer[from], to-from) }
	req := route.Request{Method: view(0, 4), Host: view(5, 11), Port: view(12, 16), Path: view(17, 29)}
	table := must(route.NewTable(&route.Options{Router: route.RouterURIWithParameter})).With(
		mustNew(t, route.Config{ID: "1", Paths: []string{"/users/:id"}, Upstream: "u"}),
	)
	m := table.Match(&req)
	r := route.NewAuthorizeRequest(&req, &m)
	copy(buffer, strings.Repeat("x", len(buffer)))
	require.Equal(t, "xxxx", req.Method)
	require.Equal(t, "POST a.test 8443 /users/alice", strings.Join([]string{r.Method, r.Host, r.Port, r.Path}, " "))
	id, ok := r.Param("id")
	require.True(t, ok)
	require.Equal(t, "alice", id)
	id, ok = r.Var("uri_param_id")
	require.True(t, ok)
	require.Equal(t, "alice", id)
	require.Equal(t, "/users/:id", r.Pattern())
}

func TestAuthorizeRequestHeader(t *testing.T) {
	client := httptest.NewRequest("GET", "http://a.test/?a=b", nil)
	client.Header["X-Role"] = []string{"user", "admin"}
	client.Header["Cookie"] = []string{"a=b", "c=d"}
	client.Header["X-Empty"] = []string{""}
	for name, r := range map[string]*route.AuthorizeRequest{
		"literal": {Request: route.Request{Lookups: route.NewHTTPLookups(client)}},
		"made":    route.NewAuthorizeRequest(&route.Request{Lookups: route.NewHTTPLookups(client)}, &route.Match{}),
	} {
		for _, c := range []struct {
			name, want string
			ok         bool
		}{
			{"X-Role", "user, admin", true}, {"x-ROLE", "user, admin", true}, {"cookie", "a=b; c=d", true},
			{"host", "a.test", true}, {"X-Empty", "", true}, {"X-None", "", false}, {"X_Role", "", false}, {"", "", false},
		} {
			value, ok := r.Header(c.name)
			require.Equal(t, c.want, value, "%s: %s", name, c.name)
			require.Equal(t, c.ok, ok, "%s: %s", name, c.name)
		}
		args, ok := r.Var("args")
		require.True(t, ok)
		require.Equal(t, "a=b", args)
	}
	_, ok := new(route.AuthorizeRequest).Header("X-Role")
	require.False(t, ok)
	_, ok = new(route.AuthorizeRequest).Var("args")
	require.False(t, ok)
}
