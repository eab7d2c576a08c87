package ssl

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sallyport/sallyport/internal/sample"
)

// samplers keep a flood of failures out of the log: one for each of handshakeReasons, so
// that scanners who name no server do not hide a client with a certificate that expired.
type samplers [len(handshakeReasons)]sample.Sampler

// logFailed logs a handshake that failed, to one of the two loggers.
func (tm *Terminator) logFailed(e *HandshakeError) {
	logger := tm.o.HandshakeLog
	if logger == nil {
		logger = tm.o.Logger
	}
	if logger == nil || !logger.Enabled(context.Background(), slog.LevelWarn) {
		return
	}
	sampler := &tm.samplers[slices.Index(handshakeReasons[:], e.Reason)]
	unreported, ok := sampler.Next(time.Now(), sample.Limit(tm.o.FailuresLogged))
	if !ok {
		return
	}
	attrs := append(make([]slog.Attr, 0, 2), slog.Any("handshake", e))
	if unreported > 0 {
		attrs = append(attrs, slog.Int("unreported", unreported))
	}
	logger.LogAttrs(context.Background(), slog.LevelWarn, "TLS handshake failed", attrs...)
}

// logPanic logs a panic in a function of the user's.
func (tm *Terminator) logPanic(remote net.Addr, r any) {
	logger := tm.o.HandshakeLog
	if logger == nil {
		logger = tm.o.Logger
	}
	if logger != nil {
		logger.Error("panic in a function of Options.Trace", "remote", remote.String(), "panic", r, "stack", string(debug.Stack()))
	}
}

// logDone logs a handshake that succeeded to [Options.HandshakeLog].
func (tm *Terminator) logDone(p *Profile, remote net.Addr, cs *tls.ConnectionState, took time.Duration) {
	if !tm.o.HandshakeLog.Enabled(context.Background(), slog.LevelInfo) {
		return
	}
	attrs := append(make([]slog.Attr, 0, 8),
		slog.String("server_name", cs.ServerName),
		slog.String("remote", remote.String()),
		slog.String("version", tls.VersionName(cs.Version)),
		slog.String("protocol", cs.NegotiatedProtocol),
		slog.Bool("resumed", cs.DidResume),
		slog.Duration("took", took))
	if p != nil {
		attrs = append(attrs, slog.String("profile", p.id))
		if p.DemandsClientCert() && !p.optional() {
			// The handshake has judged this, and it is remembered.
			if identity, err := tm.judge(p, cs); err == nil {
				attrs = append(attrs, slog.Any("identity", identity))
			}
		}
	}
	tm.o.HandshakeLog.LogAttrs(context.Background(), slog.LevelInfo, "TLS handshake", attrs...)
}
