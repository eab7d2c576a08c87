package ssl

import (
	"cmp"
	"crypto/tls"
	"errors"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/hooks"
	"github.com/sallyport/sallyport/internal/hostname"
	"github.com/sallyport/sallyport/internal/signer"
)

// This file is the way of a handshake. It takes no lock, loads the table once,
// and builds a tls.Config only for the first connection of a profile.

// A Terminator terminates TLS connections: for each ClientHello it finds the profile in the
// current table, and for each request the profile that governs it. It owns the session
// tickets and the counts of handshakes, but no table: it asks for the table each time, so
// that there is only one source of truth.
//
// To use this package alone, use a [Store]. Use [NewTerminator]: a zero Terminator does not
// work. It may be used by any number of goroutines.
type Terminator struct {
	table func() *Table

	// base is what every tls.Config is made from. owner has the keys of the
	// session tickets, which rotate by themselves, or those of Options.Base.
	base  *tls.Config
	owner *tls.Config

	// unknown refuses a handshake for a name that no profile has.
	unknown *tls.Config

	verifyConnection func(tls.ConnectionState) error // of Options.Base
	fallback         string
	o                Options
	verdicts         *verdicts // not part of what %+v prints: it changes all the time
	shared           *sharedCerts
	clock            *coarseClock
	procs            procs
	counts           *counts
	samplers         *samplers
}

// NewTerminator returns a Terminator over the table that a function returns. The function
// is called for each handshake, must not block, and may return nil. The error joins one for
// each invalid option; each names the field and the rule.
func NewTerminator(table func() *Table, o *Options) (*Terminator, error) {
	if table == nil {
		return nil, errors.New("ssl: NewTerminator: table is nil: it may return nil, and has to be there")
	}
	if o == nil {
		o = &Options{}
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	tm := &Terminator{table: table, base: o.base(), o: *o}
	tm.o.Logger, tm.o.HandshakeLog = hooks.Logger(o.Logger), hooks.Logger(o.HandshakeLog)
	tm.verifyConnection = tm.base.VerifyConnection
	tm.base.VerifyConnection = nil
	tm.owner = tm.base.Clone()
	tm.fallback, _ = hostname.Canonical(o.FallbackName)
	if tm.o.HandshakeTimeout <= 0 {
		tm.o.HandshakeTimeout = defaultHandshakeTimeout
	}
	if tm.o.MaxHandshakes <= 0 {
		tm.o.MaxHandshakes = defaultMaxHandshakes
	}
	tm.o.MaxHandshakes = min(tm.o.MaxHandshakes, mostHandshakes)
	tm.procs = newProcs(tm.o.HandshakeProcs)
	tm.verdicts, tm.shared = newVerdicts(), newSharedCerts()
	tm.clock = &coarseClock{}
	tm.counts = &counts{}
	tm.samplers = &samplers{}

	// A config without certificates is how crypto/tls is made to send
	// unrecognized_name; an error of GetConfigForClient would be internal_error.
	// Without the second line a TLS 1.3 session of another name would resume
	// here: with a pre-shared key no certificate is looked for. ALPN is left
	// out, lest its alert come first.
	tm.unknown = tm.base.Clone()
	tm.unknown.SessionTicketsDisabled = true
	tm.unknown.NextProtos = nil
	return tm, nil
}

// TLSConfig returns a configuration for your own server or listener: crypto/tls asks it for
// the configuration of each connection. Each call returns a new copy, which may be changed
// wherever [Options.Base] says that the profile does not decide; but what counts for a
// connection is Options.Base, because crypto/tls replaces the whole configuration.
//
// A server that uses it must also have [*Terminator.Handler] in front of its handler.
func (tm *Terminator) TLSConfig() *tls.Config {
	c := tm.base.Clone()
	c.GetConfigForClient = tm.GetConfigForClient
	return c
}

// GetConfigForClient is for [tls.Config.GetConfigForClient]. It returns the configuration
// of the profile that answers for the client's server name; if none does, it returns one
// that refuses the handshake with the alert unrecognized_name. The error is always nil.
func (tm *Terminator) GetConfigForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	p, _ := tm.find(tm.table(), hello.ServerName)
	config, counts, asks := tm.unknown, &tm.counts.noProfile, false
	if p != nil {
		built := p.builtBy(tm)
		config, counts, asks = built.config, built.counts, built.asks
	}
	if ctx := hello.Context(); ctx != nil { // it is nil in a hello that somebody made
		if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
			a.serverName, a.profile, a.hello, a.counts = hello.ServerName, p, true, counts
			if a.slot != nil && asks {
				config = a.slot.keep(config)
			}
		}
	}
	return config, nil
}

