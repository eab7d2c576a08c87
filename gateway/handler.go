package gateway

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/urlpath"
	"github.com/sallyport/sallyport/route"
)

// This file is the way of a request of net/http. It takes no lock, loads the snapshot
// once and passes it down: a request that began under one configuration ends under it.

// ServeHTTP implements [http.Handler]: it is the gateway for an [net/http.Server] of your
// own, which must use [*Server.TLSConfig] if it speaks TLS. Put it in front of everything
// that changes the Host.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.attend(w, r, (*Server).serveHTTP)
}

// serveHTTP is ServeHTTP of a request that is accounted for.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request, v *visit) {
	path, why := s.pathOf(r)
	if why != nil {
		if why == connectNotServed {
			// It may go on as if it had a tunnel.
			if r.ProtoMajor == 1 {
				w.Header().Set("Connection", "close")
			}
			w.Header().Set("Allow", "GET, HEAD, POST, PUT, DELETE, OPTIONS, TRACE, PATCH")
		}
		s.answer(w, r, why.status, why.message)
		return
	}
	host, ok := canonicalHost(r)
	if !ok {
		if r.ProtoMajor == 1 {
			// Whoever wrote this may mean another request by what follows.
			w.Header().Set("Connection", "close")
		}
		s.refuseHost(w, r, v)
		return
	}

	asked := &httpAsker{r}
	d := s.decisionOf(s.snap.Load(), asked, path, host)
	d.visit = v
	denial := s.decide(d)
	s.dispatch(w, asked.r, d, denial)
}

// dispatch does with a request what was decided.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, d *decision, denial *denial) {
	d.visit.note(d, denial)
	engine, _ := w.(*streamWriter)
	switch {
	case denial != nil:
		s.deny(w, r, d, denial)
	case engine != nil && engine.connect:
		s.connect(engine, r, d)
	case d.pool == nil:
		s.serveLocal(w, r, d)
	default:
		s.forward(w, r, d)
	}
}

// connectNotServed is why there is no tunnel to wherever the client says (CVE-2026-71324).
var connectNotServed = &denial{status: http.StatusMethodNotAllowed, message: "CONNECT is not served"}

var noURL = &denial{status: http.StatusBadRequest, message: "the request has no URL"}

// pathOf returns the path of a request of net/http, or why it cannot be served, whatever the
// configuration.
func (s *Server) pathOf(r *http.Request) (urlpath.Path, *denial) {
	if r.Method == http.MethodConnect {
		return urlpath.Path{}, connectNotServed
	}
	if r.URL == nil { // not from a server, but made
		return urlpath.Path{}, noURL
	}
	path, err := urlpath.Options(s.o.Route.Paths).Parse(urlpath.Raw(r))
	unreadable := ""
	switch {
	case err != nil:
		unreadable = err.Error()
	case !targetForm(r):
		unreadable = "the request target is neither a path nor an http URL"
	case !properLength(r):
		unreadable = "the Content-Length is no length"
	default:
		return path, nil
	}
	return urlpath.Path{}, &denial{status: http.StatusBadRequest, message: unreadable}
}

// decisionOf returns what there is to know of a request of net/http with a valid path and
// canonical host.
func (s *Server) decisionOf(snap *snapshot, asked *httpAsker, path urlpath.Path, host string) *decision {
	r := asked.r
	return &decision{
		snap:      snap,
		tls:       r.TLS,
		authority: r.Host,
		path:      path,
		req:       route.Request{Method: r.Method, Host: host, Port: route.PortOf(r.Host), Path: path.Normal},
		header:    outgoing{arrival: s.arrivalOf(r)},
		asker:     asked,
	}
}

// An httpAsker asks a request of net/http.
type httpAsker struct{ r *http.Request }

func (a *httpAsker) context() context.Context { return a.r.Context() }

func (a *httpAsker) ask(d *decision) { a.r = d.header.ask(&d.req, a.r, d.identity) }

// deny answers a request that goes nowhere.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, d *decision, why *denial) {
	switch {
	case why == toHTTPS:
		s.redirect(w, r, d)
	case why.refusal != nil:
		s.refused(r, d, why)
		if why.refusal.Closes(r) {
			w.Header().Set("Connection", "close")
		}
		s.answer(w, r, why.status, why.message)
	case why.unauthorized != nil && why.status >= http.StatusInternalServerError:
		s.logPanicked(r, d, why)
		s.answer(w, r, why.status, why.message)
	case why.unauthorized != nil:
		s.refused(r, d, why)
		s.answer(w, r, why.status, why.message)
	case why.err != nil:
		match := d.found.Route
		s.logFailure(d.visit, r, match, fmt.Errorf("gateway: upstream %q: %w", match.Upstream(), why.err))
		s.answerFailure(w, r, why.status, why.message)
	default:
		s.answer(w, r, why.status, why.message)
	}
}

// targetForm reports whether the request target is one that a path stands in:
// that it is a path, or on HTTP/1 an http URL (RFC 9112, section 3.2.2) with a host
// and without user information (RFC 9110, sections 4.2.1 and 4.2.4). net/http finds
// a path in others too.
func targetForm(r *http.Request) bool {
	if r.RequestURI == "" || r.RequestURI[0] == '/' {
		return true // the former: not from a server, but made
	}
	if _, _, _, ok := urlpath.Target(r.RequestURI); !ok || r.ProtoMajor != 1 {
		return false
	}
	_, rest, _ := strings.Cut(r.RequestURI, "://")
	authority := rest
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	return authority != "" && !strings.Contains(authority, "@")
}

// properLength reports whether an HTTP/2 request has at most one Content-Length, of
// digits alone that says a length. Of several, net/http takes the first; for one that is
// no number, or too large a one, it drops the body. On HTTP/1 it refuses all of them.
func properLength(r *http.Request) bool {
	lengths := r.Header["Content-Length"]
	if r.ProtoMajor < 2 || len(lengths) == 0 {
		return true
	}
	_, err := strconv.ParseUint(lengths[0], 10, 63)
	return len(lengths) == 1 && err == nil
}

// canonicalHost returns the canonical Host of a request. It is empty for a request
// with HTTP/1.0 that has none. ok is false where it is no name or where there are
// two: HTTP/2 has a Host beside :authority (RFC 9113, section 8.3.1).
func canonicalHost(r *http.Request) (host string, ok bool) {
	if r.Host == "" {
		return "", r.ProtoMajor == 1 && r.ProtoMinor == 0
	}
	if host, ok = hostname.CanonicalHost(r.Host); !ok {
		return "", false
	}
	for _, other := range r.Header["Host"] {
		if name, ok := hostname.CanonicalHost(other); !ok || name != host {
			return "", false
		}
	}
	return host, true
}
