package gateway_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/upstream"
)

// Who may use a route, to a node and to a handler, through every door.
func TestRoutePolicies(t *testing.T) {
	const secret = "a secret of the policy's"
	h := newHarness(t, nil)
	var asked atomic.Int32
	onlyAlice := func(ctx context.Context, _ *route.AuthorizeRequest) error {
		asked.Add(1)
		if i := ssl.FromContext(ctx); i == nil || i.Subject() != "CN=alice" {
			return errors.New(secret)
		}
		return ctx.Err()
	}
	skip := h.profile("skip", []string{"skip.test"}, h.people)
	skip.Client.SkipPaths = []string{"^/"}
	config := gateway.Config{
		Profiles: []ssl.Config{
			h.profile("pub", []string{"pub.test"}), h.profile("mtls", []string{"mtls.test"}, h.people), skip,
		},
		Upstreams: []upstream.Config{upstreamTo("1", h.origin.address)},
	}
	policies := map[string]route.Config{
		"open":     {},
		"identity": {RequireIdentity: true},
		"alice":    {Authorize: onlyAlice},
		"both":     {RequireIdentity: true, Authorize: onlyAlice},
		"panic":    {Authorize: func(context.Context, *route.AuthorizeRequest) error { panic(secret) }},
		"nil": {Authorize: func(ctx context.Context, _ *route.AuthorizeRequest) error {
			return errors.New(ssl.FromContext(ctx).Subject())
		}},
	}
	for name, r := range policies {
		r.ID, r.Paths, r.Hosts, r.Upstream = "node "+name, []string{"/node/" + name}, []string{"pub.test", "mtls.test", "skip.test"}, "1"
		config.Routes = append(config.Routes, r)
		r.ID, r.Paths = "local "+name, []string{"/local/" + name}
		r.Upstream, r.Handler = "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h.origin.mu.Lock()
			defer h.origin.mu.Unlock()
			h.origin.seen = append(h.origin.seen, &received{})
			_, _ = io.WriteString(w, "ok")
		})
		config.Routes = append(config.Routes, r)
	}
	h.apply(config)

	const (
		forbidden = "{\"error_msg\":\"the client may not make this request\"}\n"
		nobody    = "{\"error_msg\":\"this is for clients with a verified certificate\"}\n"
		plain     = "{\"error_msg\":\"this is for clients with a verified certificate: use https\"}\n"
		panicked  = "{\"error_msg\":\"the gateway could not judge the request\"}\n"
	)
	alice, bob := h.people.Client("alice"), h.people.Client("bob")
	for _, d := range h.doors() {
		clients := map[string]*http.Client{
			"alice": h.client(d, "mtls.test", alice), "bob": h.client(d, "mtls.test", bob),
			"nobody": h.client(d, "pub.test", alice), "skipped": h.client(d, "skip.test"),
		}
		hosts := map[string]string{"alice": "mtls.test", "bob": "mtls.test", "nobody": "pub.test", "skipped": "skip.test"}
		if !d.tls {
			clients = map[string]*http.Client{"plain": h.client(d, "pub.test", alice)}
			hosts = map[string]string{"plain": "pub.test"}
		}
		for who, client := range clients {
			for name := range policies {
				for _, target := range []string{"node", "local"} {
					t.Run(fmt.Sprint(d.name, " ", who, " ", target, " ", name), func(t *testing.T) {
						want, body := 200, "ok"
						switch {
						case name == "open" || who == "alice" && name != "panic" && name != "nil":
						case name == "panic", name == "nil" && hosts[who] != "mtls.test":
							want, body = 500, panicked
						case name == "identity" && who == "bob":
						case name == "alice", name == "nil", who == "bob":
							want, body = 403, forbidden
						case who == "plain":
							want, body = 403, plain
						default:
							want, body = 403, nobody
						}
						h.origin.take()
						asked.Store(0)
						before := len(h.log.String())
						req, err := http.NewRequestWithContext(t.Context(), "POST", d.scheme()+"://"+hosts[who]+"/"+target+"/"+name, strings.NewReader("x"))
						require.NoError(t, err)
						status, got := h.do(client, req)
						require.Equal(t, want, status, got)
						require.Equal(t, body, got)
						require.LessOrEqual(t, asked.Load(), int32(1))
						if want == 200 && policies[name].Authorize != nil {
							require.EqualValues(t, 1, asked.Load())
						}
						seen, log := h.origin.take(), h.log.String()[before:]
						if status == 200 {
							require.Len(t, seen, 1)
							return
						}
						require.Empty(t, seen)
						if status == 500 {
							require.Contains(t, log, "request failed")
						} else {
							require.Contains(t, log, "request refused")
						}
						require.Contains(t, log, fmt.Sprintf("status=%d", status))
						require.Contains(t, log, fmt.Sprintf("route=%q", target+" "+name))
						if who == "bob" {
							require.Contains(t, log, "CN=bob")
						}
						if name == "panic" || body == forbidden && name != "nil" {
							require.Contains(t, log, secret)
						}
					})
				}
			}
		}
	}
}

