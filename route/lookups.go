package route

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/sallyport/sallyport/internal/clientcert"
	"github.com/sallyport/sallyport/internal/reqvar"
)

// MaxPostForm is the size, in bytes, of the longest body in which post_arg_NAME looks for
// arguments. In a longer one, all are absent.
const MaxPostForm = 64 << 10

// HTTPLookups are the [Lookups] of a request that net/http has read as a server. They have
// every variable in the package documentation that a [Request] does not have itself.
//
//   - A header field with several lines has one value, in which they are joined by ", ",
//     or for Cookie by "; ".
//   - arg_NAME is the first argument with that name. Name and value are decoded, a plus
//     is a space, and a percent sign that does not begin an escape stands for itself. An
//     argument without "=" exists and is empty. A semicolon does not separate arguments.
//   - cookie_NAME is the first cookie with that name, without quotes around its value.
//   - post_arg_NAME is an argument in a body of type application/x-www-form-urlencoded
//     of at most [MaxPostForm] bytes. Looking one up reads the body, once, however long
//     that takes. The body can still be read: afterwards, the Body of the request begins
//     with what was read, and an error is returned again at the same point. Copies of
//     the request that were made before have lost it. A handler that calls
//     [http.ResponseController.EnableFullDuplex] must read such a body to its end or end
//     the connection: net/http does not do that for a Body that it did not make.
//   - ssl_client_verify is "NONE" for a client without a certificate, "SUCCESS" if
//     crypto/tls verified it, and "FAILED:certificate not verified" if not. The contents
//     of the certificate are available only if it was verified.
//
// Variables that are expensive to compute are computed once. HTTPLookups must not be used
// by two goroutines at a time, nor after the handler has returned.
type HTTPLookups struct {
	request *http.Request
	client  clientcert.Variables

	serverAddr, serverPort string // of the local address, once it was read
	localRead              bool

	form     string // the body, once it was read
	formRead bool

	// What one route asks for, many do, one after the other: last is what was asked for
	// last of what takes the longer the more the client sends, and before, what was
	// asked for before that.
	last   answer
	before map[question]answer
}

// A question is a variable that is asked for.
type question struct {
	kind VarKind
	name string
}

// An answer is what was found.
type answer struct {
	question
	from  string // the query, for an argument of it
	value string
	ok    bool
}

var _ Lookups = (*HTTPLookups)(nil)

// NewHTTPLookups returns the lookups of a request. It does not read the request yet.
func NewHTTPLookups(r *http.Request) *HTTPLookups { return &HTTPLookups{request: r} }

// Lookup implements [Lookups].
func (l *HTTPLookups) Lookup(kind VarKind, name string) (value string, ok bool) {
	switch kind {
	case VarHeader:
		return reqvar.Header(l.request, name)
	case VarArg, VarCookie, VarPostArg:
		return l.once(question{kind, name})
	case VarOther:
		if strings.HasPrefix(name, "ssl_") {
			return l.tls(name)
		}
		return l.other(name)
	default:
		return "", false
	}
}

// LookupAll implements [Lookups], for ssl_client_dns_sans and ssl_client_uri_sans.
func (l *HTTPLookups) LookupAll(name string) (values []string, ok bool) {
	if !strings.HasPrefix(name, "ssl_client_") {
		return nil, false // the usual case
	}
	return l.verifiedClient().LookupAll(name)
}

func (l *HTTPLookups) other(name string) (value string, ok bool) {
	r := l.request
	switch name {
	case "request_uri":
		return reqvar.RequestURI(r), true
	case "args":
		return r.URL.RawQuery, r.URL.RawQuery != "" || r.URL.ForceQuery
	case "is_args":
		if r.URL.RawQuery != "" {
			return "?", true
		}
		return "", true
	case "scheme":
		if r.TLS != nil {
			return "https", true
		}
		return "http", true
	case "server_addr":
		l.readLocal()
		return l.serverAddr, l.serverAddr != ""
	case "server_port":
		l.readLocal()
		return l.serverPort, l.serverPort != ""
	case "remote_port":
		i := strings.LastIndexByte(r.RemoteAddr, ':')
		if i < 0 {
			return "", false
		}
		return r.RemoteAddr[i+1:], true
	case "server_protocol":
		return r.Proto, true
	case "content_type":
		return reqvar.Header(l.request, "Content-Type")
	case "content_length":
		return reqvar.Header(l.request, "Content-Length")
	default:
		return "", false
	}
}

// readLocal reads the address that the client connected to.
func (l *HTTPLookups) readLocal() {
	if l.localRead {
		return
	}
	l.localRead = true
	var local netip.AddrPort
	switch addr := l.request.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		local = addr.AddrPort()
	case net.Addr:
		local, _ = netip.ParseAddrPort(addr.String())
	}
	if local.IsValid() {
		l.serverAddr = plainAddr(local.Addr()).String()
		l.serverPort = strconv.Itoa(int(local.Port()))
	}
}

func (l *HTTPLookups) tls(name string) (value string, ok bool) {
	state := l.request.TLS
	if state == nil {
		return "", false
	}
	switch name {
	case "ssl_server_name":
		return state.ServerName, state.ServerName != ""
	case "ssl_protocol":
		return protocolName(state.Version), true
	case "ssl_cipher":
		return cipherName(state.CipherSuite), true
	case "ssl_client_verify":
		switch {
		case len(state.PeerCertificates) == 0:
			return "NONE", true
		case len(state.VerifiedChains) == 0:
			return "FAILED:certificate not verified", true
		}
		return "SUCCESS", true
	default:
		return l.verifiedClient().Lookup(name)
	}
}

