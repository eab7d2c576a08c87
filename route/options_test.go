package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

// Options that cannot be meant so are refused, with the field and the rule.
func TestOptionsRefused(t *testing.T) {
	for _, router := range []route.Router{-1, 3} {
		table, err := route.NewTable(&route.Options{Router: router})
		require.EqualError(t, err, "route: Options.Router: "+router.String()+" is no router")
		require.Nil(t, table)
	}
	for _, o := range []*route.Options{nil, {}, {Router: route.RouterURIWithParameter}} {
		_, err := route.NewTable(o)
		require.NoError(t, err)
	}
}
