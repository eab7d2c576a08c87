//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// A bench is what the measurements have in common: a directory, its keys, and the
// origin. Its close undoes all of it.
type bench struct {
	options
	site
	cpu     places
	servers *authority
	roots   *x509.CertPool
	origin  *process
}

func newBench(ctx context.Context, o options) (_ *bench, err error) {
	b := &bench{options: o, cpu: place(), roots: x509.NewCertPool()}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	b.site.Conns = o.conns()
	if b.site.Dir, err = os.MkdirTemp("", "compare"); err != nil {
		return nil, err
	}
	if b.servers, err = writePKI(b.site, o.names); err != nil {
		return nil, err
	}
	b.roots.AddCert(b.servers.cert)
	if b.site.Origin, err = freeAddr(); err != nil {
		return nil, err
	}
	command, err := role("origin", b.site)
	if err != nil {
		return nil, err
	}
	if b.origin, err = start(b.site, "origin", b.cpu.origin, command, nil); err != nil {
		return nil, err
	}
	_, err = eventually(ctx, b.origin, func() error {
		c, err := net.Dial("tcp", b.site.Origin)
		if err == nil {
			c.Close()
		}
		return err
	})
	return b, err
}

func (b *bench) close() {
	if b.origin != nil {
		b.origin.stop()
	}
	os.RemoveAll(b.site.Dir)
}

// freeAddr returns an address that nobody listens on at the moment.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// startProxy starts a proxy and waits until it answers for a name, for which it returns
// how long it took.
func (b *bench) startProxy(ctx context.Context, p proxy, names int, name string) (*process, site, time.Duration, error) {
	s := b.site
	s.Names = names
	var err error
	if s.Listen, err = freeAddr(); err != nil {
		return nil, s, 0, err
	}
	command, err := p.command(p, s)
	if err != nil {
		return nil, s, 0, err
	}
	config, err := clientTLS(s.clientPEM())
	if err != nil {
		return nil, s, 0, err
	}
	config.ServerName = name
	proc, err := start(s, "proxy", b.cpu.proxy, command, nil)
	if err != nil {
		return nil, s, 0, err
	}
	took, err := eventually(ctx, proc, func() error { return answers(s, config) })
	if err != nil {
		proc.stop()
		return nil, s, 0, err
	}
	return proc, s, took, nil
}

// answers asks a proxy for the small body, with the load's own client.
func answers(s site, config *tls.Config) error {
	c, err := dial(s.Listen, config, "http/1.1", time.Now().Add(10*time.Second))
	if err != nil {
		return err
	}
	defer c.Close()
	return newExchange(config.ServerName, work{Path: "/small", Want: smallBytes}).do(c)
}

