package ssl

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/sallyport/sallyport/internal/hostname"
)

// Options are the parts of the outside world that a [Terminator] uses. A nil *Options and a
// zero Options mean the same. A negative number is the same as zero unless stated
// otherwise.
type Options struct {
	// Base is what every connection's configuration starts from: NextProtos,
	// versions, cipher suites, curves, Time, Rand, KeyLogWriter,
	// EncryptedClientHelloKeys, session ticket keys, VerifyConnection. It is
	// copied. What is decided elsewhere is refused: certificates, ClientAuth and
	// ClientCAs, which are the profile's, GetConfigForClient, WrapSession and
	// UnwrapSession, and VerifyPeerCertificate, because crypto/tls does not call it on
	// resumed sessions: use VerifyConnection.
	//
	// NextProtos is "h2" and "http/1.1" if nil. A server with HTTP/2 switched off
	// must set it to "http/1.1" alone. MinVersion is TLS 1.2 if zero.
	Base *tls.Config

	// FallbackName is the server name assumed for clients that send none, as happens when
	// they connect to an IP address (APISIX's fallback_sni). If it is empty,
	// they are refused. The guard judges such a connection as one made for this name.
	FallbackName string

	// HandshakeTimeout bounds a handshake behind [*Terminator.Listener], from accepting the
	// connection to the end of the handshake. Zero is 10 seconds. While all MaxHandshakes
	// are taken and another connection waits, only the first second of it is guaranteed.
	HandshakeTimeout time.Duration

	// MaxHandshakes bounds how many handshakes are in progress at a time behind one
	// [*Terminator.Listener], including those that are finished but not accepted yet. One
	// further connection waits for a place, and the others wait in the queue of the
	// operating system. As long as one waits, the oldest handshake ends as
	// [ReasonCrowdedOut] once it is more than a second old, so that clients that say
	// nothing do not block those that do. This never happens to a handshake that is
	// finished, nor to one that waits for a function of yours (Authorize, a Signer, or
	// VerifyConnection of Base), after which its second begins anew.
	//
	// Zero is 512. That is 4 MiB if all clients are silent, 14 MiB if they stall after
	// their ClientHello, and 160 MiB if each withholds the end of a certificate of 256 KiB,
	// not counting what the kernel needs for their sockets (BenchmarkPendingHandshake). Nor
	// is a client crowded out while its handshake waits for a processor (HandshakeProcs).
	MaxHandshakes int

	// HandshakeProcs bounds how many handshakes behind the Listeners of a [Terminator]
	// compute at a time; those that wait for their client, or for Authorize, a Signer or
	// VerifyConnection of Base, do not count. Zero is GOMAXPROCS less one, and at least
	// one: one processor is left for open connections, whose requests would otherwise take
	// milliseconds while others connect as fast as they can. A program that does nothing
	// but handshakes gets more done with GOMAXPROCS. A negative number is no bound.
	HandshakeProcs int

	// MaxHandshakesPerAddr bounds how many of them one remote address has at a time, so
	// that a single client cannot take all places. Further connections from it are closed
	// at once. An address is an IPv4 address or an IPv6 /64, which is what one customer
	// has; connections without such an address, for example over a Unix socket, are not
	// bounded. Zero is no bound: behind a load balancer, all clients have its address.
	MaxHandshakesPerAddr int

	// Logger receives a record for each handshake that failed behind
	// [*Terminator.Listener], as far as FailuresLogged allows. If nil, nothing is logged. A
	// record in whose handler something panics is lost, and standard error says why.
	Logger *slog.Logger

	// HandshakeLog, if not nil, receives a record for each handshake behind
	// [*Terminator.Listener], in place of Logger: successful ones at level Info, and failed
	// ones at level Warn, as far as FailuresLogged allows.
	HandshakeLog *slog.Logger

	// FailuresLogged bounds how many failures with one reason are logged in a second, so
	// that a flood of them does not fill a disk. The next record with that reason says how
	// many were left out ("unreported"). Zero is 10, and a negative number is no bound.
	FailuresLogged int

	// Trace, if not nil, is told of handshakes. [JoinTraces] makes one of several.
	Trace *Trace
}

// Trace is told of what happens. Its functions may be nil. They run on the
// goroutine of the connection and must not block, nor close the listener, which
// waits for them. A panic in one is logged, and costs the connection.
type Trace struct {
	// HandshakeDone is called when a handshake behind [*Terminator.Listener] is over,
	// whatever became of it: one that failed has an Err.
	HandshakeDone func(*HandshakeEvent)

	// TurnedAway is called for a connection that was closed without a handshake,
	// because its address has [Options.MaxHandshakesPerAddr] already. Nothing is
	// logged, lest a flood of connections becomes one of records.
	TurnedAway func(remote net.Addr)
}

