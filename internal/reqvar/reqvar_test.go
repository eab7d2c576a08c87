package reqvar_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/reqvar"
)

// Package route compares the same readings with nginx's.

func TestHeader(t *testing.T) {
	r := &http.Request{
		Host:             "a.test",
		TransferEncoding: []string{"chunked"},
		Header:           http.Header{"X-One": {"1"}, "X-Two": {"1", "2"}, "Cookie": {"a=1", "b=2"}},
	}
	for name, want := range map[string]string{
		"Host": "a.test", "Transfer-Encoding": "chunked", "X-One": "1", "X-Two": "1, 2", "Cookie": "a=1; b=2",
	} {
		got, ok := reqvar.Header(r, name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	_, ok := reqvar.Header(r, "X-Three")
	require.False(t, ok)
	_, ok = reqvar.Header(&http.Request{}, "Host")
	require.False(t, ok)
}

func TestRequestURI(t *testing.T) {
	u, err := url.Parse("http://a.test/a%20b?c")
	require.NoError(t, err)
	require.Equal(t, "/a%20b?c", reqvar.RequestURI(&http.Request{URL: u}), "of a client")
	require.Equal(t, "/a%20b?c", reqvar.RequestURI(&http.Request{URL: u, RequestURI: "http://a.test/a%20b?c"}), "of a proxy's client")
	require.Equal(t, "//x", reqvar.RequestURI(&http.Request{URL: u, RequestURI: "//x"}), "as it came")
	require.Equal(t, "*", reqvar.RequestURI(&http.Request{URL: u, RequestURI: "*"}))
}

func TestArgument(t *testing.T) {
	for _, c := range []struct {
		query, name, want string
		ok                bool
	}{
		{"a=1&b=2&a=3", "a", "1", true},
		{"a=1&b=2", "b", "2", true},
		{"&&a", "a", "", true},
		{"%61=x+y%2", "a", "x y%2", true},
		{"a=1;b=2", "b", "", false},
		{"ab=1", "a", "", false},
		{"a=1", "ab", "", false},
		{"A=1", "a", "", false},
		{"", "a", "", false},
	} {
		got, ok := reqvar.Argument(c.query, c.name)
		require.Equal(t, c.ok, ok, c.query)
		require.Equal(t, c.want, reqvar.Decode(got), c.query)
	}
}

func TestCookie(t *testing.T) {
	lines := []string{"a=1; b=\"2\"; =; c", "b=3;d= 4 =5"}
	for name, want := range map[string]string{"a": "1", "b": "2", "c": "", "d": " 4 =5"} {
		got, ok := reqvar.Cookie(lines, name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}
	_, ok := reqvar.Cookie(lines, "A")
	require.False(t, ok)
}
