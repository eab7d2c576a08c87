// Package integration tests adminapi/etcd with real etcds, and has the example of a fleet.
// It is a module of its own, so that nobody who uses adminapi/etcd downloads the server.
package integration

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/sallyport/sallyport/internal/freeport"
)

// A Cluster is an etcd of some members in this process, on loopback.
type Cluster struct {
	configs []*embed.Config
	members []*embed.Etcd // nil: stopped
	ports   []io.Closer   // nobody else is given them while a member is stopped
}

// NewCluster starts a cluster that keeps its data below a directory.
func NewCluster(dir string, members int) (*Cluster, error) {
	c := &Cluster{members: make([]*embed.Etcd, members)}
	var all []string
	for i := range members {
		config := embed.NewConfig()
		config.Name = fmt.Sprintf("m%d", i)
		config.Dir = filepath.Join(dir, config.Name)
		config.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
		// Leaders are found fast, and nobody pulls the plug of a test's machine.
		config.TickMs, config.ElectionMs = 50, 500
		config.UnsafeNoFsync = true
		config.MaxRequestBytes = 8 << 20
		config.EnableGRPCGateway = false
		peer, err := c.freeURL()
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		client, err := c.freeURL()
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		config.ListenPeerUrls, config.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
		config.ListenClientUrls, config.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
		all = append(all, config.Name+"="+peer.String())
		c.configs = append(c.configs, config)
	}
	for _, config := range c.configs {
		config.InitialCluster = strings.Join(all, ",")
	}
	return c, c.Start()
}

func (c *Cluster) freeURL() (url.URL, error) {
	address, port, err := freeport.Hold()
	if err != nil {
		return url.URL{}, err
	}
	c.ports = append(c.ports, port)
	return url.URL{Scheme: "http", Host: address}, nil
}

// Start starts the members that do not run, and waits until they serve.
func (c *Cluster) Start() error {
	var started []*embed.Etcd
	for i, config := range c.configs {
		if c.members[i] != nil {
			continue
		}
		again := *config
		e, err := embed.StartEtcd(&again)
		if err != nil {
			return errors.Join(err, c.Close())
		}
		c.members[i] = e
		started = append(started, e)
	}
	late := time.After(30 * time.Second)
	for _, e := range started {
		select {
		case <-e.Server.ReadyNotify():
		case err := <-e.Err():
			return errors.Join(err, c.Close())
		case <-late:
			return errors.Join(errors.New("etcd does not get ready"), c.Close())
		}
	}
	return nil
}

// Kill stops a member at once: it tells nobody.
func (c *Cluster) Kill(i int) {
	if e := c.members[i]; e != nil {
		e.Server.HardStop()
		e.Close()
		c.members[i] = nil
	}
}

// Leader returns the number of the member that leads, or -1.
func (c *Cluster) Leader() int {
	for i, e := range c.members {
		if e != nil && e.Server.Leader() == e.Server.MemberID() {
			return i
		}
	}
	return -1
}

// Endpoints are where clients find the members.
func (c *Cluster) Endpoints() (endpoints []string) {
	for _, config := range c.configs {
		endpoints = append(endpoints, config.AdvertiseClientUrls[0].Host)
	}
	return endpoints
}

// Close kills all members.
func (c *Cluster) Close() error {
	for i := range c.members {
		c.Kill(i)
	}
	for _, port := range c.ports {
		_ = port.Close()
	}
	c.ports = nil
	return nil
}
