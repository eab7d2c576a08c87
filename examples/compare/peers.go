//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"text/template"
	"time"
)

// A proxy is one column of the report.
type proxy struct {
	name    string
	version string
	program string   // on the PATH; of ours, there is none
	ask     []string // arguments that make the program tell its version
	peer    bool     // ratios are to the better of those

	// command writes what configuration there is, and returns what to run.
	command func(p proxy, s site) ([]string, error)

	// replace has one name's certificate, of which the file was replaced, put in
	// use; reload has everything put in use again. Either may be nil.
	replace, reload func(s site, p *process, name string) error

	garbage  bool // has garbage to be collected
	collects bool // gives back memory upon SIGUSR1
}

const gatewayName, netHTTPName = "sallyport", "net/http"

func allProxies() []proxy {
	return []proxy{
		{name: gatewayName, command: ownRole("gateway"), replace: tellLine, garbage: true, collects: true},
		{name: netHTTPName, command: ownRole("nethttp"), replace: tellLine, garbage: true, collects: true},
		{name: "nginx", program: "nginx", ask: []string{"-v"}, peer: true, command: nginx, reload: signalled(syscall.SIGHUP)},
		{name: "haproxy", program: "haproxy", ask: []string{"-v"}, peer: true, command: haproxy, replace: haproxyRuntime, reload: signalled(syscall.SIGUSR2)},
		{name: "caddy", program: "caddy", ask: []string{"version"}, command: caddy, garbage: true},
	}
}

func proxyNames(proxies []proxy) (names []string) {
	for _, p := range proxies {
		names = append(names, p.name)
	}
	return names
}

// installed returns the proxies that can be run, with their versions. One that was
// asked for by name must be there.
func installed(ctx context.Context, proxies []proxy, byName bool, progress io.Writer) ([]proxy, error) {
	// Where Debian has them, and where the PATH of a user may not lead.
	os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin")
	number := regexp.MustCompile(`\d+\.\d+(\.\d+)?`)
	var found []proxy
	for _, p := range proxies {
		if p.program == "" {
			found = append(found, p)
			continue
		}
		path, err := exec.LookPath(p.program)
		if err != nil {
			if byName {
				return nil, err
			}
			fmt.Fprintf(progress, "%s is not installed: left out\n", p.name)
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		said, err := exec.CommandContext(ctx, path, p.ask...).CombinedOutput()
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %s", path, err, tail(said))
		}
		p.program, p.version = path, number.FindString(string(said))
		found = append(found, p)
	}
	return found, nil
}

func ownRole(name string) func(proxy, site) ([]string, error) {
	return func(_ proxy, s site) ([]string, error) { return role(name, s) }
}

func tellLine(_ site, p *process, name string) error {
	_, err := io.WriteString(p.stdin, name+"\n")
	return err
}

func signalled(sig syscall.Signal) func(site, *process, string) error {
	return func(_ site, p *process, _ string) error { return p.cmd.Process.Signal(sig) }
}

func (s site) render(name string, t *template.Template, more map[string]any) (string, error) {
	data := map[string]any{
		"site": s, "name": serverName, "idle": int(idleTimeout.Seconds()), "upstream": idleUpstream, "streams": maxStreams,
		"names": s.keyPairs(), "conns": 2 * s.Conns, "root": os.Geteuid() == 0,
	}
	maps.Copy(data, more)
	var text strings.Builder
	if err := t.Execute(&text, data); err != nil {
		return "", err
	}
	return s.file(name), s.write(name, text.String())
}

var nginxConf = template.Must(template.New("nginx").Parse(`
{{if .root}}user root;{{end}}
worker_processes 1;
daemon off;
pid {{.site.Dir}}/nginx.pid;
error_log stderr error;
events { worker_connections {{.conns}}; multi_accept on; }
http {
	access_log off;
	client_body_temp_path {{.site.Dir}}/nginx-body; proxy_temp_path {{.site.Dir}}/nginx-proxy; fastcgi_temp_path {{.site.Dir}}/nginx-fastcgi;
	uwsgi_temp_path {{.site.Dir}}/nginx-uwsgi; scgi_temp_path {{.site.Dir}}/nginx-scgi;
	server_names_hash_max_size 262144; server_names_hash_bucket_size 128;

	keepalive_requests 1000000000; keepalive_timeout {{.idle}}s; http2_max_concurrent_streams {{.streams}};
	client_max_body_size 0; proxy_request_buffering off; proxy_max_temp_file_size 0;
	proxy_buffer_size 8k; proxy_buffers 16 64k; proxy_busy_buffers_size 256k;
	ssl_protocols TLSv1.3; ssl_session_tickets on; ssl_verify_client on; ssl_client_certificate {{.site.Dir}}/client-ca.pem;

	upstream origin {
		server {{.site.Origin}};
		keepalive {{.upstream}}; keepalive_requests 1000000000; keepalive_timeout {{.idle}}s;
	}
	proxy_http_version 1.1;
	proxy_set_header Connection "";
	proxy_set_header Host $host;
	proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
	proxy_set_header X-Forwarded-Proto https;
	proxy_set_header X-Forwarded-Host $host;
{{range $name, $pem := .names}}
	server {
		listen {{$.site.Listen}} ssl http2{{if eq $name $.name}} backlog=4096{{end}};
		server_name {{$name}}; ssl_certificate {{$pem}}; ssl_certificate_key {{$pem}};
		location / { proxy_pass http://origin; }
	}
{{end}}
}
`))