// verifiedClient returns the variables of the client's certificate, or those of none
// if crypto/tls has not verified it.
func (l *HTTPLookups) verifiedClient() *clientcert.Variables {
	if state := l.request.TLS; state != nil && len(state.VerifiedChains) > 0 {
		l.client.Certificate = state.VerifiedChains[0][0]
	}
	return &l.client
}

// protocolName returns nginx's name of a version of TLS.
func protocolName(version uint16) string {
	switch version {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	default:
		return tls.VersionName(version)
	}
}

// cipherName returns OpenSSL's name of a cipher suite, which is nginx's. In TLS 1.3,
// it is that of the standard.
func cipherName(suite uint16) string {
	if name, ok := cipherNames[suite]; ok {
		return name
	}
	return tls.CipherSuiteName(suite)
}

var cipherNames = map[uint16]string{
	tls.TLS_RSA_WITH_RC4_128_SHA:                      "RC4-SHA",
	tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA:                 "DES-CBC3-SHA",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA:                  "AES128-SHA",
	tls.TLS_RSA_WITH_AES_256_CBC_SHA:                  "AES256-SHA",
	tls.TLS_RSA_WITH_AES_128_CBC_SHA256:               "AES128-SHA256",
	tls.TLS_RSA_WITH_AES_128_GCM_SHA256:               "AES128-GCM-SHA256",
	tls.TLS_RSA_WITH_AES_256_GCM_SHA384:               "AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_RC4_128_SHA:              "ECDHE-ECDSA-RC4-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA:          "ECDHE-ECDSA-AES128-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA:          "ECDHE-ECDSA-AES256-SHA",
	tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA:                "ECDHE-RSA-RC4-SHA",
	tls.TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA:           "ECDHE-RSA-DES-CBC3-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA:            "ECDHE-RSA-AES128-SHA",
	tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA:            "ECDHE-RSA-AES256-SHA",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256:       "ECDHE-ECDSA-AES128-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256:         "ECDHE-RSA-AES128-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:         "ECDHE-RSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256:       "ECDHE-ECDSA-AES128-GCM-SHA256",
	tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:         "ECDHE-RSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384:       "ECDHE-ECDSA-AES256-GCM-SHA384",
	tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256:   "ECDHE-RSA-CHACHA20-POLY1305",
	tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
}

// once looks for what was not asked for yet.
func (l *HTTPLookups) once(q question) (value string, ok bool) {
	from := ""
	if q.kind == VarArg {
		from = l.request.URL.RawQuery
	}
	if l.last.question == q && l.last.from == from && q.name != "" {
		return l.last.value, l.last.ok
	}
	a, known := l.before[q]
	if !known || a.from != from {
		a = answer{question: q, from: from}
		a.value, a.ok = l.find(q)
	}
	if l.last.name != "" {
		if l.before == nil {
			l.before = map[question]answer{}
		}
		l.before[l.last.question] = l.last
	}
	l.last = a
	return a.value, a.ok
}

func (l *HTTPLookups) find(q question) (value string, ok bool) {
	switch q.kind {
	case VarCookie:
		return reqvar.Cookie(l.request.Header["Cookie"], q.name)
	case VarPostArg:
		l.readForm()
		value, ok = reqvar.Argument(l.form, q.name)
	default:
		value, ok = reqvar.Argument(l.request.URL.RawQuery, q.name)
	}
	if strings.ContainsAny(value, "%+") {
		value = reqvar.Decode(value)
	}
	return value, ok
}

// readForm reads the body, if it may be a form.
func (l *HTTPLookups) readForm() {
	if l.formRead {
		return
	}
	l.formRead = true
	r := l.request
	mediaType, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength > MaxPostForm ||
		!strings.EqualFold(textproto.TrimString(mediaType), "application/x-www-form-urlencoded") {
		return
	}
	var ahead strings.Builder
	n, err := io.Copy(&ahead, io.LimitReader(r.Body, MaxPostForm+1))
	if err == nil && n <= MaxPostForm {
		err = io.EOF // or else the limit stopped it
		l.form = ahead.String()
	}
	r.Body = &aheadBody{ahead.String(), err, r.Body}
}

// An aheadBody is a body of which a part was read ahead.
type aheadBody struct {
	ahead string // what was read and is still to be returned
	err   error  // what the reading ended with; nil if more can be read
	body  io.Reader
}

func (b *aheadBody) Read(p []byte) (int, error) {
	switch {
	case b.ahead != "":
		n := copy(p, b.ahead)
		b.ahead = b.ahead[n:]
		return n, nil
	case b.err != nil:
		return 0, b.err
	default:
		return b.body.Read(p)
	}
}

// Close ends the reading. It leaves the body itself to the server, which closes it, or
// the connection, after the answer. A server can tell that its body was closed before
// its end, and that what follows is not the next request, only of one that still stands
// in the request that it made.
func (b *aheadBody) Close() error {
	b.ahead, b.err = "", http.ErrBodyReadAfterClose
	return nil
}
