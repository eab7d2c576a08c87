package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/sallyport/sallyport/adminapi/etcd/integration"
)

// This file is the etcd of those who have none: this program again, as a process of its own, so
// that it can be killed.

// etcdArgument makes the program an etcd.
const etcdArgument = "run-etcd"

// runEtcd is an etcd that keeps its data in a directory, until its standard input ends.
func runEtcd(ctx context.Context, dir string) error {
	cluster, err := integration.NewCluster(dir, 1)
	if err != nil {
		return err
	}
	fmt.Println(cluster.Endpoints()[0])
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		<-ended // Ctrl-C goes to both, and the fleet stops first
	}
	return cluster.Close()
}

// A child is an etcd in a process of its own.
type child struct {
	cmd      *exec.Cmd
	stdin    io.Closer
	endpoint string
	dir      string
}

func startEtcd() (*child, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{}
	if c.dir, err = os.MkdirTemp("", "fleet"); err != nil {
		return nil, err
	}
	c.cmd = exec.Command(program, etcdArgument, c.dir)
	c.cmd.Stderr = os.Stderr
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		c.stop()
		return nil, fmt.Errorf("etcd does not start: %w", err)
	}
	c.endpoint = strings.TrimSpace(line)
	return c, nil
}

// stop ends it, and takes its data away.
func (c *child) stop() {
	_ = c.stdin.Close()
	_ = c.cmd.Wait() // it may have been killed
	_ = os.RemoveAll(c.dir)
}
