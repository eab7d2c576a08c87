package browser

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/sallyport/sallyport/adminapi"
	"github.com/sallyport/sallyport/gateway"
	"github.com/sallyport/sallyport/route"
	"github.com/sallyport/sallyport/ssl"
	"github.com/sallyport/sallyport/ssl/ssltest"
)

const key = "the: key ü"

// A live gateway has a name that demands client certificates, and its status page at /status
// beside a page of somebody else's.
type live struct {
	t      *testing.T
	gw     *gateway.Server
	url    string // of the page
	secure net.Listener
	failed chan struct{}
	people *ssltest.CA
}

func newLive(t *testing.T) *live {
	l := &live{t: t, failed: make(chan struct{}, 100), people: ssltest.NewCA(t, "people")}
	l.gw = must(gateway.New(&gateway.Options{TLS: ssl.Options{Trace: &ssl.Trace{HandshakeDone: func(e *ssl.HandshakeEvent) {
		if e.Err != nil {
			l.failed <- struct{}{}
		}
	}}}}))
	t.Cleanup(func() { _ = l.gw.Close() })
	_, err := l.gw.Apply(gateway.Change{Put: gateway.Config{
		Profiles: []ssl.Config{{
			ID: "mtls", Names: []string{"a.test"}, Certificates: []ssl.KeyPair{ssltest.NewCA(t, "servers").Server("a.test")},
			Client: &ssl.ClientAuth{CAPEM: l.people.PEM()},
		}},
		Routes: []route.Config{{ID: "hello", Paths: []string{"/hello"}, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}},
	}})
	require.NoError(t, err)
	admin, err := adminapi.New(t.Context(), l.gw, &adminapi.Options{Keys: []adminapi.Key{{Value: key, Role: adminapi.RoleViewer}}})
	require.NoError(t, err)
	t.Cleanup(admin.Close)
	l.secure, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		if err := l.gw.ServeTLS(l.secure); err != http.ErrServerClosed {
			t.Error(err)
		}
	}()
	mux := http.NewServeMux()
	mux.Handle("/status", admin.StatusPage())
	mux.Handle("/apisix/admin/", admin)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	l.url = server.URL + "/status"
	return l
}

// refuse makes a handshake that fails, with a certificate of a CA that nobody knows.
func (l *live) refuse(name string) {
	l.t.Helper()
	stranger := ssltest.NewCA(l.t, "strangers").Client(name)
	config := ssltest.ClientConfig("a.test")
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }
	conn, err := tls.Dial("tcp", l.secure.Addr().String(), config)
	if err == nil {
		_, err = conn.Read(make([]byte, 1))
		require.NoError(l.t, conn.Close())
	}
	require.Error(l.t, err)
	<-l.failed
}

