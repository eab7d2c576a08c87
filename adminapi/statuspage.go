package adminapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/sallyport/sallyport/internal/accept"
	"github.com/sallyport/sallyport/internal/statushtml"
)

// StatusPage returns a handler that shows how the gateway is doing: which clients were
// refused and what to do about it, names and their certificates, routes, upstreams, and the
// configuration. Mount it at any path:
//
//	mux.Handle("/status", admin.StatusPage())
//
// It answers GET and HEAD with a page for people, and requests for application/json with a
// [github.com/sallyport/sallyport/adminapi/statuspage.Report]. It changes nothing, and is
// available under [Options.Headless] too.
//
// # Who may see it
//
// Whoever may use the Admin API, by the same rules and with the same keys, whatever their
// role. A browser does not send X-API-KEY, so here a key may also be the password of HTTP's
// Basic authentication (RFC 7617), with any user name. The browser asks for it, and keeps
// it until it is closed. There is no cookie and no session, nor a key in the address, where
// a history or a log would keep it.
//
// The price is that the browser adds the key by itself, even to requests that other sites'
// pages make it send. So the Admin API itself does not accept keys this way, this handler
// has nothing that could be changed, and requests that nobody has asked for are refused by
// their Sec-Fetch-Site. As with any key, use TLS on a network that others can listen to.
//
// # What it costs
//
// A page has about twenty of each kind of object, and says how many it leaves out. These
// are its parameters, in the query:
//
//	refusals, names, routes, upstreams   // a text that must occur, whatever its case
//	refusals_page, names_page, ...       // which part, from 1 on
//	routes_sort                          // traffic (the default), errors or id
//	page_size                            // from 10 to 500; 20 is the default
//	url, method, client, sni, header     // a request to explain, as for POST /explain
//
// In header, each line is a field, "Name: value". With 100 000 routes a page takes tens of
// milliseconds, and one that filters them a few hundred.
func (h *Handler) StatusPage() http.Handler { return &statusPage{h} }

// A statusPage is what [*Handler.StatusPage] returns.
type statusPage struct{ handler *Handler }

// ServeHTTP implements [http.Handler].
func (p *statusPage) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	head := w.Header()
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Content-Security-Policy", statushtml.Policy)
	head.Set("X-Frame-Options", "DENY") // for browsers that do not know frame-ancestors
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Vary", "Accept")

	asksJSON := accept.Quality(r.Header.Get("Accept"), "application", "json") > accept.Quality(r.Header.Get("Accept"), "text", "html")
	if f := p.handler.gate.checkPage(r); f != nil {
		p.refuse(w, r, f, asksJSON)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		head.Set("Allow", "GET, HEAD")
		p.answerFailure(w, r, &failure{status: http.StatusMethodNotAllowed, text: "the status page can only be looked at"}, asksJSON)
		return
	}
	query, err := statushtml.Parse(r.URL.Query())
	if err != nil {
		p.answerFailure(w, r, badRequest(err), asksJSON)
		return
	}
	report := p.handler.report(&query)
	var body bytes.Buffer
	contentType := "text/html; charset=utf-8"
	if asksJSON {
		contentType = "application/json"
		out := json.NewEncoder(&body)
		out.SetIndent("", "  ")
		err = out.Encode(report)
	} else {
		err = statushtml.Write(&body, report, query)
	}
	if err != nil {
		if p.handler.logger != nil {
			p.handler.logger.Error("status page failed", "error", withoutKey(err.Error()))
		}
		p.answerFailure(w, r, &failure{status: http.StatusInternalServerError, text: "internal error"}, asksJSON)
		return
	}
	p.answer(w, r, http.StatusOK, contentType, body.Bytes())
}

// refuse answers a request that is not let in.
func (p *statusPage) refuse(w http.ResponseWriter, r *http.Request, f *failure, asksJSON bool) {
	if f.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="Sallyport: a key of the Admin API is the password", charset="UTF-8"`)
	}
	// A browser first asks without a key, to be told how: that is nobody's failure.
	if _, _, tried := r.BasicAuth(); p.handler.logger != nil && (tried || f.status != http.StatusUnauthorized || r.Header.Get("X-API-KEY") != "") {
		p.handler.logger.Warn("status page refused", "status", f.status, "reason", cmp.Or(f.description, f.text), "remote", r.RemoteAddr, "host", r.Host)
	}
	p.answerFailure(w, r, f, asksJSON)
}

// answerFailure says why there is no page, in JSON or in plain text.
func (p *statusPage) answerFailure(w http.ResponseWriter, r *http.Request, f *failure, asksJSON bool) {
	if !asksJSON {
		text := f.text
		if f.description != "" {
			text += ": " + f.description
		}
		p.answer(w, r, f.status, "text/plain; charset=utf-8", []byte(text+"\n"))
		return
	}
	write(w, r, f.reply())
}

func (p *statusPage) answer(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
