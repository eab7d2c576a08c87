package ssl

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sallyport/sallyport/internal/files"
	"github.com/sallyport/sallyport/internal/hooks"
)

// A FileConfig is a [Config] whose certificates, keys, CAs and revocation lists are in
// files that a Kubernetes mount, certbot or a cron job replaces.
type FileConfig struct {
	// Config is everything else. The contents of the files are added to it.
	Config

	// KeyPairs are added to Config.Certificates.
	KeyPairs []KeyPairFiles

	// CAs are added to Config.Client.CAPEM, and CRLs to Config.Client.CRLs. Both require a
	// Config.Client.
	CAs, CRLs []string
}

// KeyPairFiles names the files of a [KeyPair]. One file may hold both, as for HAProxy; in
// the files of CAs and CRLs, a private key is refused.
type KeyPairFiles struct{ Cert, Key string }

// maxFileBytes bounds what is read of a file.
const maxFileBytes = maxCRLBytes

// Load reads the files and returns the whole Config. It does not check the contents, but for
// a file of CAs that has none: [New] does.
func (f FileConfig) Load() (Config, error) {
	c := f.Config
	var faults []error
	read := func(name string) []byte {
		data, err := files.Read(name, maxFileBytes)
		if err != nil {
			faults = append(faults, fmt.Errorf("ssl: profile %q: %w", c.ID, err))
		}
		return data
	}
	c.Certificates = append([]KeyPair(nil), c.Certificates...)
	for _, pair := range f.KeyPairs {
		c.Certificates = append(c.Certificates, KeyPair{CertPEM: withoutKeys(read(pair.Cert)), KeyPEM: read(pair.Key)})
	}
	if len(f.CAs)+len(f.CRLs) > 0 {
		if c.Client == nil {
			return Config{}, &ConfigError{ID: c.ID, Field: "Client", Err: errors.New("is nil, but there are files for it")}
		}
		client := *c.Client
		alone := len(client.CAPEM) == 0 && len(f.CAs) == 1 // New finds it empty
		for _, name := range f.CAs {
			before := len(faults)
			text := read(name)
			if !alone && len(faults) == before && !bytes.Contains(text, pemBegin) {
				// The others would hide it: its clients would be refused, and nobody told why.
				fault := fmt.Errorf("has no certificate: %w (in %s)", pemFault(text), name)
				faults = append(faults, &ConfigError{ID: c.ID, Field: "Client.CAPEM", Err: fault})
			}
			client.CAPEM = bytes.Join([][]byte{client.CAPEM, text}, []byte("\n"))
		}
		client.CRLs = append([][]byte(nil), client.CRLs...)
		for _, name := range f.CRLs {
			client.CRLs = append(client.CRLs, read(name))
		}
		c.Client = &client
	}
	if err := errors.Join(faults...); err != nil {
		return Config{}, err
	}
	return c, nil
}

func (f FileConfig) names() (names []string) {
	for _, pair := range f.KeyPairs {
		names = append(names, pair.Cert, pair.Key)
	}
	return append(append(names, f.CAs...), f.CRLs...)
}

// of returns the files that a field of the Config comes from, if any.
func (f FileConfig) of(field string) []string {
	var i int
	at := func(format string) bool { n, _ := fmt.Sscanf(field, format, &i); return n == 1 }
	switch {
	case field == "Client.CAPEM":
		return f.CAs
	case at("Client.CRLs[%d]"):
		if f.Config.Client != nil {
			i -= len(f.Config.Client.CRLs)
		}
		if 0 <= i && i < len(f.CRLs) {
			return f.CRLs[i : i+1]
		}
	case at("Certificates[%d]"):
		if i -= len(f.Config.Certificates); i < 0 || i >= len(f.KeyPairs) {
			return nil
		}
		switch pair := f.KeyPairs[i]; {
		case strings.HasSuffix(field, ".CertPEM"):
			return []string{pair.Cert}
		case strings.HasSuffix(field, ".KeyPEM"):
			return []string{pair.Key}
		default:
			return []string{pair.Cert, pair.Key}
		}
	}
	return nil
}