func nginx(p proxy, s site) ([]string, error) {
	conf, err := s.render("nginx.conf", nginxConf, nil)
	return []string{p.program, "-p", s.Dir, "-e", "stderr", "-c", conf}, err
}

var haproxyConf = template.Must(template.New("haproxy").Parse(`
global
	nbthread 1
	maxconn {{.site.Conns}}
	ssl-default-bind-options ssl-min-ver TLSv1.3 prefer-client-ciphers
	tune.h2.max-concurrent-streams {{.streams}}
	stats socket {{.site.Dir}}/control.sock mode 600 level admin expose-fd listeners
defaults
	mode http
	timeout connect 5s
	timeout client {{.idle}}s
	timeout server {{.idle}}s
	timeout http-keep-alive {{.idle}}s
	http-reuse always
frontend tls
	bind {{.site.Listen}} backlog 4096 ssl crt {{.site.Dir}}/server.pem{{if .site.Names}} crt {{.site.Dir}}/names{{end}} ca-file {{.site.Dir}}/client-ca.pem verify required alpn h2,http/1.1 strict-sni
	option forwardfor
	http-request set-header X-Forwarded-Proto https
	http-request set-header X-Forwarded-Host %[req.hdr(host)]
	default_backend origin
backend origin
	server origin {{.site.Origin}}
`))

// haproxy runs with a master where it is to be reloaded, which takes one.
func haproxy(p proxy, s site) ([]string, error) {
	conf, err := s.render("haproxy.cfg", haproxyConf, nil)
	mode := "-db"
	if s.Names > 0 {
		mode = "-W"
	}
	return []string{p.program, mode, "-f", conf}, err
}

// haproxyRuntime replaces a certificate through HAProxy's runtime API, without a
// reload.
func haproxyRuntime(s site, _ *process, name string) error {
	pem, err := os.ReadFile(s.namePEM(name))
	if err != nil {
		return err
	}
	for _, command := range []struct{ text, answer string }{
		{fmt.Sprintf("set ssl cert %s <<\n%s\n", s.namePEM(name), pem), "Transaction created"},
		{fmt.Sprintf("commit ssl cert %s\n", s.namePEM(name)), "Success!"},
	} {
		c, err := net.DialTimeout("unix", s.control(), time.Second)
		if err != nil {
			return err
		}
		err = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, sent := io.WriteString(c, command.text)
		said, got := io.ReadAll(c)
		c.Close()
		if err := errors.Join(err, sent, got); err != nil {
			return err
		}
		if !strings.Contains(string(said), command.answer) {
			return fmt.Errorf("haproxy: %q", tail(said))
		}
	}
	return nil
}

// caddy's configuration is its JSON, because a Caddyfile may say more than it
// means to. Its server names are matched by certificate.
func caddy(p proxy, s site) ([]string, error) {
	type object = map[string]any
	var files []object
	for _, pem := range s.keyPairs() {
		files = append(files, object{"certificate": pem, "key": pem})
	}
	text, err := json.Marshal(object{
		"admin":   object{"disabled": true},
		"logging": object{"logs": object{"default": object{"level": "ERROR"}}},
		"apps": object{
			"http": object{"servers": object{"compare": object{
				"listen": []string{s.Listen}, "protocols": []string{"h1", "h2"}, "idle_timeout": idleTimeout.String(),
				"automatic_https": object{"disable": true},
				"tls_connection_policies": []object{{
					"protocol_min": "tls1.3",
					"client_authentication": object{
						"mode": "require_and_verify", "trusted_ca_certs_pem_files": []string{s.clientCA()},
					},
				}},
				"routes": []object{{"handle": []object{{
					"handler": "reverse_proxy", "upstreams": []object{{"dial": s.Origin}},
					"transport": object{"protocol": "http", "compression": false, "keep_alive": object{
						"max_idle_conns_per_host": idleUpstream, "idle_timeout": idleTimeout.String(),
					}},
				}}}},
			}}},
			"tls": object{"certificates": object{"load_files": files}},
		},
	})
	if err != nil {
		return nil, err
	}
	return []string{p.program, "run", "--config", s.file("caddy.json")}, s.write("caddy.json", string(text))
}