// answerLogin types in a password when the browser asks for one. It returns how often that
// was.
func (b *tab) answerLogin(password string) (asked func() int) {
	b.t.Helper()
	n := 0
	require.NoError(b.t, chromedp.Listen(b.ctx, func(event any) {
		switch e := event.(type) {
		case *fetch.EventRequestPaused:
			go func() {
				_, _ = chromedp.Call(b.ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
			}()
		case *fetch.EventAuthRequired:
			b.mu.Lock()
			n++
			b.mu.Unlock()
			answer := &fetch.AuthChallengeResponse{Response: "ProvideCredentials", Username: "anyone", Password: password}
			if password == "" {
				answer = &fetch.AuthChallengeResponse{Response: "CancelAuth"}
			}
			go func() {
				_, _ = chromedp.Call(b.ctx, fetch.ContinueWithAuth, fetch.ContinueWithAuthParams{RequestID: e.RequestID, AuthChallengeResponse: answer})
			}()
		}
	}))
	call(b, fetch.Enable, fetch.EnableParams{HandleAuthRequests: new(true)})
	return func() int {
		b.mu.Lock()
		defer b.mu.Unlock()
		return n
	}
}

// A person gives the key once, sees who was refused and why, and asks where a request would
// go; what is new comes by itself, and nobody is asked for the key again.
func TestLive(t *testing.T) {
	l := newLive(t)
	b := newTab(t)
	asked := b.answerLogin(key)
	b.fasten()
	b.do(chromedp.Navigate(l.url))
	require.Contains(t, run(b, chromedp.Text(chromedp.CSS("#refusals-live"))), "Nobody was refused yet.")
	l.refuse("mallory")
	b.until(`document.querySelector("#refusals-live").textContent.includes("CN=mallory")`)
	text := run(b, chromedp.Text(chromedp.CSS("#refusals-table")))
	require.Contains(t, text, "unknown_ca")
	require.Contains(t, text, "strangers")
	require.Equal(t, 1, asked())

	b.do(
		chromedp.SetValue(chromedp.CSS("#url"), "https://a.test/hello"), chromedp.Click(chromedp.CSS(".go button")),
		chromedp.WaitVisible(chromedp.CSS("#candidates-table")),
	)
	require.Contains(t, run(b, chromedp.Text(chromedp.CSS("#explain-live"))), "It goes to the route hello.")
	require.LessOrEqual(t, asked(), 1)
	// The key that the browser keeps opens nothing else, and no script can read it.
	require.Equal(t, 401, eval[int](b, `fetch("/apisix/admin/routes", {credentials: "include"}).then((r) => r.status)`))
	require.Empty(t, eval[string](b, `document.cookie`))
}

// Whoever does not know the key gets a sentence, and no page.
func TestLoginCancelled(t *testing.T) {
	l := newLive(t)
	b := newTab(t)
	b.answerLogin("")
	b.do(chromedp.Navigate(l.url))
	require.Contains(t, run(b, chromedp.Text(chromedp.CSS("body"))), "failed to check token")
	require.False(t, eval[bool](b, `!!document.getElementById("main")`))
}

// What refused clients have sent stays text in a real browser too, where it is shown and
// where it comes with a refresh.
func TestHostileClients(t *testing.T) {
	l := newLive(t)
	b := newTab(t)
	b.answerLogin(key)
	b.fasten()
	b.do(chromedp.Navigate(l.url))
	for _, name := range []string{
		`<script>owned=1</script>`, `"><img src=x onerror=owned=1>`, `<svg onload=owned=1>`, `</td></table><iframe srcdoc="<script>parent.owned=1</script>">`,
		`' autofocus onfocus='owned=1`, `javascript:owned=1`, "<style>*{display:none}</style>", "\u202eresu",
	} {
		l.refuse(name)
	}
	b.until(`document.querySelectorAll("#refusals-table tbody tr").length === 8`)
	b.do(chromedp.Navigate(l.url + "?names=%22%3E%3Cscript%3Eowned%3D1%3C%2Fscript%3E&header=%3C%2Ftextarea%3E%3Cscript%3Eowned%3D1%3C%2Fscript%3E&url=javascript:owned%3D1"))
	b.until(`document.querySelectorAll("#refusals-table tbody tr").length === 8`)
	require.Equal(t, "undefined", eval[string](b, `typeof owned`))
	require.Zero(t, eval[int](b, `document.querySelectorAll("main script, main img, main iframe, main style, main svg[onload], [onerror], [onfocus]").length`))
	require.Contains(t, eval[string](b, `document.getElementById("refusals-table").textContent`), `CN=\"\>\<img src=x onerror=owned=1\>`)
	require.Contains(t, eval[string](b, `document.getElementById("refusals-table").textContent`), `\E2\80\AEresu`)
	b.noTrouble()
}

// Another site can neither frame the page nor read it, though the browser knows the key.
func TestOtherSites(t *testing.T) {
	l := newLive(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<iframe id="frame" src="%s"></iframe>`, l.url)
	}))
	defer elsewhere.Close()
	b := newTab(t)
	b.answerLogin(key)
	b.do(chromedp.Navigate(l.url))
	// By another name for the same machine, so that it is another site.
	_, port, err := net.SplitHostPort(elsewhere.Listener.Addr().String())
	require.NoError(t, err)
	b.do(chromedp.Navigate("http://localhost:" + port))
	require.Equal(t, "refused", eval[string](b, fmt.Sprintf(`fetch(%q, {credentials: "include"}).then((r) => r.text(), () => "refused")`, l.url)))
	require.Equal(t, "refused", eval[string](b, fmt.Sprintf(`fetch(%q, {credentials: "include", mode: "no-cors"}).then(() => "opaque", () => "refused")`, l.url)))
	require.Equal(t, "unreadable", eval[string](b, `(() => { try { return document.getElementById("frame").contentDocument?.body.textContent ?? "unreadable" } catch { return "unreadable" } })()`))
}