// blame adds to an error of put the files that it is about: an operator has these, and
// not the fields of a Config.
func blame(err error, all ...*watched) error {
	var names []string
	var walk func(error)
	walk = func(err error) {
		switch e := err.(type) {
		case *ConfigError:
			for _, f := range all {
				if f.id == e.ID {
					names = append(names, f.of(e.Field)...)
				}
			}
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				walk(err)
			}
		case interface{ Unwrap() error }:
			walk(e.Unwrap())
		}
	}
	walk(err)
	if slices.Sort(names); len(names) > 0 {
		err = fmt.Errorf("%w (in %s)", err, strings.Join(slices.Compact(names), ", "))
	}
	return err
}

// WatchOptions are for [Watch]. A nil *WatchOptions and a zero WatchOptions mean the same.
type WatchOptions struct {
	// Interval is how often the files are checked for changes. Zero is 10 seconds. A check
	// costs a stat of each file; the files are read if one has changed, once more if that was
	// only a moment ago, and again for as long as something is wrong with them.
	Interval time.Duration

	// Logger receives a record for each profile that was put or could not be put, and for each
	// warning of the [Report]. If nil, nothing is logged. A record in whose handler something
	// panics is lost, and standard error says why.
	Logger *slog.Logger

	// Failed, if not nil, is called if the files of a profile cannot be read or are invalid:
	// once for each state of the files and each error. The profile stays as it was. Failed must
	// not call the Watcher; if it panics, that is logged.
	Failed func(id string, err error)
}

const defaultWatchInterval = 10 * time.Second

// A Watcher keeps profiles in step with their files until it is closed.
type Watcher struct {
	put func(...Config) (Report, error)
	o   WatchOptions

	// mu serialises looking, and guards files.
	mu    sync.Mutex
	files []*watched

	stop    chan struct{}
	stopped chan struct{}
	once    sync.Once
}

// A watched is one FileConfig and what is known of its files.
type watched struct {
	id    string
	names []string // of the files
	seen  files.State
	young bool              // when it was read, a file had changed a moment ago
	sum   [sha256.Size]byte // of what was put last
	err   error             // of the last try

	// load is [FileConfig.Load]. No verb of fmt looks into a function, as some do
	// into what may hold a private key.
	load func() (Config, error)

	of func(field string) []string // [FileConfig.of], and a function for the same reason
}

// Watch puts profiles whose contents come from files, and puts a profile again whenever one
// of its files changes. If anything is wrong with a profile, it is not put: the last good
// one stays in force, and the failure is reported. That is also so while only one file of a
// pair has been replaced; when the other one is, Watch tries again.
//
// put is [*Store.Put], PutProfiles of a gateway.Server, or a function like them. What it
// reports is logged, and a panic in it is an error. When Watch is called, everything must be
// right: otherwise it returns an error, which joins everything that is wrong. Errors name the
// files that they are about.
func Watch(put func(...Config) (Report, error), o *WatchOptions, configs ...FileConfig) (*Watcher, error) {
	if put == nil {
		return nil, errors.New("ssl: Watch: put is nil: give Store.Put or PutProfiles of a gateway.Server")
	}
	w := &Watcher{put: guarded(put), stop: make(chan struct{}), stopped: make(chan struct{})}
	if o != nil {
		w.o = *o
	}
	w.o.Logger = hooks.Logger(w.o.Logger)
	if w.o.Interval <= 0 {
		w.o.Interval = defaultWatchInterval
	}
	var first []Config
	var faults []error
	for _, config := range configs {
		f := &watched{id: config.ID, names: config.names(), load: config.Load, of: config.of}
		c, err := f.read()
		if err != nil {
			faults = append(faults, err)
		}
		first = append(first, c)
		w.files = append(w.files, f)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	report, err := w.put(first...)
	if err != nil {
		return nil, blame(err, w.files...)
	}
	w.warn(report)
	for i, f := range w.files {
		f.sum = sumOf(first[i])
	}
	go w.run()
	return w, nil
}

func (w *Watcher) run() {
	defer close(w.stopped)
	ticker := time.NewTicker(w.o.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = w.Check() // reported there
		case <-w.stop:
			return
		}
	}
}