// find returns the profile of a server name as a client sent it. closed is as
// for [Table.find].
func (tm *Terminator) find(t *Table, serverName string) (p *Profile, closed bool) {
	if serverName == "" {
		serverName = tm.fallback
	}
	return t.find(serverName)
}

// A builtConfig is what a Terminator made of a profile.
type builtConfig struct {
	by     *Terminator
	config *tls.Config
	counts *handshakeCounts // of the profile's ID
	asks   bool             // a handshake calls a function of the user's
}

// builtBy returns what a Terminator makes of a profile. Two goroutines may build it at the
// same time; either is as good.
func (p *Profile) builtBy(tm *Terminator) *builtConfig {
	if b := p.built.Load(); b != nil && b.by == tm && !b.counts.gone.Load() {
		return b
	}
	b := &builtConfig{by: tm, config: tm.build(p), counts: tm.counts.of(p.id, tm.table), asks: tm.asks(p)}
	p.built.Store(b)
	return b
}

func (tm *Terminator) build(p *Profile) *tls.Config {
	c := tm.base.Clone()
	if certs := p.certs(); len(certs) == 1 && !p.hasStaple() {
		c.Certificates = certs
	} else {
		// And no Certificates: to a client without SNI, crypto/tls would show one
		// of its own choice.
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return p.pick(hello, tm.now()), nil
		}
	}
	c.MinVersion, c.MaxVersion = tm.versions(p)
	switch {
	case p.client == nil:
	case p.optional():
		// Not VerifyClientCertIfGiven: it ends the handshake of a client with a
		// wrong certificate, which may well be on its way to a path that needs
		// none. The guard verifies when a path needs it.
		c.ClientAuth = tls.RequestClientCert
	case p.client.verified != nil || p.client.hideCAs:
		// Nothing can be cached where crypto/tls verifies, and the roots that it
		// verifies against are those that it names to the client. VerifyConnection
		// does it all, on resumption too.
		c.ClientAuth = tls.RequireAnyClientCert
	default:
		// crypto/tls verifies, and so sends the alert that fits: unknown_ca,
		// certificate_expired, certificate_required. Whatever VerifyConnection
		// refuses is bad_certificate.
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if p.client != nil && !p.client.hideCAs {
		c.ClientCAs = p.client.pool
	}
	c.VerifyConnection = func(cs tls.ConnectionState) error { return tm.verify(p, &cs) }
	c.WrapSession = func(cs tls.ConnectionState, s *tls.SessionState) ([]byte, error) { return tm.wrap(p, &cs, s) }
	c.UnwrapSession = func(ticket []byte, cs tls.ConnectionState) (*tls.SessionState, error) {
		return tm.unwrap(p, ticket, cs)
	}
	return c
}

// versions returns the bounds of the TLS version for a profile. The highest may be zero, the
// newest that there is.
func (tm *Terminator) versions(p *Profile) (lowest, highest uint16) {
	return cmp.Or(p.minVersion, tm.base.MinVersion), cmp.Or(p.maxVersion, tm.base.MaxVersion)
}

// asks reports whether the handshakes of a profile call a function of the user's, which may
// take its time.
func (tm *Terminator) asks(p *Profile) bool {
	return tm.verifyConnection != nil || p.client != nil && p.client.authorizer != nil ||
		slices.ContainsFunc(p.certs(), func(c tls.Certificate) bool { return signer.Guarded(c.PrivateKey) })
}

// verify is the second wall behind crypto/tls and the tickets. It runs on every
// handshake, resumed ones included, and lets nobody through whom the policy does
// not name.
func (tm *Terminator) verify(p *Profile, cs *tls.ConnectionState) error {
	if p.client != nil && !p.optional() {
		if v := tm.verdict(p, cs, !cs.HandshakeComplete && !cs.DidResume); v.err != nil {
			return &policyError{presented(cs), policyReason(p, v.err, tm.now()), v.err}
		}
	}
	if tm.verifyConnection != nil {
		if err := tm.verifyConnection(*cs); err != nil {
			return &policyError{presented(cs), ReasonNotAllowed, err}
		}
	}
	return nil
}

// now is the time that certificates are judged by.
func (tm *Terminator) now() time.Time {
	if tm.base.Time != nil {
		return tm.base.Time()
	}
	return time.Now()
}
