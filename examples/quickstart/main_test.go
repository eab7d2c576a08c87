package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// A process is the example, built and started.
type process struct {
	cmd     *exec.Cmd
	addr    map[string]string // by what it prints: "HTTPS", "HTTP", "Admin API", "Origin"
	printed string            // up to the last line of the next steps
	log     *bytes.Buffer     // standard error, to be read after stop
}

func start(t *testing.T, flags ...string) *process {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "quickstart")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, "%s", out)

	p := &process{addr: map[string]string{}, log: &bytes.Buffer{}}
	p.cmd = exec.Command(binary, append([]string{
		"-https", "127.0.0.1:0", "-http", "127.0.0.1:0", "-admin", "127.0.0.1:0", "-origin", "127.0.0.1:0"}, flags...)...)
	p.cmd.Stderr = p.log
	stdout, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	listening := regexp.MustCompile(`^(HTTPS|HTTP|Admin API|Origin) +(\S+)$`)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		line := lines.Text()
		p.printed += line + "\n"
		if m := listening.FindStringSubmatch(line); m != nil {
			p.addr[m[1]] = m[2]
		}
		if strings.HasPrefix(line, "Ctrl-C") {
			break
		}
	}
	require.Len(t, p.addr, 4, p.printed)
	go func() { _, _ = io.Copy(io.Discard, stdout) }()
	return p
}

// stop sends what Ctrl-C sends. The process must end by itself, with 0.
func (p *process) stop(t *testing.T) string {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(os.Interrupt))
	require.NoError(t, p.cmd.Wait(), p.log.String())
	return p.log.String()
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("needs %s, which is not installed", program)
		}
	}
}

// A shell runs commands in one directory.
type shell struct {
	t   *testing.T
	dir string
}

func (s shell) run(script string) string {
	s.t.Helper()
	cmd := exec.Command("bash", "-c", script)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "no_proxy=*")
	out, _ := cmd.CombinedOutput() // curl's and s_client's status is not the point
	return string(out)
}

// steps returns the commands that the example prints, by the number of the step.
func steps(printed string) map[string][]string {
	found := map[string][]string{}
	step := ""
	heading := regexp.MustCompile(`^# (\d)\.`)
	for line := range strings.SplitSeq(printed, "\n") {
		if m := heading.FindStringSubmatch(line); m != nil {
			step = m[1]
		} else if step != "" && (strings.HasPrefix(line, "openssl ") || strings.HasPrefix(line, "curl ") || strings.HasPrefix(line, "server_cert=")) {
			found[step] = append(found[step], line)
		}
	}
	return found
}