const (
	defaultHandshakeTimeout = 10 * time.Second
	defaultMaxHandshakes    = 512
	mostHandshakes          = 1 << 20 // which are taken one by one in the end
)

// base returns the private copy of Options.Base, with its defaults.
func (o *Options) base() *tls.Config {
	base := &tls.Config{}
	if o.Base != nil {
		base = o.Base.Clone()
	}
	if base.NextProtos == nil {
		base.NextProtos = []string{"h2", "http/1.1"}
	}
	if base.MinVersion == 0 {
		base.MinVersion = tls.VersionTLS12
	}
	return base
}

// An optionError says which field of [Options] is wrong and why.
type optionError struct {
	field string // as in Go: "Base.MaxVersion"
	err   error
}

// Error implements error.
func (e *optionError) Error() string { return fmt.Sprintf("ssl: Options.%s: %v", e.field, e.err) }

// Unwrap returns the reason.
func (e *optionError) Unwrap() error { return e.err }

// FieldPath returns the field, for those who have these options among their own.
func (e *optionError) FieldPath() string { return e.field }

// check joins an *optionError for each fault.
func (o *Options) check() error {
	var faults []error
	fault := func(field string, err error) { faults = append(faults, &optionError{field, err}) }
	if o.Base != nil {
		checkBase(o.Base, fault)
	}
	if o.FallbackName != "" {
		pattern, err := hostname.CanonicalPattern(o.FallbackName)
		switch {
		case err != nil:
			fault("FallbackName", fmt.Errorf("%q: %w", o.FallbackName, err))
		case strings.HasPrefix(pattern, "*"):
			fault("FallbackName", fmt.Errorf("%q: stands for many names, and a connection is made for one", o.FallbackName))
		}
	}
	return errors.Join(faults...)
}

// checkBase refuses what could not count: whoever wrote it would take it to be in force.
func checkBase(c *tls.Config, fault func(field string, err error)) {
	//lint:ignore SA1019 it would choose the certificate
	byName := c.NameToCertificate
	for _, f := range []struct {
		field string
		set   bool
		why   string
	}{
		{"Certificates", len(c.Certificates) > 0, "are the profile's: Config.Certificates"},
		{"NameToCertificate", byName != nil, "is the profile's: Config.Certificates"},
		{"GetCertificate", c.GetCertificate != nil, "is the profile's: Config.Certificates"},
		{"GetConfigForClient", c.GetConfigForClient != nil, "is the Terminator's own"},
		{"VerifyPeerCertificate", c.VerifyPeerCertificate != nil, "is not called on resumed sessions: use VerifyConnection"},
		{"ClientAuth", c.ClientAuth != tls.NoClientCert, "is the profile's: Config.Client"},
		{"ClientCAs", c.ClientCAs != nil, "are the profile's: Config.Client"},
		{"UnwrapSession", c.UnwrapSession != nil, "is the Terminator's own: a session is one of a profile"},
		{"WrapSession", c.WrapSession != nil, "is the Terminator's own: a session is one of a profile"},
	} {
		if f.set {
			fault("Base."+f.field, errors.New(f.why))
		}
	}
	checkVersions("Base.", c.MinVersion, c.MaxVersion, fault)
	if c.MinVersion == 0 && c.MaxVersion >= tls.VersionTLS10 && c.MaxVersion < tls.VersionTLS12 {
		fault("Base.MaxVersion", fmt.Errorf("%s is below TLS 1.2, which MinVersion is if zero", tls.VersionName(c.MaxVersion)))
	}
}

// checkVersions checks bounds of the TLS version, of which zero is none.
func checkVersions(prefix string, lowest, highest uint16, fault func(field string, err error)) {
	for _, v := range []struct {
		field   string
		version uint16
	}{{"MinVersion", lowest}, {"MaxVersion", highest}} {
		if v.version != 0 && (v.version < tls.VersionTLS10 || v.version > tls.VersionTLS13) {
			fault(prefix+v.field, fmt.Errorf("%#04x is no version from TLS 1.0 to 1.3", v.version))
		}
	}
	if lowest != 0 && highest != 0 && lowest > highest {
		fault(prefix+"MinVersion", fmt.Errorf("%s is above MaxVersion, %s", tls.VersionName(lowest), tls.VersionName(highest)))
	}
}
