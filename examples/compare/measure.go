//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"
)

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
	short     string // how the rate fell short of the fixed one, if it did
}

// measureAll measures everything, unless it is interrupted.
func (b *bench) measureAll(ctx context.Context, results *results) error {
	// Neighbours in time are compared with each other: what the machine does
	// besides concerns them alike.
	for round := range b.rounds {
		for _, t := range results.tests {
			if t.once && round > 0 {
				continue
			}
			for i := range results.proxies {
				p := results.proxies[(i+round)%len(results.proxies)]
				v, err := b.measureQuietly(ctx, p, t)
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				results.add(p, t, v, err)
				fmt.Fprintf(b.progress, "%d/%d %s, %s: %s\n", round+1, b.rounds, t.title, p.name, v.line(err))
			}
		}
	}
	if b.names == 0 {
		return nil
	}
	for _, p := range results.proxies {
		v, err := b.measureNames(ctx, p)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		results.addNames(p, v, err)
		fmt.Fprintf(b.progress, "%d names, %s: %s\n", b.names, p.name, v.line(err))
	}
	return nil
}

// measureQuietly measures while other programs leave the cores alone, if that comes
// to be before the patience ends. Otherwise it returns the measurement that they
// disturbed least.
func (b *bench) measureQuietly(ctx context.Context, p proxy, t test) (best sample, err error) {
	end := time.Now().Add(b.patience)
	for first := true; first || err != nil || best.others > quiet; first = false {
		if waitErr := awaitQuiet(ctx, end); waitErr != nil {
			return best, waitErr
		}
		if !first && time.Now().After(end) {
			break
		}
		v, again := b.measure(ctx, p, t)
		if first || again == nil && (err != nil || v.others < best.others) {
			best, err = v, again
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
	if t.rated {
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
		v.short = fmt.Sprintf("only %.0f operations a second", v.rate)
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