// refuseStrangers sees that every proxy does what is compared: with HTTP/1.1 and
// with HTTP/2 it answers the client that has a certificate, has the right one
// itself, and refuses those who have none, or another authority's.
func (b *bench) refuseStrangers(ctx context.Context, proxies []proxy) error {
	for _, p := range proxies {
		if err := b.refusesStrangers(ctx, p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *bench) refusesStrangers(ctx context.Context, p proxy) error {
	proc, s, _, err := b.startProxy(ctx, p, 0, serverName)
	if err != nil {
		return err
	}
	defer proc.stop()
	for _, protocol := range []string{"http/1.1", "h2"} {
		for _, client := range []struct {
			name, keyPair string
			welcome       bool
		}{
			{"the client", s.clientPEM(), true},
			{"a client without a certificate", "", false},
			{"a client of another authority", s.strangerPEM(), false},
			{"the client", s.clientPEM(), true}, // the proxy refuses, and still runs
		} {
			err := b.get(ctx, s, protocol, client.keyPair)
			switch {
			case client.welcome && err != nil:
				return fmt.Errorf("%s, with %s: %w", client.name, protocol, err)
			case !client.welcome && err == nil:
				return fmt.Errorf("%s is answered, with %s", client.name, protocol)
			}
		}
	}
	return nil
}

// get asks for the small body as any client does: with net/http, and verifying.
func (b *bench) get(ctx context.Context, s site, protocol, keyPair string) error {
	config := &tls.Config{RootCAs: b.roots, ServerName: serverName}
	if keyPair != "" {
		pair, err := tls.LoadX509KeyPair(keyPair, keyPair)
		if err != nil {
			return err
		}
		// Without regard to the authorities that the server asks for: a client may.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	var protocols http.Protocols
	protocols.SetHTTP1(protocol == "http/1.1")
	protocols.SetHTTP2(protocol == "h2")
	transport := &http.Transport{TLSClientConfig: config, Protocols: &protocols}
	defer transport.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+s.Listen+"/small", nil)
	if err != nil {
		return err
	}
	req.Host = serverName
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK || string(body) != smallBody || (res.ProtoMajor == 2) != (protocol == "h2") {
		return fmt.Errorf("the answer is %s %s, %.100q", res.Proto, res.Status, body)
	}
	return nil
}

// A sample is one measurement.
type sample struct {
	perOp     time.Duration // CPU time of the proxy
	rate      float64       // operations a second
	busy      float64       // share of its core that the proxy used
	others    float64       // share of the cores that other programs had
	p50, p99  time.Duration // where the rate is fixed
	idle      float64       // bytes of an idle connection
	collected float64       // the same when garbage was collected; 0 if that cannot be told
	errors    int
	first     string // of the errors
}

// quiet is the share of the cores that other programs may have before a
// measurement is worth repeating. The kernel's own threads are among them.
const quiet = 0.05

// measureQuietly measures until other programs leave the cores alone, for as long
// as the patience lasts, and returns the measurement that they disturbed least.
func (b *bench) measureQuietly(ctx context.Context, p proxy, t test) (sample, error) {
	best, err := b.measure(ctx, p, t)
	for range b.patience {
		if err == nil && best.others <= quiet {
			break
		}
		v, again := b.measure(ctx, p, t)
		if again == nil && (err != nil || v.others < best.others) {
			best, err = v, nil
		}
	}
	return best, err
}

func (b *bench) measure(ctx context.Context, p proxy, t test) (sample, error) {
	proc, s, _, err := b.startProxy(ctx, p, 0, serverName)
	if err != nil {
		return sample{}, err
	}
	defer proc.stop()
	config := loadConfig{Site: s, Work: t.load, Warm: warmUp(b.time), Time: b.time,
		Proxy: proc.members(), Own: b.origin.members(), CPUs: b.cpu.cpus()}
	if t.load.Kind == kindIdle {
		return b.measureIdle(ctx, p, proc, config)
	}
	if t.load.Rate > 0 {
		config.Work.Rate = b.rate
	}
	r, err := b.drive(ctx, config)
	if err != nil {
		return sample{}, err
	}
	if err := proc.ended(); err != nil {
		return sample{}, err
	}
	return newSample(r, config.Work.Rate)
}

func newSample(r loadResult, rate int) (sample, error) {
	if r.N == 0 {
		return sample{}, fmt.Errorf("nothing was answered: %s", r.Error)
	}
	v := sample{
		perOp: r.CPU / time.Duration(r.N), rate: float64(r.N) / r.Time.Seconds(), busy: r.CPU.Seconds() / r.Time.Seconds(), others: r.Others,
		p50: r.P50, p99: r.P99, errors: r.Errors, first: r.Error,
	}
	if rate > 0 && v.rate < 0.95*float64(rate) {
		v.errors++
		v.first = fmt.Sprintf("only %.0f operations a second", v.rate)
	}
	return v, nil
}

// drive runs the load to its end.
func (b *bench) drive(ctx context.Context, config loadConfig) (loadResult, error) {
	l, err := b.startLoad(ctx, config)
	if err != nil {
		return loadResult{}, err
	}
	defer l.close()
	return l.next()
}

type loadProcess struct {
	*process
	results *json.Decoder
	cancel  context.CancelFunc
}

func (b *bench) startLoad(ctx context.Context, config loadConfig) (*loadProcess, error) {
	command, err := role("load", config)
	if err != nil {
		return nil, err
	}
	read, write := io.Pipe()
	p, err := start(config.Site, "load", b.cpu.load, command, write)
	if err != nil {
		return nil, err
	}
	// It bounds itself; this is for a load that hangs.
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	context.AfterFunc(ctx, func() { p.signalGroup(syscall.SIGKILL) })
	go func() {
		<-p.done
		write.Close()
	}()
	return &loadProcess{p, json.NewDecoder(read), cancel}, nil
}

// next returns the next result that the load prints.
func (l *loadProcess) next() (loadResult, error) {
	var r loadResult
	err := l.results.Decode(&r)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.Join(errors.New("the load"), l.ended())
	}
	return r, err
}

func (l *loadProcess) close() {
	l.stop()
	l.cancel()
}

// measureIdle measures by how much connections that do nothing make a proxy
// grow.
func (b *bench) measureIdle(ctx context.Context, p proxy, proc *process, config loadConfig) (sample, error) {
	busy := config
	busy.Work.Kind, busy.Work.Conns = kindHTTP1, 4
	if _, err := b.drive(ctx, busy); err != nil {
		return sample{}, err
	}
	if err := sleep(ctx, b.settle/5); err != nil {
		return sample{}, err
	}
	before, err := memory(config.Proxy)
	if err != nil {
		return sample{}, err
	}
	config.Work.Conns = b.idle
	l, err := b.startLoad(ctx, config)
	if err != nil {
		return sample{}, err
	}
	defer l.close()
	made, err := l.next()
	if err != nil {
		return sample{}, err
	}
	if made.N == 0 {
		return sample{}, fmt.Errorf("no connection: %s", made.Error)
	}
	if err := sleep(ctx, b.settle); err != nil {
		return sample{}, err
	}
	after, err := memory(config.Proxy)
	if err != nil {
		return sample{}, err
	}
	collected := after
	if p.collects {
		if err := proc.cmd.Process.Signal(syscall.SIGUSR1); err != nil {
			return sample{}, err
		}
		if err := sleep(ctx, b.settle/2); err != nil {
			return sample{}, err
		}
		if collected, err = memory(config.Proxy); err != nil {
			return sample{}, err
		}
	}
	l.stdin.Close()
	alive, err := l.next()
	if err != nil {
		return sample{}, err
	}
	v := sample{
		idle:   float64(after-before) / float64(made.N),
		errors: made.Errors + alive.Errors,
		first:  made.Error,
	}
	if p.collects || !p.garbage {
		v.collected = float64(collected-before) / float64(made.N)
	}
	if v.first == "" {
		v.first = alive.Error
	}
	return v, nil
}