// The how-to, word for word as the example prints it, with the real curl and
// openssl; and then what a client without the right certificate gets.
func TestHowTo(t *testing.T) {
	needs(t, "bash", "curl", "openssl")
	p := start(t)
	step := steps(p.printed)
	sh := shell{t, t.TempDir()}

	out := sh.run(strings.Join(step["1"], " &&\n"))
	require.FileExists(t, filepath.Join(sh.dir, "client.crt"), out)
	require.Contains(t, sh.run("openssl x509 -in ca.crt -noout -subject"), "CN = MyTestCA")
	server := sh.run("openssl x509 -in server.crt -noout -text")
	require.Contains(t, server, "CN = test.com")
	require.Contains(t, server, "Public-Key: (2048 bit)")
	require.Contains(t, server, "TLS Web Server Authentication")
	require.NotContains(t, server, "Subject Alternative Name")

	require.Len(t, step["2"], 1)
	require.Contains(t, sh.run(step["2"][0]), "HTTP/1.1 201 Created")

	// Before a name demands certificates, the plain port serves the route.
	plain := "curl -si http://" + p.addr["HTTP"] + "/ip"
	require.Contains(t, sh.run(plain), "HTTP/1.1 200 OK")

	out = sh.run(strings.Join(step["3"], "\n"))
	require.Contains(t, out, "HTTP/1.1 201 Created")
	require.Contains(t, out, `"key":"[redacted]"`)
	require.NotContains(t, out, "PRIVATE KEY")

	out = sh.run(plain)
	require.Contains(t, out, "HTTP/1.1 403 Forbidden")
	require.Contains(t, out, "use https")

	require.Len(t, step["4"], 2)
	out = sh.run(step["4"][0])
	for _, want := range []string{"TLSv1.3", "Request CERT", "CERT verify", "ALPN: server accepted h2", "HTTP/2 200", `"origin": "127.0.0.1"`} {
		require.Contains(t, out, want)
	}
	require.Contains(t, sh.run(step["4"][1]), "alert certificate required")

	require.Len(t, step["5"], 2)
	require.Contains(t, sh.run(step["5"][0]), "HTTP/1.1 201 Created")
	out = sh.run(step["5"][1])
	require.Contains(t, out, `"X-Ssl-Client-S-Dn": "CN=CLIENT"`)
	sum := sh.run("openssl x509 -in client.crt -noout -fingerprint -sha1")
	_, sum, _ = strings.Cut(strings.TrimSpace(sum), "=")
	require.Contains(t, out, `"X-Ssl-Client-Fingerprint": "`+strings.ToLower(strings.ReplaceAll(sum, ":", ""))+`"`)

	// The alerts as openssl numbers them. It sends a request, and so meets them
	// as a client of TLS 1.3 does: after its own handshake is over.
	sclient := func(flags string) string {
		return sh.run(`printf 'GET /ip HTTP/1.1\r\nHost: test.com\r\nConnection: close\r\n\r\n' | openssl s_client -ign_eof -connect ` +
			p.addr["HTTPS"] + ` -servername test.com ` + flags)
	}
	out = sclient("-cert client.crt -key client.key")
	require.Contains(t, out, "HTTP/1.1 200 OK")
	require.Contains(t, out, "Acceptable client certificate CA names\nCN = MyTestCA")
	require.Contains(t, sclient(""), "SSL alert number 116")
	require.Contains(t, sclient("-tls1_2"), "SSL alert number 40")
	require.Contains(t, sclient("-tls1_2 -cert client.crt -key client.key"), "HTTP/1.1 200 OK")

	sh.run(`openssl req -x509 -newkey rsa:2048 -nodes -keyout other.key -out other.crt -subj "/CN=CLIENT"`)
	require.Contains(t, sclient("-cert other.crt -key other.key"), "SSL alert number 48")
	require.Contains(t, sclient("-tls1_2 -cert other.crt -key other.key"), "SSL alert number 48")

	sh.run(`openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 0 -extfile <(printf "extendedKeyUsage=clientAuth") -out expired.crt`)
	require.Contains(t, sclient("-cert expired.crt -key client.key"), "SSL alert number 45")

	// A session of one name is of no use at another, and an unknown name has none.
	require.Contains(t, sclient("-servername x.com"), "SSL alert number 112")
	sclient("-cert client.crt -key client.key -sess_out session.pem")
	require.Contains(t, sclient("-cert client.crt -key client.key -sess_in session.pem"), "Reused, TLSv1.3")
	require.Contains(t, sclient("-cert client.crt -key client.key -sess_in session.pem -servername x.com"), "SSL alert number 112")

	log := p.stop(t)
	for _, reason := range []string{"no_client_cert", "unknown_ca", "expired", "unknown_sni"} {
		require.Contains(t, log, "handshake.reason="+reason)
	}
	require.Contains(t, log, `handshake.subject="CN=CLIENT"`)
	require.NotContains(t, log, "PRIVATE KEY")
}

// The access log is whole when the process has ended, and goes on in the next.
func TestAccessLog(t *testing.T) {
	needs(t, "bash", "curl")
	file := filepath.Join(t.TempDir(), "access.log")
	for i := range 2 {
		p := start(t, "-access-log", file)
		sh := shell{t, t.TempDir()}
		require.Contains(t, sh.run(fmt.Sprintf("curl -si http://%s/nowhere/%d", p.addr["HTTP"], i)), "404 Route Not Found")
		sh.run("curl -sik https://" + p.addr["HTTPS"])
		p.stop(t)
	}
	log, err := os.ReadFile(file)
	require.NoError(t, err)
	for i := range 2 {
		require.Equal(t, 1, strings.Count(string(log), fmt.Sprintf(`"status":404,"method":"GET","path":"/nowhere/%d"`, i)), "%s", log)
	}
	require.Equal(t, 2, strings.Count(string(log), `"reason":"no_sni"`), "%s", log)

	out, err := exec.Command("go", "run", ".", "-access-log", filepath.Join(file, "x")).CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "quickstart: -access-log: open "+filepath.Join(file, "x")+": not a directory")
}

