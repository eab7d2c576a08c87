package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// A route tells what it is for, as it was read.
func TestRouteTells(t *testing.T) {
	r, err := route.New(route.Config{
		ID: "r", Upstream: "u",
		Hosts:   []string{"A.Test", "*.b.test:080", "a.test:443"},
		Paths:   []string{"/v1/:id", "/static/*"},
		Methods: []string{"PURGE", "POST", "GET"},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"a.test", "a.test:443", "*.b.test:80"}, r.Hosts())
	require.Equal(t, []string{"/v1/:id", "/static/*"}, r.Paths())
	require.Equal(t, []string{"GET", "POST", "PURGE"}, r.Methods())

	r.Paths()[0] = "/elsewhere" // a copy
	require.Equal(t, "/v1/:id", r.Paths()[0])
}

func TestRouteTellsOfNoBounds(t *testing.T) {
	r, err := route.New(route.Config{ID: "r", Paths: []string{"/*"}, Upstream: "u"})
	require.NoError(t, err)
	require.Empty(t, r.Hosts())
	require.Empty(t, r.Methods())
}