// The request waits for its policy, and the policy is told when the client goes away.
func TestAuthorizeEndsWithTheRequest(t *testing.T) {
	h := newHarness(t, nil)
	asked, ended := make(chan struct{}), make(chan error)
	r := local("1", "/", "ok")
	r.Authorize = func(ctx context.Context, _ *route.AuthorizeRequest) error {
		asked <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	}
	h.apply(gateway.Config{Profiles: []ssl.Config{h.profile("a", []string{"a.test"})}, Routes: []route.Config{r}})
	for _, d := range h.doors() {
		ctx, cancel := context.WithCancel(t.Context())
		req, err := http.NewRequestWithContext(ctx, "GET", d.scheme()+"://a.test/", nil)
		require.NoError(t, err)
		gone := make(chan error)
		client := h.client(d, "a.test")
		go func() {
			res, err := client.Do(req)
			if err == nil {
				res.Body.Close()
			}
			gone <- err
		}()
		<-asked
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled, d.name)
		require.ErrorIs(t, <-ended, context.Canceled, d.name)
	}
}

// A route that demands an identity where no client is ever asked for a certificate refuses
// everybody: that is told when it is put.
func TestRequireIdentityWarnings(t *testing.T) {
	h := newHarness(t, nil)
	const (
		everybody = "every such request is answered with 403: set Client in the profile of the name, with SkipPaths \"^/\" if other routes need no certificate"
		says      = "is set, and no client is asked for a certificate "
	)
	skipping := h.profile("skip", []string{"skip.test"}, h.people)
	skipping.Client.SkipPaths = []string{"^/"}
	public := []ssl.Config{h.profile("pub", []string{"pub.test", "*.pub.test", "*"})}
	some := append(public, h.profile("mtls", []string{"mtls.test", "*.mtls.test", "x.a.test"}, h.people), skipping)
	all := []ssl.Config{h.profile("all", []string{"*"}, h.people), h.profile("but", []string{"but.test"})}
	suffix := []ssl.Config{h.profile("suffix", []string{"*a.test", "*short"}, h.people)}
	for _, c := range []struct {
		name     string
		profiles []ssl.Config
		hosts    []string
		want     string
	}{
		{"any host, no profile", nil, nil, says + "under any name: " + everybody},
		{"any host, none demands", public, nil, says + "under any name: " + everybody},
		{"any host", some, nil, ""},
		{"the host of every name", some, []string{"*"}, ""},
		{"a name", some, []string{"MTLS.test"}, ""},
		{"a name with a port", some, []string{"mtls.test:8443", "[::1]:443"}, says + "under [::1]: " + everybody},
		{"a name with several ports", some, []string{"a.test:1", "a.test:2", "b.test", "a.test"}, says + "under a.test, b.test: " + everybody},
		{"skip paths", some, []string{"skip.test"}, ""},
		{"no profile", nil, []string{"a.test"}, says + "under a.test: " + everybody},
		{"a public name", some, []string{"pub.test"}, says + "under pub.test: " + everybody},
		{"a name of a public wildcard", some, []string{"a.pub.test"}, says + "under a.pub.test: " + everybody},
		{"a name below a closed wildcard", some, []string{"a.b.mtls.test"}, says + "under a.b.mtls.test: " + everybody},
		{"one of two", some, []string{"mtls.test", "pub.test"}, says + "under pub.test: " + everybody},
		{"many", some, []string{"a.test", "b.test", "mtls.test", "c.test", "d.test", "e.test"}, says + "under a.test, b.test, c.test and 2 more: " + everybody},
		{"a wildcard over a name", some, []string{"*.a.test"}, ""},
		{"a wildcard", some, []string{"*.mtls.test"}, ""},
		{"a wildcard of no name", some, []string{"*.b.test"}, says + "under *.b.test: " + everybody},
		{"a suffix", some, []string{"*ls.test"}, ""},
		{"a suffix of anything", some, []string{"*test"}, ""},
		{"a suffix, none demands", public, []string{"*test"}, says + "under *test: " + everybody},
		{"a profile of every name", all, []string{"a.test", "*.b.test"}, ""},
		{"a wildcard in a profile of a suffix", suffix, []string{"*.a.test", "*b.a.test", "*.short", "*b.short"}, ""},
		{"a wildcard too deep in a profile of a suffix", suffix, []string{"*.b.a.test", "*.b.short"}, says + "under *.b.a.test, *.b.short: " + everybody},
		{"a name out of a profile of every name", all, []string{"but.test"}, says + "under but.test: " + everybody},
	} {
		t.Run(c.name, func(t *testing.T) {
			gw := must(gateway.New(nil))
			defer gw.Close()
			_, err := gw.Apply(gateway.Change{Put: gateway.Config{Profiles: c.profiles}})
			require.NoError(t, err)
			r := local("r", "/", "r", c.hosts...)
			for _, set := range []struct {
				identity, disabled bool
				want               string
			}{{true, false, c.want}, {false, false, ""}, {true, true, ""}} {
				r.RequireIdentity, r.Disabled = set.identity, set.disabled
				report, err := gw.Apply(gateway.Change{Put: gateway.Config{Routes: []route.Config{r}}})
				require.NoError(t, err)
				var texts []string
				for _, w := range report.Warnings {
					require.Equal(t, gateway.Warning{Kind: gateway.KindRoute, ID: "r", Field: "RequireIdentity", Text: w.Text}, w)
					texts = append(texts, w.Text)
				}
				require.Equal(t, set.want, strings.Join(texts, "\n"))
			}
		})
	}
}
