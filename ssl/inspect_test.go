package ssl_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

// A profile tells what it goes by: its certificates in their order, and whose it takes.
func TestProfileTells(t *testing.T) {
	servers, people, partners := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people"), ssltest.NewCA(t, "partners")
	next := time.Now().Add(time.Hour).Truncate(time.Second).UTC()
	gone := people.Client("gone").Leaf
	allow := &ssl.Allow{CommonNames: []string{"alice"}}
	p, err := ssl.New(ssl.Config{
		ID: "1", Names: []string{"a.test"},
		Certificates: []ssl.KeyPair{servers.Server("a.test"), partners.Server("b.test")},
		Client: &ssl.ClientAuth{
			CAPEM: append(people.PEM(), partners.PEM()...),
			Depth: 2,
			CRLs:  [][]byte{people.CRL(next, gone), partners.CRL(next.Add(time.Hour))},
			Allow: allow,

			SkipPaths: []string{"^/healthz$"},
		},
	})
	require.NoError(t, err)
	allow.CommonNames[0] = "mallory" // is the Config's alone

	leaves := p.Certificates()
	require.Len(t, leaves, 2)
	require.Equal(t, []string{"a.test"}, leaves[0].DNSNames)
	require.Equal(t, []string{"b.test"}, leaves[1].DNSNames)

	c := p.Client()
	require.Len(t, c.CAs, 2)
	require.Equal(t, "people", c.CAs[0].Subject.CommonName)
	require.Equal(t, 2, c.Depth)
	require.Equal(t, []string{"alice"}, c.Allow.CommonNames)
	require.Equal(t, []string{"^/healthz$"}, c.SkipPaths)
	require.Equal(t, []ssl.CRL{
		{Issuer: "CN=partners", NextUpdate: next.Add(time.Hour)},
		{Issuer: "CN=people", NextUpdate: next, Revoked: 1},
	}, c.CRLs)
}

func TestProfileTellsOfNoPolicy(t *testing.T) {
	servers, people := ssltest.NewCA(t, "servers"), ssltest.NewCA(t, "people")
	open, err := ssl.New(ssl.Config{ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")}})
	require.NoError(t, err)
	require.Nil(t, open.Client())

	plain, err := ssl.New(ssl.Config{
		ID: "1", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{servers.Server("a.test")},
		Client: &ssl.ClientAuth{CAPEM: people.PEM()},
	})
	require.NoError(t, err)
	c := plain.Client()
	require.Equal(t, ssl.DefaultDepth, c.Depth)
	require.Nil(t, c.Allow)
	require.Empty(t, c.CRLs)
	require.Empty(t, c.SkipPaths)
}