// What a newcomer does wrong, and what the answer says.
func TestMistakes(t *testing.T) {
	needs(t, "bash", "curl", "openssl")
	p := start(t)
	step := steps(p.printed)
	sh := shell{t, t.TempDir()}
	sh.run(strings.Join(step["1"], "\n"))
	put := func(path, doc string) string {
		return sh.run(`crt=$(cat server.crt) key=$(cat server.key) other=$(cat client.key)
curl -si -X PUT http://` + p.addr["Admin API"] + `/apisix/admin/` + path + ` -d '` + doc + `'`)
	}
	for _, c := range []struct{ name, path, doc, want string }{
		{"another's key", "ssls/1", `{"sni":"a.test","cert":"'"$crt"'","key":"'"$other"'"}`, "is not the key of the certificate"},
		{"line breaks lost", "ssls/1", `{"sni":"a.test","cert":"'"$(echo $crt)"'","key":"'"$key"'"}`, "its line breaks are lost"},
		{"unknown field", "ssls/1", `{"sni":"a.test","cert":"'"$crt"'","key":"'"$key"'","name":"x"}`, "additional properties forbidden, found name"},
		{"no uri", "routes/1", `{"upstream":{"nodes":{"127.0.0.1:1":1},"type":"roundrobin"}}`, "a route needs one of uri and uris"},
		{"no upstream", "routes/1", `{"uri":"/x","upstream_id":"9"}`, "failed to fetch upstream info by upstream id [9]"},
		{"a plugin", "routes/1", `{"uri":"/x","plugins":{"limit-count":{}},"upstream":{"nodes":{"127.0.0.1:1":1}}}`, "this gateway has no plugins"},
	} {
		out := put(c.path, c.doc)
		require.Contains(t, out, "400 Bad Request", c.name)
		require.Contains(t, out, c.want, c.name)
	}
	require.Contains(t, put("routes/refused", `{"uri":"/refused", // Annotate 1
"upstream":{"nodes":{"127.0.0.1:1":1},"type":"roundrobin"}}`), "201 Created")
	require.Contains(t, put("routes/name", `{"uri":"/name","upstream":{"nodes":{"no-such-name.invalid":1},"type":"roundrobin"}}`), "201 Created")
	for _, path := range []string{"/refused", "/name"} {
		require.Contains(t, sh.run("curl -si http://"+p.addr["HTTP"]+path), "502 Bad Gateway")
	}
	log := p.stop(t)
	require.Contains(t, log, "node 127.0.0.1:1: ")
	require.Contains(t, log, "connection refused")
	require.Contains(t, log, `the name \"no-such-name.invalid\" does not resolve`)
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		config config
		want   string
	}{
		{config{https: "off", http: "off", admin: "0.0.0.0:0", origin: "off", plain: "guarded"}, "is not on loopback: give it an -admin-key"},
		{config{https: "off", http: "off", admin: "off", origin: "off", plain: "ajar"}, `-plain "ajar" is neither guarded nor open`},
		{config{https: "nowhere", http: "off", admin: "off", origin: "off", plain: "open"}, "HTTPS: listen tcp: address nowhere: missing port in address (another address, or off: -https)"},
		{config{https: "off", http: "off", admin: "off", origin: "off", plain: "open"}, "everything is off"},
	} {
		require.ErrorContains(t, run(t.Context(), c.config), c.want)
	}
}

func TestReachable(t *testing.T) {
	for listener, want := range map[string]string{
		"127.0.0.1:9443": "127.0.0.1:9443",
		"[::1]:9443":     "[::1]:9443",
		"[::]:9443":      "127.0.0.1:9443",
		"0.0.0.0:9443":   "127.0.0.1:9443",
		"10.0.0.1:9443":  "10.0.0.1:9443",
	} {
		require.Equal(t, want, reachable(listener))
	}
}

