package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sallyport/sallyport/internal/freeport"
)

// A database is a Prometheus in a process of its own.
type database struct {
	address string
	port    io.Closer // nobody else is given it
	dir     string
	ended   chan struct{} // closed when the process is over; err is set then
	err     error
	kill    context.CancelFunc
}

// startPrometheus starts a Prometheus that reads the metrics of a target each second.
func startPrometheus(ctx context.Context, program, target string) (*database, error) {
	dir, err := os.MkdirTemp("", "refused")
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf(`
global:
  scrape_interval: 1s
scrape_configs:
  - job_name: sallyport
    static_configs:
      - targets: [%q]
`, target)
	file := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	address, port, err := freeport.Hold()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	d := &database{address: address, port: port, dir: dir, ended: make(chan struct{})}
	ctx, d.kill = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, program, "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--log.level=error")
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		d.kill()
		return nil, errors.Join(err, port.Close(), os.RemoveAll(dir))
	}
	go d.wait(cmd)
	return d, nil
}

func (d *database) wait(cmd *exec.Cmd) {
	d.err = cmd.Wait()
	close(d.ended)
}

// stop ends it, and takes its data away.
func (d *database) stop() {
	d.kill()
	<-d.ended
	_ = d.port.Close()
	_ = os.RemoveAll(d.dir)
}

// A sample is one value of an answer.
type sample struct {
	Labels map[string]string
	Value  string
}

// await asks until there are n samples, or Prometheus has ended.
func (d *database) await(ctx context.Context, query string, n int) ([]sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		samples, err := d.ask(ctx, query)
		if err == nil && len(samples) >= n {
			return samples, nil
		}
		select {
		case <-tick.C:
		case <-d.ended:
			return nil, fmt.Errorf("prometheus has ended: %w", d.err)
		case <-ctx.Done():
			return nil, fmt.Errorf("prometheus has no answer to %s: %w", query, errors.Join(ctx.Err(), err))
		}
	}
}

// ask asks Prometheus a question about this moment.
func (d *database) ask(ctx context.Context, query string) ([]sample, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.address+"/api/v1/query?query="+url.QueryEscape(query), nil)
	if err != nil {
		return nil, err
	}
	res, err := direct.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	var answer struct {
		Status, Error string
		Data          struct {
			Result []struct {
				Metric map[string]string
				Value  [2]any // the time, and the value as a string
			}
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return nil, err
	}
	if answer.Status != "success" {
		return nil, errors.New(answer.Error)
	}
	var samples []sample
	for _, r := range answer.Data.Result {
		samples = append(samples, sample{r.Metric, fmt.Sprint(r.Value[1])})
	}
	return samples, nil
}

// direct asks no proxy that the environment names.
var direct = &http.Client{Transport: &http.Transport{}}