// Check looks at the files now; a program may call it on SIGHUP. When it returns, what has
// changed is in force. The error joins everything that is wrong with profiles now, whether
// or not it is new.
func (w *Watcher) Check() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var faults []error
	for _, f := range w.files {
		if changed := !files.Look(f.names...).Same(f.seen); changed || f.young || f.err != nil {
			w.reload(f, changed)
		}
		faults = append(faults, f.err)
	}
	return errors.Join(faults...)
}

// reload reads the files of a profile and puts it. One that failed is tried again
// though its files look the same: the reason may have been another, such as a
// want of file descriptors, or an owner or mode, which are not looked at.
func (w *Watcher) reload(f *watched, changed bool) {
	c, err := f.read()
	sum := sumOf(c)
	if err == nil && f.err == nil && !changed && sum == f.sum {
		return // there was no other change
	}
	var report Report
	if err == nil {
		if report, err = w.put(c); err != nil {
			err = blame(err, f)
		} else {
			f.sum = sum
		}
	}
	known := f.err
	f.err = err
	switch {
	case err == nil:
		if w.o.Logger != nil {
			w.o.Logger.Info("files of a profile have changed", "profile", f.id)
		}
		w.warn(report)
	case changed || known == nil || known.Error() != err.Error():
		if w.o.Logger != nil {
			w.o.Logger.Error("changed files of a profile are not taken: it goes on with the last good ones", "profile", f.id, "error", err)
		}
		w.failed(f.id, err)
	}
}

// guarded returns a put whose panic is an error: in the goroutine of a Watcher nobody else
// could recover from it.
func guarded(put func(...Config) (Report, error)) func(...Config) (Report, error) {
	return func(configs ...Config) (report Report, err error) {
		if panicked := hooks.Recovered(func() { report, err = put(configs...) }); panicked != nil {
			return Report{}, fmt.Errorf("ssl: put %w", panicked)
		}
		return report, err
	}
}

// failed tells Failed, whose panic is only logged.
func (w *Watcher) failed(id string, err error) {
	if w.o.Failed == nil {
		return
	}
	defer func() {
		if r := recover(); r != nil && w.o.Logger != nil {
			w.o.Logger.Error("Failed panicked", "profile", id, "panic", r)
		}
	}()
	w.o.Failed(id, err)
}

// warn logs what put reports: nobody else sees it.
func (w *Watcher) warn(report Report) {
	if w.o.Logger == nil {
		return
	}
	for _, warning := range report.Warnings {
		w.o.Logger.Warn("a profile does not work the way it may seem to", "profile", warning.ID, "field", warning.Field, "warning", warning.Text)
	}
}

// readTries is how often files are read that change meanwhile.
const readTries = 5

// read reads the files, and again if they were replaced meanwhile: what is put is
// of one state of them.
func (f *watched) read() (Config, error) {
	for range readTries {
		f.seen = files.Look(f.names...)
		f.young = f.seen.Young()
		c, err := f.load()
		if files.Look(f.names...).Same(f.seen) {
			return c, err
		}
	}
	return Config{}, fmt.Errorf("ssl: profile %q: the files change while they are read", f.id)
}

// sumOf is the SHA-256 of all that a Config may have from files.
func sumOf(c Config) (sum [sha256.Size]byte) {
	h := sha256.New()
	write := func(parts ...[]byte) {
		writeInt(h, len(parts))
		for _, part := range parts {
			writeInt(h, len(part))
			h.Write(part)
		}
	}
	for _, pair := range c.Certificates {
		write(pair.CertPEM, pair.KeyPEM)
	}
	if c.Client != nil {
		write(c.Client.CAPEM)
		write(c.Client.CRLs...)
	}
	h.Sum(sum[:0])
	return sum
}

// Close stops watching. The profiles stay.
func (w *Watcher) Close() {
	w.once.Do(func() { close(w.stop) })
	<-w.stopped
}