// The status page is where it is said to be, for whoever knows the key.
func TestStatusPage(t *testing.T) {
	p := start(t, "-admin-key", "secret")
	said := regexp.MustCompile(`The status page: (\S+) \(the key is the password`).FindStringSubmatch(p.printed)
	require.NotNil(t, said, p.printed)
	res, err := http.Get(said[1])
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	res, err = http.Get(strings.Replace(said[1], "http://", "http://anyone:secret@", 1))
	require.NoError(t, err)
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, string(page), "Gateway status")
	p.stop(t)
}

func TestKey(t *testing.T) {
	p := start(t, "-admin-key", "secret")
	url := "http://" + p.addr["Admin API"] + "/apisix/admin/routes"
	res, err := http.Get(url)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusUnauthorized, res.StatusCode)
	req, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	req.Header.Set("X-API-KEY", "secret")
	res, err = http.DefaultClient.Do(req)
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.Contains(t, p.printed, `-H "X-API-KEY: $admin_key"`)
	require.NotContains(t, p.printed, "secret")
	p.stop(t)
}

func TestRouter(t *testing.T) {
	p := start(t, "-router", "uri_with_parameter")
	do := func(method, url, body string) int {
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	doc := `{"uri":"/status/:code","upstream":{"type":"roundrobin","nodes":{"` + p.addr["Origin"] + `":1}}}`
	require.Equal(t, 201, do("PUT", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/1", doc))
	require.Equal(t, 418, do("GET", "http://"+p.addr["HTTP"]+"/status/418", ""))
	require.Equal(t, 404, do("GET", "http://"+p.addr["HTTP"]+"/status/418/x", ""))
	p.stop(t)

	out, err := exec.Command("go", "run", ".", "-router", "radix").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), `"radix" is none of host_uri, uri and uri_with_parameter`)
}

// With -data, what was put is there after a restart, and after a kill.
func TestData(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	p := start(t, "-data", file)
	status := func(method, url, body string) int {
		req, err := http.NewRequest(method, url, strings.NewReader(body))
		require.NoError(t, err)
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		res.Body.Close()
		return res.StatusCode
	}
	doc := `{"uri":"/ip","upstream":{"type":"roundrobin","nodes":{"127.0.0.1:1":1}}}`
	require.Equal(t, 201, status("PUT", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/1", doc))
	require.Equal(t, 201, status("PUT", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/2", doc))
	require.NoError(t, p.cmd.Process.Kill())
	_ = p.cmd.Wait()

	p = start(t, "-data", file)
	require.Equal(t, 200, status("GET", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/1", ""))
	require.Equal(t, 200, status("DELETE", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/2", ""))
	p.stop(t)

	p = start(t, "-data", file)
	require.Equal(t, 200, status("GET", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/1", ""))
	require.Equal(t, 404, status("GET", "http://"+p.addr["Admin API"]+"/apisix/admin/routes/2", ""))
	require.Equal(t, 502, status("GET", "http://"+p.addr["HTTP"]+"/ip", ""))
	p.stop(t)
	require.NoError(t, os.Chmod(file, 0o644))
	require.ErrorContains(t, run(t.Context(), config{data: file, plain: "guarded"}), "chmod 600")
}

// SIGTERM, which a service manager sends, ends it like Ctrl-C.
func TestTerminate(t *testing.T) {
	p := start(t)
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, p.cmd.Wait())
}

func TestOrigin(t *testing.T) {
	origin := httptest.NewServer(http.HandlerFunc(serveOrigin))
	defer origin.Close()
	do := func(method, path, body string) (int, map[string]any) {
		req, err := http.NewRequest(method, origin.URL+path, strings.NewReader(body))
		require.NoError(t, err)
		res, err := origin.Client().Do(req)
		require.NoError(t, err)
		defer res.Body.Close()
		var v map[string]any
		_ = json.NewDecoder(res.Body).Decode(&v)
		return res.StatusCode, v
	}
	status, v := do("GET", "/ip", "")
	require.Equal(t, 200, status)
	require.Equal(t, "127.0.0.1", v["origin"])
	status, v = do("GET", "/get?a=1&b=2&b=3", "")
	require.Equal(t, 200, status)
	require.Equal(t, map[string]any{"a": "1", "b": []any{"2", "3"}}, v["args"])
	require.Equal(t, origin.URL+"/get?a=1&b=2&b=3", v["url"])
	status, _ = do("POST", "/get", "")
	require.Equal(t, 405, status)
	status, v = do("PATCH", "/anything/x", `{"k":1}`)
	require.Equal(t, 200, status)
	require.Equal(t, "PATCH", v["method"])
	require.Equal(t, map[string]any{"k": 1.0}, v["json"])
	status, _ = do("PUT", "/anything", strings.Repeat("x", maxEcho+1))
	require.Equal(t, 400, status)
	status, _ = do("GET", "/status/418", "")
	require.Equal(t, 418, status)
	for _, path := range []string{"/status/99", "/status/x", "/status/600"} {
		status, _ = do("GET", path, "")
		require.Equal(t, 400, status, path)
	}
	status, _ = do("GET", "/nothing", "")
	require.Equal(t, 404, status)
}

// A real origin of somebody else's, github.com/mccutchen/go-httpbin, behind the
// gateway: what it answers comes through unharmed. It is not started here, lest
// the module require it.
func TestThirdPartyOrigin(t *testing.T) {
	origin := os.Getenv("SALLYPORT_TEST_HTTPBIN")
	if origin == "" {
		t.Skip("needs SALLYPORT_TEST_HTTPBIN, the host:port of a go-httpbin")
	}
	needs(t, "bash", "curl", "openssl")
	p := start(t)
	step := steps(p.printed)
	sh := shell{t, t.TempDir()}
	sh.run(strings.Join(step["1"], "\n"))
	require.Contains(t, sh.run(strings.Join(step["3"], "\n")), "201 Created")
	require.Contains(t, sh.run("curl -si http://"+p.addr["Admin API"]+`/apisix/admin/routes/1 -X PUT -d '{"uri":"/*","upstream":{"nodes":{"`+origin+`":1},"type":"roundrobin"}}'`), "201 Created")

	_, port, err := net.SplitHostPort(p.addr["HTTPS"])
	require.NoError(t, err)
	for _, version := range []string{"--http1.1", "--http2"} {
		through := func(path, flags string) string {
			return sh.run("curl -sk " + version + " --resolve test.com:" + port + ":127.0.0.1 --cert client.crt --key client.key -w '%{http_code} %{content_type}' 'https://test.com:" + port + path + "' " + flags)
		}
		direct := func(path, flags string) string {
			return sh.run("curl -s -H 'Host: test.com:" + port + "' -w '%{http_code} %{content_type}' 'http://" + origin + path + "' " + flags)
		}
		for _, c := range []struct{ path, flags string }{
			{"/ip", ""},
			{"/status/418", ""},
			{"/drip?numbytes=20&duration=0.2&delay=0", ""},
			{"/bytes/100000?seed=1", "| sha256sum"},
			{"/stream-bytes/100000?seed=1&chunk_size=1000", "| sha256sum"},
			{"/base64/aGVsbG8=", ""},
			{"/encoding/utf8", ""},
			{"/redirect-to?url=/x", ""},
			{"/range/1000", "-H 'Range: bytes=10-19'"},
			{"/image/png", "| sha256sum"},
		} {
			require.Equal(t, direct(c.path, c.flags), through(c.path, c.flags), "%s %s", version, c.path)
		}
		require.Equal(t, 5, strings.Count(through("/stream/5", ""), "\n"))
		body := through("/anything?a=%2F&b=1", "-X PUT -d 'x=1'")
		require.Contains(t, body, `"x":`)
		require.Contains(t, body, `"url": "https://test.com:`+port+`/anything?a=%2F&b=1"`)
		require.Contains(t, body, "200 application/json")
		require.Contains(t, through("/gzip", "--compressed"), `"gzipped": true`)
		require.Contains(t, strings.ToLower(through("/trailers?t1=v1", "-D - -o /dev/null")), "\nt1: v1")
	}
	p.stop(t)
}
