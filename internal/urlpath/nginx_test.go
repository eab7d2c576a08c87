package urlpath_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/internal/nginxtest"
	"github.com/sallyport/sallyport/internal/urlpath"
)

// differences are the paths that nginx reads in another way, on purpose.
var differences = []struct {
	why    string
	is     func(path string) bool
	theirs func(path string) (uri string, ok bool)
}{
	{
		why: "nginx drops a fragment; we refuse it, since an origin may not drop what we forward",
		is:  func(path string) bool { return strings.Contains(path, "#") },
		theirs: func(path string) (string, bool) {
			path, _, _ = strings.Cut(path, "#")
			p, err := urlpath.Parse(path)
			return p.Normal, err == nil
		},
	},
}

// What we match is nginx's $uri, and what we refuse, it refuses.
func TestLikeNginx(t *testing.T) {
	server := nginxtest.New(t, "its $uri is not compared with our reading of paths")
	n := startNginx(t, server)

	used := make([]int, len(differences))
	read, refused := 0, 0
	compare := func(target string) {
		t.Helper()
		path, _, _, ok := urlpath.Target(target)
		var ours urlpath.Path
		if ok {
			var err error
			ours, err = urlpath.Parse(path)
			ok = err == nil
		}
		uri, theirs := n.uri(t, target)
		for i, d := range differences {
			if d.is(path) {
				used[i]++
				require.False(t, ok, "%q: no difference: %s", target, d.why)
				ours.Normal, ok = d.theirs(path)
			}
		}
		require.Equal(t, theirs, ok, "%q: nginx takes it: %t (%q), we: %t", target, theirs, uri, ok)
		if !ok {
			refused++
			return
		}
		read++
		require.Equal(t, uri, ours.Normal, "%q", target)
	}

	for _, c := range corpus {
		if strings.ContainsAny(c.raw, "\r\n") {
			continue // there the request line ends, and a request without a version begins
		}
		compare(c.raw)
		if strings.HasPrefix(c.raw, "/") && c.err != urlpath.ErrQuery {
			compare(c.raw + "?/../%")
			compare("http://a.test" + c.raw)
		}
	}
	for _, path := range hostilePaths(8000) {
		compare(path)
	}
	require.Greater(t, read, 3000, "the comparison says something")
	require.Greater(t, refused, 300)
	for i, d := range differences {
		require.NotZero(t, used[i], "%s: does not occur", d.why)
	}
}

// An nginx answers with what it reads in a request target. It has one connection.
type nginx struct {
	socket string
	conn   net.Conn
	from   *bufio.Reader
}

func startNginx(t *testing.T, server *nginxtest.Nginx) *nginx {
	t.Helper()
	n := &nginx{socket: server.Path("http.sock")}
	server.Start(fmt.Sprintf("large_client_header_buffers 4 64k;\nkeepalive_requests 1000000;\nserver {\nlisten unix:%s;\nlocation / { return 200 \"$uri\"; }\n}\n", n.socket))
	t.Cleanup(func() {
		if n.conn != nil {
			n.conn.Close()
		}
	})
	return n
}

// uri returns the $uri of a request target. ok is false if nginx answers 400.
func (n *nginx) uri(t *testing.T, target string) (uri string, ok bool) {
	t.Helper()
	if n.conn == nil {
		conn, err := net.Dial("unix", n.socket)
		require.NoError(t, err)
		n.conn, n.from = conn, bufio.NewReader(conn)
	}
	require.NoError(t, n.conn.SetDeadline(time.Now().Add(time.Minute)))
	_, err := fmt.Fprintf(n.conn, "GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", target)
	require.NoError(t, err)
	res, err := http.ReadResponse(n.from, nil)
	require.NoError(t, err, "%q", target)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err, "%q", target)
	if res.Close {
		n.conn.Close()
		n.conn = nil
	}
	require.Contains(t, []int{http.StatusOK, http.StatusBadRequest}, res.StatusCode, "%q", target)
	return string(body), res.StatusCode == http.StatusOK
}
