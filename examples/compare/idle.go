//go:build linux

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"
)

// measureIdle measures by how much connections that do nothing make a proxy
// grow.
func (b *bench) measureIdle(ctx context.Context, p proxy, proc *process, config loadConfig) (sample, error) {
	busy := config
	busy.Work.Kind, busy.Work.Conns = kindHTTP1, 4
	if busy.Work.Streams > 0 {
		busy.Work.Kind = kindHTTP2
	}
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

// idle makes connections, sends one request on each, and says so. When its input
// ends, it tries whether all of them are still there.
func (l *load) idle() error {
	l.until = time.Now().Add(5 * time.Minute)
	const together = 16
	tallies := make([]tally, together)
	conns := make([][]asker, together)
	var workers sync.WaitGroup
	for i := range together {
		workers.Go(func() {
			one := newExchange(serverName, l.Work)
			for range l.Work.Conns/together + min(1, max(0, l.Work.Conns%together-i)) {
				c, err := l.asker(one)
				if err == nil {
					err = c.ask()
				}
				if err != nil {
					tallies[i].fail(err)
					continue
				}
				conns[i] = append(conns[i], c)
			}
		})
	}
	workers.Wait()
	if err := (loadResult{N: len(slices.Concat(conns...))}).sum(tallies).print(); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	var alive tally
	for _, c := range slices.Concat(conns...) {
		if err := c.ask(); err != nil {
			alive.fail(err)
		} else {
			alive.n++
		}
	}
	return loadResult{}.sum([]tally{alive}).print()
}

// An asker is a connection on which something is asked now and then.
type asker interface{ ask() error }

type http1Asker struct {
	c   *tls.Conn
	one *exchange // of several connections, one at a time
}

func (a http1Asker) ask() error { return a.one.do(a.c) }

type http2Asker struct {
	conn *tls.Conn
	c    *h2Conn
	want int
}

func (a http2Asker) ask() error {
	a.c.request()
	for {
		if _, err := a.conn.Write(a.c.out); err != nil {
			return err
		}
		a.c.out = a.c.out[:0]
		body, ended, err := a.c.frame()
		switch {
		case err != nil:
			return err
		case ended && body != a.want:
			return fmt.Errorf("the answer has %d bytes, not %d", body, a.want)
		case ended:
			return nil
		}
	}
}

// asker makes a connection.
func (l *load) asker(one *exchange) (asker, error) {
	if l.Work.Streams == 0 {
		c, err := l.dial(l.tls, "http/1.1")
		return http1Asker{c, one}, err
	}
	conn, err := l.dial(l.tls, "h2")
	if err != nil {
		return nil, err
	}
	return http2Asker{conn, newH2Conn(conn, 4<<10, l.Work), l.Work.Want}, nil
}
