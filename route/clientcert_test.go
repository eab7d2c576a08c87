package route_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/route"
)

func TestClientCertHeaders(t *testing.T) {
	for h, want := range map[route.ClientCertHeaders]string{
		0:                            "",
		route.ClientCert:             "ClientCert",
		route.ClientCertNone:         "ClientCertNone",
		route.ClientCertChain | 0x80: "ClientCertChain|0x80",
		0x7f:                         "ClientCert|ClientCertChain|ClientCertXFCC|ClientCertXFCCCert|ClientCertXFCCChain|ClientCertNginx|ClientCertNone",
	} {
		require.Equal(t, want, h.String())
	}
	for h := range route.ClientCertHeaders(0xff) {
		c := route.Config{ID: "r", Paths: []string{"/"}, Upstream: "u", ClientCert: h}
		r, err := route.New(c)
		if h < 0x40 || h == route.ClientCertNone {
			require.NoError(t, err, h)
			require.Equal(t, h, r.ClientCert())
			continue
		}
		var fault *route.ConfigError
		require.ErrorAs(t, err, &fault, h)
		require.Equal(t, "ClientCert", fault.Field)
	}
}
